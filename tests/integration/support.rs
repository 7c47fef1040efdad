//! What several suites of tests share.

pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod folder;
pub(crate) mod inbox_database;
pub(crate) mod inbox_file;
pub(crate) mod ledger;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod received;
pub(crate) mod replay;
pub(crate) mod server;
pub(crate) mod slow_clock;
pub(crate) mod terminal;
pub(crate) mod tls;
pub(crate) mod wait;
