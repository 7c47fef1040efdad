//! Several processes of the real binary on one PostgreSQL, and what can befall them and it.
//!
//! A ledger outside of the processes keeps every webhook that was acknowledged; at the end the
//! inbox has to have all of them, each with one outcome.

mod asking;
mod away;
mod chaos;
mod failover;
mod faults;
mod load;
mod proxy;
mod runs;
mod start;
mod tls;
mod watch;

/// Runs what blocks, such as stopping a server, while all else goes on.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
