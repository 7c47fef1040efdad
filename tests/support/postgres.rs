//! PostgreSQL for tests: a database for each test, on a server that is found or started, and whole
//! servers for tests that stop, kill or promote one.
//!
//! A test binary takes it in with `#[path = "../support/postgres.rs"] mod postgres;`. It knows
//! nothing of hookbox. Every call blocks, and can be made with or without a runtime around it.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

#[path = "postgres/clock.rs"]
mod clock;
#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "postgres/database.rs"]
mod database;
#[path = "postgres/install.rs"]
mod install;
#[path = "postgres/process.rs"]
mod process;
#[path = "postgres/programs.rs"]
mod programs;
#[path = "postgres/scratch.rs"]
mod scratch;
#[path = "postgres/server.rs"]
mod server;
#[path = "postgres/session.rs"]
mod session;
#[path = "postgres/wait.rs"]
mod wait;

pub(crate) use clock::DatabaseClock;
pub(crate) use cluster::Cluster;
pub(crate) use database::Database;
pub(crate) use server::{Server, server};
pub(crate) use session::Session;

/// The oldest PostgreSQL that hookbox supports.
const OLDEST_VERSION: u32 = 15;

/// A variable of the environment, unless it is empty.
#[expect(clippy::disallowed_methods, reason = "who runs the tests says where the server is")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
