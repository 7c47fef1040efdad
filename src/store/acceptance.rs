//! Results and errors of accepting, releasing and discarding that both stores share.

use std::time::Duration;

use super::Accepted;
use crate::domain::conflict::{OnConflict, OtherWebhook};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::webhook::{EventType, NewWebhook, WebhookStatus};

/// Maximum number of quarantined webhooks of one source.
pub const MAX_QUARANTINED: usize = 10_000;

/// The `Retry-After` of a webhook that was refused because the backlog is full.
const BACKLOG_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The `Retry-After` of a webhook that was refused because the queue of the writer is full.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The result of accepting a webhook whose key is taken: a duplicate of the stored webhook if both have the same event
/// type and payload digest. If not, `on_conflict` decides: it is a duplicate all the same, or `KeyReused`.
pub(super) fn duplicate_or_conflict(
    new: &NewWebhook,
    first: WebhookStatus,
    payload_digest: &[u8],
    on_conflict: OnConflict,
) -> Result<Accepted> {
    let digest = new.payload.digest();
    let difference = difference([&new.event_type, &first.event_type], [digest.as_bytes(), payload_digest]);
    let other = match (on_conflict, difference) {
        (_, None) => None,
        (OnConflict::KeepFirst, Some(_)) => Some(Box::new(OtherWebhook::of(new))),
        (OnConflict::Reject, Some(difference)) => {
            let refused = Error::new(
                Reason::KeyReused,
                format!(
                    "webhook {} already has this idempotency key with a different {difference}, and was not changed; send a new webhook under a new key",
                    first.id,
                ),
            );
            return Err(refused.because_of_other(first.id, OtherWebhook::of(new)));
        }
    };
    Ok(Accepted { webhook: first, duplicate: true, other })
}

/// Compares a webhook with `earlier`, the webhook of the same batch with the index `at`, which has its key and is new.
/// Returns the webhook if it has another content and is a duplicate all the same. Errors: `KeyReused` if it has another
/// content, and `on_conflict` does not allow that.
pub(super) fn check_in_batch(
    new: &NewWebhook,
    (at, earlier): (usize, &NewWebhook),
    on_conflict: OnConflict,
) -> Result<Option<Box<OtherWebhook>>> {
    let digests = [new.payload.digest(), earlier.payload.digest()];
    let difference =
        difference([&new.event_type, &earlier.event_type], [digests[0].as_bytes(), digests[1].as_bytes()]);
    match (on_conflict, difference) {
        (_, None) => Ok(None),
        (OnConflict::KeepFirst, Some(_)) => Ok(Some(Box::new(OtherWebhook::of(new)))),
        (OnConflict::Reject, Some(difference)) => Err(Error::new(
            Reason::KeyReused,
            format!(
                "item {} of the same batch has this idempotency key with a different {difference}; nothing of the batch was stored, send each webhook under a key of its own",
                at + 1,
            ),
        )),
    }
}

/// The result of releasing a quarantined webhook whose key `first` has: `first` as a duplicate if both have the same
/// event type and payload digest, or with `as_duplicate`; else `KeyReused`. `payload_digests` are those of both, in this
/// order.
pub(super) fn duplicate_of_released(
    quarantined: &WebhookStatus,
    first: WebhookStatus,
    payload_digests: [&[u8]; 2],
    as_duplicate: Option<&OtherWebhook>,
) -> Result<Accepted> {
    let difference = difference([&quarantined.event_type, &first.event_type], payload_digests);
    let other = match (difference, as_duplicate) {
        (None, _) => None,
        (Some(_), Some(released)) => Some(Box::new(released.clone())),
        (Some(difference), None) => {
            let refused = Error::new(
                Reason::KeyReused,
                format!(
                    "webhook {} already has the idempotency key of webhook {} with a different {difference}; the latter stays quarantined, discard it",
                    first.id, quarantined.id,
                ),
            );
            return Err(refused.because_of(first.id));
        }
    };
    Ok(Accepted { webhook: first, duplicate: true, other })
}

/// Checks that a webhook can be released or discarded. Errors: `WrongStatus` if it is not quarantined.
pub(super) fn check_quarantined(webhook: &WebhookStatus) -> Result<()> {
    if webhook.is_quarantined {
        return Ok(());
    }
    let detail = format!(
        "webhook {} is {}; only a quarantined webhook can be released or discarded",
        webhook.id,
        webhook.status()
    );
    Err(Error::new(Reason::WrongStatus, detail))
}

/// What differs between two webhooks with the same key: their event types or their payloads, which are compared by
/// digest.
fn difference(event_types: [&EventType; 2], payload_digests: [&[u8]; 2]) -> Option<&'static str> {
    if payload_digests[0] != payload_digests[1] {
        Some("payload")
    } else if event_types[0] != event_types[1] {
        Some("event type")
    } else {
        None
    }
}

/// `BacklogFull`: `limit` webhooks are already waiting to be stored.
pub(super) fn queue_full(limit: usize) -> Error {
    Error::new(
        Reason::BacklogFull,
        format!(
            "{limit} webhooks are waiting to be stored, which is the limit; nothing was stored, try again in a moment"
        ),
    )
    .retry_after(QUEUE_RETRY_AFTER)
}

/// `BacklogFull`: at least `limit` jobs are unfinished.
pub(super) fn backlog_full(limit: u64) -> Error {
    Error::new(
        Reason::BacklogFull,
        format!("at least {limit} jobs are unfinished, which is the limit `max_backlog`; nothing was stored, try again later"),
    )
    .retry_after(BACKLOG_RETRY_AFTER)
}
