//! Several processes of the real binary on one PostgreSQL, and what can befall them and it.
//!
//! A ledger outside of the processes keeps every webhook that was acknowledged; at the end the
//! inbox has to have all of them, each with one outcome.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod asking;
mod away;
mod chaos;
#[path = "../crash/client.rs"]
mod client;
#[path = "../support/collector.rs"]
mod collector;
mod failover;
mod faults;
#[path = "../crash/ledger.rs"]
mod ledger;
mod load;
#[path = "../support/postgres.rs"]
mod postgres;
mod proxy;
mod runs;
#[path = "../crash/server.rs"]
mod server;
mod start;
mod tls;
mod watch;

/// Runs what blocks, such as stopping a server, while all else goes on.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
