//! What becomes of a webhook whose key is taken by another one.

use std::fmt;

use serde::Deserialize;

use super::content_type::ContentType;
use super::trace::Traceparent;
use super::webhook::{EventType, NewWebhook};

/// The most bytes that are kept of a body that is refused.
pub const MAX_REFUSED_BYTES: usize = 64 * 1024;

/// How hookbox answers a webhook whose key already belongs to a webhook with another body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Reject,
    /// It counts as a duplicate: the first one is kept.
    KeepFirst,
}

/// What is kept of a webhook that is refused, because its key is taken by one with another content. `Debug` does not
/// show the body.
#[derive(Clone)]
pub struct RefusedWebhook {
    /// What happened.
    pub event_type: EventType,
    /// The content type of the body.
    pub content_type: ContentType,
    /// The first [`MAX_REFUSED_BYTES`] of the body.
    pub body: Box<[u8]>,
    /// The length of the whole body.
    pub body_bytes: usize,
    /// The span of the request.
    pub traceparent: Traceparent,
}

impl RefusedWebhook {
    /// Copies what is kept of a webhook.
    pub fn of(webhook: &NewWebhook) -> Self {
        let body = webhook.payload.as_bytes();
        Self {
            event_type: webhook.event_type.clone(),
            content_type: webhook.payload.content_type().clone(),
            body: body.get(..MAX_REFUSED_BYTES).unwrap_or(body).into(),
            body_bytes: body.len(),
            traceparent: webhook.traceparent.clone(),
        }
    }
}

impl fmt::Debug for RefusedWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedWebhook").field("body_bytes", &self.body_bytes).finish_non_exhaustive()
    }
}
