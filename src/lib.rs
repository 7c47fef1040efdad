//! hookbox, a durable inbox for webhooks: stores each webhook before it answers, runs the handler of every
//! matching route, and shows the results.
//!
//! The layers, and which layer may use which: `domain` ← `store`, `routes` ← `service` ← `grpc`, `http`;
//! `grpc` and `http` accept through `connections`; `worker` uses `store` and `domain`, and `handlers` uses `worker`; `grpc` and `http` know neither each other nor the
//! inside of a store;
//! only `app` and `cli` know all. `docs/ARCHITECTURE.md` has more.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connections;
pub mod domain;
pub mod grpc;
pub mod handlers;
pub mod http;
pub mod routes;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod worker;
