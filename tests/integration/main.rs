//! The integration tests, all in one binary: built once, and run beside one another.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

mod api;
mod attacks;
mod crash;
mod fuzz;
mod keys;
mod replicas;
mod store;
mod support;
