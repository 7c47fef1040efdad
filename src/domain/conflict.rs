//! What becomes of a webhook whose key is taken by another one.

use std::fmt;

use serde::Deserialize;

use super::payload::Payload;
use super::trace::Traceparent;
use super::webhook::{EventType, NewWebhook};

/// How hookbox answers a webhook whose key already belongs to a webhook with another body or event type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Reject,
    /// It counts as a duplicate: the first one is kept.
    KeepFirst,
}

/// A webhook that is not stored, because its key is taken by one with another body or event type. Shares its body with the
/// webhook that came, so that making one costs nothing. `Debug` does not show the body.
#[derive(Clone)]
pub struct OtherWebhook {
    /// What happened.
    pub event_type: EventType,
    /// The body, with its content type.
    pub payload: Payload,
    /// The span of the request.
    pub traceparent: Traceparent,
}

impl OtherWebhook {
    /// What is of interest of a webhook.
    pub fn of(webhook: &NewWebhook) -> Self {
        let NewWebhook { event_type, payload, traceparent, .. } = webhook;
        Self { event_type: event_type.clone(), payload: payload.clone(), traceparent: traceparent.clone() }
    }
}

impl fmt::Debug for OtherWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body_bytes = self.payload.as_bytes().len();
        f.debug_struct("OtherWebhook").field("body_bytes", &body_bytes).finish_non_exhaustive()
    }
}
