//! hookbox, a durable inbox for webhooks: it stores each one before it answers, runs it once for
//! each route that wants it, and shows what became of it.
//!
//! Who may know whom: `domain` ← `store`, `routes` ← `service` ← `grpc`, `http`; `worker` knows `store`
//! and `domain`; `grpc` and `http` know neither each other nor what is inside of a store; only `app`
//! sees all. `docs/ARCHITECTURE.md` is the map.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod grpc;
pub mod http;
pub mod routes;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod worker;
