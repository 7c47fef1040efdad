//! What every store does. A function is a behaviour; `conformance.rs` lists them.

pub(crate) mod accepting;
pub(crate) mod announcing;
pub(crate) mod backlog;
pub(crate) mod claiming;
pub(crate) mod closing;
pub(crate) mod counting;
pub(crate) mod finishing;
pub(crate) mod leasing;
pub(crate) mod listing;
pub(crate) mod operating;
pub(crate) mod purging;
pub(crate) mod reading;
pub(crate) mod stale_leases;
