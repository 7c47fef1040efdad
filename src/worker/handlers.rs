//! The handlers that come with hookbox.

pub mod simulate;
