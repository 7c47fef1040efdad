//! What a stream has found and not sent yet. Knows neither the store nor the runtime.
//!
//! A client that does not take its stream holds what is ready. So statuses are read a few at a time, and what does not fit
//! into [`READY_BYTES`] is read again once the rest is sent.

use std::collections::VecDeque;

use super::Arrival;
use crate::domain::id::WebhookId;
use crate::domain::job::JobStatus;
use crate::domain::webhook::WebhookStatus;

/// The most statuses that are read at once.
const STATUSES_AT_ONCE: usize = 100;

/// The most bytes of the statuses of a stream that are ready to be sent, or one status.
const READY_BYTES: usize = 256 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Ready {
    /// What can be sent.
    arrivals: VecDeque<Arrival>,
    /// The webhooks whose status is still to be read, in the order of their ids, each with the position after it.
    unread: VecDeque<(WebhookId, WebhookId)>,
    /// How many statuses are read next: about as many as fit.
    at_once: usize,
}

impl Ready {
    /// Only the position at which the stream begins.
    pub(super) fn at(begin: WebhookId) -> Self {
        let arrivals = VecDeque::from([Arrival { webhook: None, resume_after: begin }]);
        Self { arrivals, unread: VecDeque::new(), at_once: STATUSES_AT_ONCE }
    }

    /// Adds a webhook that was found, and the position after it. Its id is greater than those that are unread.
    pub(super) fn add(&mut self, id: WebhookId, resume_after: WebhookId) {
        self.unread.push_back((id, resume_after));
    }

    /// Adds a position, to be sent as it is.
    pub(super) fn add_position(&mut self, resume_after: WebhookId) {
        self.arrivals.push_back(Arrival { webhook: None, resume_after });
    }

    /// The next item to send.
    pub(super) fn pop(&mut self) -> Option<Arrival> {
        self.arrivals.pop_front()
    }

    /// Whether there is nothing to send or to read.
    pub(super) fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.unread.is_empty()
    }

    /// The webhooks whose status is to be read next. Give it to [`take`](Self::take).
    pub(super) fn to_read(&self) -> Vec<WebhookId> {
        self.unread.iter().take(self.at_once).map(|(id, _)| *id).collect()
    }

    /// Takes the statuses of the webhooks [`to_read`](Self::to_read), without those of webhooks that were removed
    /// meanwhile. `wanted` returns the webhook as it is sent; none if it is not.
    pub(super) fn take(
        &mut self,
        statuses: Vec<WebhookStatus>,
        wanted: impl Fn(WebhookStatus) -> Option<WebhookStatus>,
    ) {
        let (mut statuses, mut bytes) = (statuses.into_iter().peekable(), 0);
        for taken in 0..self.at_once {
            let Some((id, resume_after)) = self.unread.front().copied() else { break };
            if let Some(webhook) = statuses.next_if(|webhook| webhook.id == id).and_then(&wanted) {
                bytes += bytes_of(&webhook);
                if bytes > READY_BYTES && !self.arrivals.is_empty() {
                    self.at_once = taken.max(1);
                    return;
                }
                self.arrivals.push_back(Arrival { webhook: Some(webhook), resume_after });
            }
            self.unread.pop_front();
        }
        self.at_once = (2 * self.at_once).min(STATUSES_AT_ONCE);
    }
}

/// About how much memory a status takes.
fn bytes_of(webhook: &WebhookStatus) -> usize {
    let jobs = webhook
        .jobs
        .iter()
        .map(|job| size_of::<JobStatus>() + job.last_error.as_ref().map_or(0, String::len));
    let names = webhook.idempotency_key.as_str().len() + webhook.event_type.as_str().len();
    size_of::<Arrival>() + names + jobs.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::domain::id::{Sequence, WebhookIds};
    use crate::domain::job::QueueId;
    use crate::domain::route::RouteName;
    use crate::domain::webhook::{EventType, IdempotencyKey, Source};

    fn ids(count: usize) -> Vec<WebhookId> {
        let mut ids = WebhookIds::after(Sequence::from_i64(0), SmallRng::seed_from_u64(7));
        (0..count).map(|_| ids.next(Timestamp::UNIX_EPOCH)).collect()
    }

    /// The status of a webhook whose job failed with an error of this length.
    fn status(id: WebhookId, error_bytes: usize) -> WebhookStatus {
        let job = JobStatus::new(QueueId(1), RouteName::default(), Timestamp::UNIX_EPOCH);
        WebhookStatus {
            id,
            source: Source::default(),
            idempotency_key: IdempotencyKey::new("evt-001").expect("valid"),
            event_type: EventType::new("order.created").expect("valid"),
            accepted_at: Timestamp::UNIX_EPOCH,
            is_quarantined: false,
            jobs: vec![JobStatus { last_error: Some("x".repeat(error_bytes)), ..job }],
        }
    }

    /// Reads and sends everything, and returns the ids that were sent and how many statuses each read returned.
    fn sent(ids: &[WebhookId], error_bytes: usize) -> (Vec<WebhookId>, Vec<usize>) {
        let mut ready = Ready::at(WebhookId::FIRST);
        assert!(ready.pop().is_some_and(|first| first.webhook.is_none()));
        ids.iter().for_each(|id| ready.add(*id, *id));
        let (mut sent, mut reads) = (Vec::new(), Vec::new());
        while !ready.is_empty() {
            let asked = ready.to_read();
            reads.push(asked.len());
            ready.take(asked.into_iter().map(|id| status(id, error_bytes)).collect(), Some);
            let held = ready.arrivals.iter().filter_map(|arrival| arrival.webhook.as_ref());
            assert!(held.map(bytes_of).sum::<usize>() <= READY_BYTES || ready.arrivals.len() == 1);
            sent.extend(std::iter::from_fn(|| ready.pop()).map(|arrival| arrival.resume_after));
        }
        (sent, reads)
    }

    #[test]
    fn small_statuses_are_read_a_hundred_at_a_time() {
        let ids = ids(250);
        assert_eq!(sent(&ids, 0), (ids.clone(), vec![100, 100, 50]));
    }

    #[test]
    fn what_is_ready_has_a_limited_size_and_every_status_is_sent_once_in_order() {
        let ids = ids(250);
        for error_bytes in [1_000, 10_000, READY_BYTES / 2, READY_BYTES, 2 * READY_BYTES] {
            let (sent, reads) = sent(&ids, error_bytes);
            assert_eq!(sent, ids, "{error_bytes}");
            assert!(reads.iter().sum::<usize>() < 2 * ids.len() + STATUSES_AT_ONCE, "{reads:?}");
        }
    }

    #[test]
    fn webhooks_that_were_removed_or_are_not_wanted_are_left_out() {
        let ids = ids(4);
        let mut ready = Ready::at(WebhookId::FIRST);
        ready.pop();
        ids.iter().for_each(|id| ready.add(*id, *id));
        let statuses = [ids[0], ids[2], ids[3]].map(|id| status(id, 0)).to_vec();
        ready.take(statuses, |webhook| (webhook.id != ids[2]).then_some(webhook));
        let sent = std::iter::from_fn(|| ready.pop()).map(|arrival| arrival.resume_after);
        assert_eq!(sent.collect::<Vec<_>>(), [ids[0], ids[3]]);
        assert!(ready.is_empty());
    }
}
