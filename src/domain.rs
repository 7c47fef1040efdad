//! The types of hookbox and their rules.
//!
//! Pure: knows no SQL, no transport and no runtime. Time and randomness are arguments.

pub mod action;
pub mod address;
pub mod alert;
pub mod attempt;
pub mod body_filter;
pub mod breaker;
pub mod canonical;
pub mod clock;
pub mod conflict;
pub mod content_type;
pub mod delivery;
pub mod duration;
pub mod error;
pub mod filter;
pub mod handler;
pub mod headers;
pub mod hidden;
pub mod host;
pub mod id;
pub mod job;
pub mod json;
pub mod payload;
pub mod placeholder;
pub mod pointer;
pub mod policy;
pub mod replay;
pub mod retention;
pub mod retry;
pub mod route;
pub mod script;
pub mod secret;
pub mod status;
pub mod surrogates;
pub mod time;
pub mod trace;
pub mod verdict;
pub mod webhook;

/// How hookbox names itself to the servers that it asks: the targets of routes, and the servers of senders.
pub const AGENT: &str = concat!("hookbox/", env!("CARGO_PKG_VERSION"));
