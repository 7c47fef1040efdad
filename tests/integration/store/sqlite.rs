//! The SQLite store: its harness, and what only it promises.

mod harness;
mod many;
mod opening;
mod overload;
mod space;
mod writing;

pub(crate) use harness::SqliteHarness;
pub(crate) use harness::open;
