//! The PostgreSQL store: its harness, and what only it promises.

mod harness;
mod plans;
mod starting;
mod upkeep;

pub(crate) use harness::{PostgresHarness, close_connections, open};
