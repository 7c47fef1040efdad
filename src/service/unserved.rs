//! Logs requests that could not be served, for both APIs.

use crate::domain::error::Error;
use crate::telemetry::repeated::Repeated;

static UNSERVED: Repeated = Repeated::new("requests are served again");

/// Logs that a request could not be served because of hookbox or its store, and not because of the client.
pub fn log_unserved(error: &Error, trace_id: &str) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let reason = error.reason().as_str();
    UNSERVED.failed(|times| {
        tracing::warn!(times, trace_id, reason, cause, "a request could not be served: {error}");
    });
}

/// Notes that a webhook was accepted.
pub(super) fn served() {
    UNSERVED.works();
}
