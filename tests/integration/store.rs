//! Checks that every store fulfils the contracts of `hookbox::internals::store`.
//!
//! Each behaviour is written once, against the traits, and `conformance!` generates one test of it for each
//! store. Behaviour that only one kind of store has is tested in the folder of that store.

mod behaviours;
#[macro_use]
mod conformance;
mod generate;
mod harness;
mod inbox;
mod model;
mod postgres;
mod readiness;
mod routes;
mod sqlite;
mod transfer;

conformance!(sqlite_store, crate::store::sqlite::SqliteHarness);
conformance!(postgres_store, crate::store::postgres::EmptiedPostgres);
