//! hookbox, a durable inbox for webhooks: stores each webhook before it answers, runs the handler of every
//! matching route, and shows the results.
//!
//! The program `hookbox` needs no Rust: it sends webhooks to a server or runs a program. With this crate, a program of
//! yours is hookbox, with all of its commands, and runs your code on the threads of hookbox:
//!
//! ```no_run
//! use hookbox::{Attempt, Failure, Handler, Hookbox};
//! use serde_json::{Value, json};
//!
//! struct Resize;
//!
//! #[derive(serde::Deserialize)]
//! struct Image {
//!     id: u64,
//!     width: u32,
//! }
//!
//! impl Handler for Resize {
//!     fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure> {
//!         let image: Image = attempt.json()?;
//!         if image.width == 0 {
//!             return Err(Failure::permanent("the width is 0"));
//!         }
//!         let original = std::fs::read(format!("images/{}.png", image.id))?;
//!         // Here it would be resized.
//!         Ok(json!({ "bytes": original.len() }))
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     Hookbox::builder().handler("resize", Resize).run()
//! }
//! ```
//!
//! A route of `hookbox.toml` names the handler. `config check` and `config` know it too:
//!
//! ```toml
//! [[routes]]
//! name = "images"
//! match = { event_type = "image.*" }
//! handler = "resize"
//! timeout = "30s"
//! ```
//!
//! - **The result.** What the handler returns is the result of the job: JSON of at most 64 KiB.
//! - **Errors.** [`Failure::retry`] and every error that `?` returns are retried, as `retry` of the route says; so are
//!   panics. [`Failure::retry_after`] says when. [`Failure::permanent`] makes the job a dead letter.
//! - **Idempotency.** A handler can run again for the same job: after a failure, and after a crash. Name each outside
//!   effect by [`Attempt::delivery_id`], which is the same for all attempts of a run, and skip an effect that is there.
//! - **Stopping.** An attempt is told to stop when its `timeout` or the grace of a shutdown is over, or its lease is lost.
//!   hookbox cannot stop a thread: a handler that takes long waits with [`Attempt::sleep`], looks at
//!   [`Attempt::is_stopped`] or awaits [`Attempt::stopped`], and then returns [`Failure::Stopped`]. Without `timeout`, a
//!   route gives it 5 minutes.
//! - **Threads.** A handler may block. It takes one of `workers` threads until it returns.
//!
//! A program with a `main` of its own serves with [`Hookbox::serve`]. `examples/handler.rs` is a whole program.

mod access;
mod app;
mod bounded_file;
mod builder;
mod cli;
mod client;
mod clock;
mod config;
mod connections;
mod domain;
mod grpc;
mod handlers;
mod http;
mod keys;
mod page;
mod routes;
mod service;
mod sources;
mod store;
mod telemetry;
mod tls;
mod worker;

pub use self::app::ServeError;
pub use self::builder::{BuildError, Hookbox, HookboxBuilder};
pub use self::worker::handler::{Attempt, Failure, Handler};

/// What is inside. Not part of the interface: only the tests and benchmarks of this repository use it, which are
/// outside of the crate.
#[doc(hidden)]
pub mod internals {
    macro_rules! open {
        ($($layer:ident)*) => {
            $(#[doc(hidden)]
            pub mod $layer {
                pub use crate::$layer::*;
            })*
        };
    }
    open! {
        access app client clock config connections domain grpc handlers http keys page routes service sources store
        telemetry tls worker
    }
}
