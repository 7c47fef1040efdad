//! The PostgreSQL store: its harness, and tests of behaviour that only this store has.

mod at_once;
mod backlog;
mod breakers;
mod clocks;
mod collation;
mod connections;
mod harness;
mod panics;
mod parts;
mod plans;
mod purging;
mod queues;
mod readiness;
mod refused;
mod releasing;
mod repeated_tokens;
mod schema;
mod statements;
mod together;
mod unanswered;
mod unheld;
mod upkeep;

pub(crate) use harness::{EmptiedPostgres, PostgresHarness, close_connections, open};
