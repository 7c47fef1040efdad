//! Holds every store to the promises of `hookbox::store`.
//!
//! The behaviours are written once, against the traits; `conformance!` makes a test of each of
//! them for a store. What only one kind of store can do is tested in a file of that store.

mod behaviours;
#[macro_use]
mod conformance;
mod harness;
mod inbox;
mod model;
mod postgres;
mod routes;
mod sqlite;
mod transfer;

conformance!(sqlite_store, crate::store::sqlite::SqliteHarness);
conformance!(postgres_store, crate::store::postgres::PostgresHarness);
