//! The PostgreSQL store: its harness, and what only it promises.

mod accepted;
mod at_once;
mod backlog;
mod harness;
mod plans;
mod purging;
mod schema;
mod together;
mod unheld;
mod upkeep;

pub(crate) use harness::{PostgresHarness, close_connections, open};
