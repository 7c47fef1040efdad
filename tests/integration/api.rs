//! Both APIs: hookbox as its users see it.
//!
//! Most tests run the whole service inside of the test's process, with time driven by hand and a
//! handler that does as it is told (`harness`); a few run the program itself (`harness::process`).
//! Each test runs on either store. Those that never reach the store run on SQLite, which starts faster.

mod access;
mod actions;
mod alerts;
mod backup;
mod bodies;
mod client;
mod closing;
mod contract;
mod deploy;
mod first_start;
mod grpc;
mod handlers;
mod harness;
mod hidden_secrets;
mod jobs;
mod layers;
mod library;
mod lifecycle;
mod logs;
mod page;
mod panics;
mod quarantine;
mod replays;
mod rest;
mod settings;
mod slow_clients;
mod snapshots;
mod source_lists;
mod sources;
mod telemetry;
mod tls;
mod transfer;
mod work;
