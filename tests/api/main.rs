//! The integration tests of both APIs: hookbox as its users see it.
//!
//! Most tests run the whole service inside of the test's process, with time driven by hand and a
//! handler that does as it is told (`harness`); a few run the program itself (`harness::process`).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

#[path = "../support/collector.rs"]
mod collector;
mod contract;
mod grpc;
mod harness;
mod jobs;
mod layers;
mod lifecycle;
mod rest;
mod snapshots;
#[path = "../support/postgres.rs"]
mod support;
mod telemetry;
mod transfer;
