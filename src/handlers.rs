//! The handlers that come with hookbox. Each one runs on a thread of the worker's pool, and sees an `Attempt` and the
//! settings of its route, but never a store.

pub mod exec;
pub mod http;
pub mod simulate;
