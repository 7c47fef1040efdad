//! What accepting and operating answer, whatever the store.

use std::time::Duration;

use super::Accepted;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::webhook::{NewWebhook, WebhookStatus};

/// When a sender that met a full backlog should come again.
const BACKLOG_RETRY_AFTER: Duration = Duration::from_secs(5);

/// When a sender that met a full queue should come again.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Answers a webhook whose key is taken: with the first one's status, if it is the same webhook.
pub(super) fn duplicate(new: &NewWebhook, first: WebhookStatus, payload_digest: &[u8]) -> Result<Accepted> {
    let same_type = first.event_type == new.event_type;
    let same_payload = payload_digest == new.payload.digest().as_bytes();
    if !(same_type && same_payload) {
        return Err(Error::new(
            Reason::KeyReused,
            format!(
                "webhook {} has this idempotency key, and another {}; that one stays. Send a new webhook under a new key",
                first.id,
                if same_payload { "event type" } else { "payload" },
            ),
        ));
    }
    Ok(Accepted { webhook: first, duplicate: true })
}

/// More webhooks arrive at once than the writer can take.
pub(super) fn queue_full(limit: usize) -> Error {
    Error::new(
        Reason::BacklogFull,
        format!(
            "{limit} webhooks wait to be stored, as many as may; nothing was stored, try again in a moment"
        ),
    )
    .retry_after(QUEUE_RETRY_AFTER)
}

/// As many jobs are unfinished as may be.
pub(super) fn backlog_full(limit: u64) -> Error {
    Error::new(
        Reason::BacklogFull,
        format!("{limit} webhooks wait to be processed, as many as may; nothing was stored, try again later"),
    )
    .retry_after(BACKLOG_RETRY_AFTER)
}

/// A webhook whose payload is gone cannot be retried.
pub(super) fn payload_gone() -> Error {
    Error::new(
        Reason::WrongStatus,
        "the retention of its payload is over, so it cannot be retried; send it again under a new key",
    )
}
