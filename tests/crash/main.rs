//! The real binary, killed under load and starved of disk space.
//!
//! A ledger outside of the process keeps every webhook that was acknowledged; at the end the
//! inbox has to have all of them, each processed once.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod client;
mod kill;
mod ledger;
mod ready;
mod server;
#[cfg(target_os = "linux")]
mod starve;
