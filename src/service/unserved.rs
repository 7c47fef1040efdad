//! Logs requests that could not be served, for both APIs.

use crate::domain::error::{Error, Reason};
use crate::telemetry::repeated::Repeated;

/// Overload, a store that is away, a shutdown.
static UNSERVED: Repeated = Repeated::new("requests are served again");

/// Faults of hookbox. Apart, so that a storm of the others does not keep them out of the log.
static FAULTS: Repeated = Repeated::new("requests do not fail because of hookbox any more");

/// Logs that a request could not be served because of hookbox or its store, and not because of the client.
pub fn log_unserved(error: &Error, trace_id: &str) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let reason = error.reason().as_str();
    kind_of(error.reason()).failed(|times| {
        tracing::warn!(times, trace_id, reason, cause, "a request could not be served: {error}");
    });
}

fn kind_of(reason: Reason) -> &'static Repeated {
    if reason == Reason::Internal { &FAULTS } else { &UNSERVED }
}

/// Notes that a webhook was accepted.
pub(super) fn served() {
    UNSERVED.works();
    FAULTS.works();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_hookbox_are_logged_apart_from_overload() {
        for reason in [Reason::BacklogFull, Reason::StoreUnavailable, Reason::ShuttingDown] {
            assert!(!std::ptr::eq(kind_of(reason), kind_of(Reason::Internal)), "{reason:?}");
        }
    }
}
