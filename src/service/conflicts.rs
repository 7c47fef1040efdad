//! What was refused because its key is taken by a webhook with another content, so that the page can show the
//! difference. In memory, and bounded. Nothing that is not verified gets here: it takes no key.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::Service;
use super::view::WebhookView;
use crate::domain::conflict::RefusedWebhook;
use crate::domain::error::Error;
use crate::domain::id::WebhookId;

/// Of how many webhooks a conflict is kept.
const MAX_CONFLICTS: usize = 100;

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
}

/// A webhook that was refused because another one with its key has another content.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// When it came.
    pub at: Timestamp,
    /// How often such webhooks came, this one included, since the first of them that is remembered.
    pub count: u64,
    /// The way by which it came in.
    pub via: Via,
    /// The name of the token of its sender; none of the URL of a source.
    pub actor: Option<String>,
    /// What is kept of it.
    pub refused: Arc<RefusedWebhook>,
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
    /// many.
    fn add(&self, webhook: WebhookId, conflict: Conflict) {
        let mut kept = self.lock();
        let place = kept.conflicts.iter().position(|(id, _)| *id == webhook);
        let earlier = place.and_then(|place| kept.remove(place)).map_or(0, |earlier| earlier.count);
        kept.body_bytes += conflict.refused.body.len();
        let count = conflict.count.saturating_add(earlier);
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
        self.body_bytes -= conflict.refused.body.len();
        Some(conflict)
    }
}

impl Service {
    /// The last webhook that was refused here because this one, which the caller sees, has its key with another content.
    /// None once the payload is gone, because then nothing is left to compare.
    pub fn conflict_with(&self, webhook: &WebhookView) -> Option<Conflict> {
        webhook.payload.as_ref()?;
        self.receiving.conflicts.with(webhook.status.id)
    }

    /// Keeps what was refused with this error, if it was refused because its key is taken.
    pub(super) fn keep_conflict(&self, error: &Error, via: Via) {
        let (Some(webhook), Some(refused)) = (error.webhook(), error.refused()) else { return };
        let conflict = Conflict {
            at: self.clock.now(),
            count: 1,
            via,
            actor: (via != Via::Source).then(|| self.caller.name().to_owned()),
            refused: Arc::clone(refused),
        };
        self.receiving.conflicts.add(webhook, conflict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::conflict::MAX_REFUSED_BYTES;
    use crate::domain::content_type::ContentType;
    use crate::domain::headers::KeptHeaders;
    use crate::domain::payload::Payload;
    use crate::domain::trace::Traceparent;
    use crate::domain::verdict::Verdict;
    use crate::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};

    fn id(number: usize) -> WebhookId {
        WebhookId::from_bytes((number as u128).to_be_bytes())
    }

    /// A conflict with a body of this many bytes.
    fn conflict(body_bytes: usize) -> Conflict {
        let refused = RefusedWebhook::of(&NewWebhook {
            source: Source::default(),
            idempotency_key: IdempotencyKey::new("k").expect("valid"),
            event_type: EventType::new("t").expect("valid"),
            payload: Payload::of_bytes(vec![b'x'; body_bytes], ContentType::BYTES),
            headers: KeptHeaders::default(),
            verdict: Verdict::None,
            traceparent: Traceparent::new(1, 1, true),
        });
        let at = Timestamp::UNIX_EPOCH;
        Conflict { at, count: 1, via: Via::Rest, actor: None, refused: Arc::new(refused) }
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
        assert_eq!((kept.count, kept.refused.body_bytes), (3, 2));
        assert!(conflicts.with(id(8)).is_none());
        let all = conflicts.lock();
        assert_eq!((all.conflicts.len(), all.body_bytes), (1, 2));
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
            conflicts.add(id(number), conflict(10 * MAX_REFUSED_BYTES));
        }
        assert_eq!(known(&conflicts, 0..80), (16..80).collect::<Vec<_>>());
        assert_eq!(conflicts.lock().body_bytes, MAX_ALL_BODY_BYTES);
        let kept = conflicts.with(id(79)).expect("kept");
        let lengths = (kept.refused.body.len(), kept.refused.body_bytes);
        assert_eq!(lengths, (MAX_REFUSED_BYTES, 10 * MAX_REFUSED_BYTES));
    }
}
