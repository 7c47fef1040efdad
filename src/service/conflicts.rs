//! What was refused, or counted as a duplicate, although its key is taken by a webhook with another content, so that the
//! page can show the difference. In memory, and bounded. Nothing that is not verified gets here before an operator releases
//! it: it takes no key.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::view::WebhookView;
use super::{Service, apart};
use crate::domain::conflict::{OnConflict, OtherWebhook};
use crate::domain::content_type::ContentType;
use crate::domain::error::Error;
use crate::domain::id::WebhookId;
use crate::domain::payload::sha256;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, Source};
use crate::store::Accepted;

/// Of how many webhooks a conflict is kept.
const MAX_CONFLICTS: usize = 100;

/// The most bytes that are kept of a body.
pub const MAX_KEPT_BYTES: usize = 64 * 1024;

/// The most bytes of all bodies that are kept.
const MAX_ALL_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The way by which a webhook comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// `POST /v1/webhooks`.
    Rest,
    /// `SubmitWebhook` or `SubmitWebhooks`.
    Grpc,
    /// The URL of its source.
    Source,
    /// A test of its source.
    Test,
    /// An operator edited another webhook.
    Edit,
    /// An operator released it from quarantine.
    Release,
}

/// A webhook that was not stored because another one with its key has another content.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// When it came.
    pub at: Timestamp,
    /// How it was answered: it was refused, or it counted as a duplicate.
    pub on_conflict: OnConflict,
    /// How often such webhooks came and were answered in this way, this one included, since the first of them that is
    /// remembered.
    pub count: u64,
    /// The way by which it came in.
    pub via: Via,
    /// The name of the token of its sender; none of the URL of a source.
    pub actor: Option<String>,
    /// What is kept of it.
    pub other: Arc<KeptWebhook>,
}

/// What is kept of a webhook that was not stored. `Debug` does not show the body.
#[derive(Clone)]
pub struct KeptWebhook {
    /// What happened.
    pub event_type: EventType,
    /// The content type of the body.
    pub content_type: ContentType,
    /// The first [`MAX_KEPT_BYTES`] of the body.
    pub body: Box<[u8]>,
    /// The length of the whole body.
    pub body_bytes: usize,
    /// The [`sha256`] of the whole body.
    pub sha256: String,
    /// The span of the request.
    pub traceparent: Traceparent,
}

impl KeptWebhook {
    fn of(OtherWebhook { event_type, payload, traceparent }: &OtherWebhook) -> Self {
        let body = payload.as_bytes();
        Self {
            event_type: event_type.clone(),
            content_type: payload.content_type().clone(),
            body: body.get(..MAX_KEPT_BYTES).unwrap_or(body).into(),
            body_bytes: body.len(),
            sha256: sha256(body),
            traceparent: traceparent.clone(),
        }
    }
}

impl fmt::Debug for KeptWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptWebhook").field("body_bytes", &self.body_bytes).finish_non_exhaustive()
    }
}

/// The last conflict of each webhook that has one.
#[derive(Debug, Default)]
pub(super) struct Conflicts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Each with the webhook that has the key; the newest is the last.
    conflicts: VecDeque<(WebhookId, Conflict)>,
    /// The length of their bodies.
    body_bytes: usize,
}

impl Conflicts {
    /// The last conflict with a webhook.
    fn with(&self, webhook: WebhookId) -> Option<Conflict> {
        let kept = self.lock();
        let found = kept.conflicts.iter().find(|(id, _)| *id == webhook);
        found.map(|(_, conflict)| conflict.clone())
    }

    /// Puts a conflict in the place of an earlier one with the same webhook, and forgets the oldest ones that are too
    /// many. The count goes on if both were answered in the same way.
    fn add(&self, webhook: WebhookId, conflict: Conflict) {
        let mut kept = self.lock();
        let place = kept.conflicts.iter().position(|(id, _)| *id == webhook);
        let earlier = place.and_then(|place| kept.remove(place));
        let earlier = earlier.filter(|earlier| earlier.on_conflict == conflict.on_conflict);
        kept.body_bytes += conflict.other.body.len();
        let count = conflict.count.saturating_add(earlier.map_or(0, |earlier| earlier.count));
        kept.conflicts.push_back((webhook, Conflict { count, ..conflict }));
        while kept.conflicts.len() > MAX_CONFLICTS || kept.body_bytes > MAX_ALL_BODY_BYTES {
            if kept.remove(0).is_none() {
                break;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, place: usize) -> Option<Conflict> {
        let (_, conflict) = self.conflicts.remove(place)?;
        self.body_bytes -= conflict.other.body.len();
        Some(conflict)
    }
}

impl Service {
    /// The last webhook that was not stored here because this one, which the caller sees, has its key with another
    /// content. None once the payload is gone, because then nothing is left to compare.
    pub fn conflict_with(&self, webhook: &WebhookView) -> Option<Conflict> {
        webhook.payload.as_ref()?;
        self.receiving.conflicts.with(webhook.status.id)
    }

    /// Keeps the webhook that was refused with this error, if it was refused because its key is taken.
    pub(super) async fn keep_refused(&self, error: &mut Error, via: Via) {
        if let Some(refused) = error.take_refused() {
            self.keep_conflicts(vec![refused], OnConflict::Reject, via).await;
        }
    }

    /// Keeps those of these webhooks of a source that are duplicates with another content, and logs that there are some.
    pub(super) async fn keep_duplicates(&self, source: &Source, accepted: &mut [Accepted], via: Via) {
        let other = |accepted: &mut Accepted| Some((accepted.webhook.id, *accepted.other.take()?));
        let others = accepted.iter_mut().filter_map(other).collect::<Vec<_>>();
        if others.is_empty() {
            return;
        }
        for (webhook, other) in &others {
            if let Some(times) = self.activity().conflicted(source, self.clock.monotonic()) {
                tracing::info!(
                    times,
                    source = source.as_str(),
                    webhook_id = %webhook,
                    trace_id = other.traceparent.trace_id(),
                    "webhooks of a source have the key of an earlier one but another body or event type; they count as duplicates and are not processed, because `on_conflict` is `keep_first`. The page compares the last one with the one that has the key"
                );
            }
        }
        self.keep_conflicts(others, OnConflict::KeepFirst, via).await;
    }

    /// Keeps webhooks that were not stored, each with the one that has its key.
    async fn keep_conflicts(
        &self,
        others: Vec<(WebhookId, OtherWebhook)>,
        on_conflict: OnConflict,
        via: Via,
    ) {
        let bytes = others.iter().map(|(_, other)| other.payload.as_bytes().len()).sum();
        let kept = |(webhook, other): &(WebhookId, OtherWebhook)| (*webhook, KeptWebhook::of(other));
        let all = apart(bytes, || others.iter().map(kept).collect::<Vec<_>>()).await;
        let (at, count) = (self.clock.now(), 1);
        for (webhook, other) in all {
            let actor = (via != Via::Source).then(|| self.caller.name().to_owned());
            let conflict = Conflict { at, on_conflict, count, via, actor, other: Arc::new(other) };
            self.receiving.conflicts.add(webhook, conflict);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::payload::Payload;

    fn id(number: usize) -> WebhookId {
        WebhookId::from_bytes((number as u128).to_be_bytes())
    }

    /// A conflict with a body of this many bytes.
    fn conflict(body_bytes: usize) -> Conflict {
        let other = KeptWebhook::of(&OtherWebhook {
            event_type: EventType::new("t").expect("valid"),
            payload: Payload::of_bytes(vec![b'x'; body_bytes], ContentType::BYTES),
            traceparent: Traceparent::new(1, 1, true),
        });
        let (at, on_conflict) = (Timestamp::UNIX_EPOCH, OnConflict::Reject);
        Conflict { at, on_conflict, count: 1, via: Via::Rest, actor: None, other: Arc::new(other) }
    }

    /// Which of the webhooks with these numbers have a conflict.
    fn known(conflicts: &Conflicts, numbers: std::ops::Range<usize>) -> Vec<usize> {
        numbers.filter(|number| conflicts.with(id(*number)).is_some()).collect()
    }

    #[test]
    fn the_newest_conflict_of_a_webhook_is_kept_with_the_count_of_all() {
        let conflicts = Conflicts::default();
        for body_bytes in [3, 1, 2] {
            conflicts.add(id(7), conflict(body_bytes));
        }
        let kept = conflicts.with(id(7)).expect("kept");
        assert_eq!((kept.count, kept.other.body_bytes), (3, 2));
        assert!(conflicts.with(id(8)).is_none());
        let all = conflicts.lock();
        assert_eq!((all.conflicts.len(), all.body_bytes), (1, 2));
    }

    #[test]
    fn refused_webhooks_and_duplicates_are_counted_apart() {
        let conflicts = Conflicts::default();
        let (refused, duplicate) = (OnConflict::Reject, OnConflict::KeepFirst);
        for (on_conflict, count) in [(refused, 1), (refused, 2), (duplicate, 1), (duplicate, 2), (refused, 1)]
        {
            conflicts.add(id(7), Conflict { on_conflict, ..conflict(1) });
            let kept = conflicts.with(id(7)).expect("kept");
            assert_eq!((kept.on_conflict, kept.count), (on_conflict, count));
        }
        assert_eq!(conflicts.lock().body_bytes, 1);
    }

    #[test]
    fn the_sha_256_of_a_body_is_that_of_the_whole_body() {
        let long = vec![b'x'; MAX_KEPT_BYTES + 1];
        let kept = conflict(long.len()).other;
        assert_eq!((kept.body.len(), &kept.sha256), (MAX_KEPT_BYTES, &sha256(&long)));
    }

    #[test]
    fn the_conflicts_of_the_last_100_webhooks_are_kept() {
        let conflicts = Conflicts::default();
        for number in 0..MAX_CONFLICTS {
            conflicts.add(id(number), conflict(0));
        }
        // The oldest becomes the newest, so that the second one is forgotten.
        conflicts.add(id(0), conflict(0));
        conflicts.add(id(MAX_CONFLICTS), conflict(0));
        let expected = std::iter::once(0).chain(2..=MAX_CONFLICTS).collect::<Vec<_>>();
        assert_eq!(known(&conflicts, 0..MAX_CONFLICTS + 1), expected);
    }

    #[test]
    fn the_first_64_kib_of_a_body_are_kept_and_4_mib_of_all_bodies() {
        let conflicts = Conflicts::default();
        for number in 0..80 {
            conflicts.add(id(number), conflict(10 * MAX_KEPT_BYTES));
        }
        assert_eq!(known(&conflicts, 0..80), (16..80).collect::<Vec<_>>());
        assert_eq!(conflicts.lock().body_bytes, MAX_ALL_BODY_BYTES);
        let kept = conflicts.with(id(79)).expect("kept");
        let lengths = (kept.other.body.len(), kept.other.body_bytes);
        assert_eq!(lengths, (MAX_KEPT_BYTES, 10 * MAX_KEPT_BYTES));
    }
}
