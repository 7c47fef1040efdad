//! The behaviours that every store must have. Each public generic function tests one; `conformance.rs` lists
//! them.

pub(crate) mod accepting;
pub(crate) mod announcing;
pub(crate) mod arriving;
pub(crate) mod backlog;
pub(crate) mod batches;
pub(crate) mod blocking;
pub(crate) mod bodies;
pub(crate) mod breakers;
pub(crate) mod claiming;
pub(crate) mod closing;
pub(crate) mod counting;
pub(crate) mod finishing;
pub(crate) mod giving_back;
pub(crate) mod gone;
pub(crate) mod jobs;
pub(crate) mod large;
pub(crate) mod leasing;
pub(crate) mod limits;
pub(crate) mod listing;
pub(crate) mod operating;
pub(crate) mod ordering;
pub(crate) mod pausing;
pub(crate) mod policies;
pub(crate) mod pulled;
pub(crate) mod purging;
pub(crate) mod quarantine;
pub(crate) mod reading;
pub(crate) mod releasing;
pub(crate) mod retention;
pub(crate) mod searching;
pub(crate) mod sharing;
pub(crate) mod stale_leases;
