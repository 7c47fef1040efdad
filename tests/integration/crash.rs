//! The real binary, killed under load and starved of disk space.
//!
//! A ledger outside of the process keeps every webhook that was acknowledged; at the end the
//! inbox has to have all of them, each processed once.

mod kill;
mod ready;
mod replay;
#[cfg(target_os = "linux")]
mod starve;
