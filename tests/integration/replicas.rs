//! Runs several processes of the real binary on one PostgreSQL and injects failures of both.
//!
//! The test keeps a ledger of all acknowledged webhooks. At the end, the inbox must contain every one of them
//! with exactly one outcome.

mod asking;
mod away;
mod chaos;
mod failover;
mod faults;
mod load;
mod proxy;
mod replay;
mod runs;
mod start;
mod tls;
mod watch;

/// Runs blocking work, such as stopping a server, without blocking the other tasks of the test.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
