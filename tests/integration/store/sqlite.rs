//! The SQLite store: its harness, and tests of behaviour that only this store has.

mod clocks;
mod harness;
mod many;
mod moved;
mod opening;
mod overload;
mod readiness;
mod slow;
mod space;
mod writing;

pub(crate) use harness::SqliteHarness;
pub(crate) use harness::open;
