//! The types of hookbox and their rules.
//!
//! Pure: knows no SQL, no transport and no runtime. Time and randomness are arguments.

pub mod attempt;
pub mod clock;
pub mod error;
pub mod host;
pub mod id;
pub mod job;
pub mod payload;
pub mod policy;
pub mod retention;
pub mod retry;
pub mod route;
pub mod status;
pub mod trace;
pub mod webhook;
