//! PostgreSQL for tests: a database for each test, on a server that is found or started, and whole
//! servers for tests that stop, kill or promote one.
//!
//! It knows nothing of hookbox. Every call blocks, and can be made with or without a runtime around it.

mod clock;
mod cluster;
mod database;
mod install;
mod lost_commits;
mod process;
mod programs;
mod scratch;
mod server;
mod session;

pub(crate) use clock::DatabaseClock;
pub(crate) use cluster::Cluster;
pub(crate) use database::Database;
pub(crate) use lost_commits::{close_waiting, hold_commits, release_commits};
pub(crate) use server::server;
pub(crate) use session::Session;

/// The oldest PostgreSQL that hookbox supports.
const OLDEST_VERSION: u32 = 15;

/// A variable of the environment, unless it is empty.
#[expect(clippy::disallowed_methods, reason = "who runs the tests says where the server is")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
