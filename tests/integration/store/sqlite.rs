//! The SQLite store: its harness, and what only it promises.

mod harness;
mod many;
mod opening;
mod overload;
mod space;
mod writing;

pub(crate) use harness::SqliteHarness;
#[expect(
    unused_imports,
    reason = "for the tests of transfers, which still have to follow the new tables"
)]
pub(crate) use harness::open;
