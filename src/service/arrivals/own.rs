//! The positions of a stream for a caller who does not see every webhook. They tell nothing of the others: each is the id of a
//! webhook that was sent, or made of the time alone.

use std::collections::BTreeSet;
use std::time::Duration;

use super::seen::MAX_SEEN;
use super::{Arrival, ArrivalQuery};
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::service::Service;
use crate::store::ListQuery;

/// How far a position that is made of the time is behind it. Longer than it takes from an id to the commit of its webhook,
/// and than clocks are set back by programs that keep them right.
pub(super) const BEHIND: Duration = Duration::from_secs(600);

/// The place after which the webhooks come that such a caller sees from now on: the newest one that is there, or a place
/// behind the time if there is none since.
pub(super) async fn begin(service: &Service, wanted: &ArrivalQuery) -> Result<WebhookId> {
    let place = WebhookId::before_all(service.store.time_of_ids()).earlier(BEHIND);
    let ArrivalQuery { source, route, event_type, .. } = wanted.clone();
    let accepted_after = Some(place.time());
    let query = ListQuery { source, route, event_type, accepted_after, limit: 1, ..ListQuery::default() };
    let Some(mut query) = service.limited_query(&query) else { return Ok(place) };
    loop {
        let page = service.store.list(query.clone()).await?;
        match (page.webhooks.first(), page.next) {
            (Some(newest), _) => return Ok(newest.id),
            (None, None) => return Ok(place),
            (None, next) => query.before = next,
        }
    }
}

/// The position of a stream, and what it has sent after it.
#[derive(Debug)]
pub(super) struct OwnPositions {
    position: WebhookId,
    sent: BTreeSet<WebhookId>,
}

impl OwnPositions {
    /// The stream begins after this place.
    pub(super) fn after(position: WebhookId) -> Self {
        Self { position, sent: BTreeSet::new() }
    }

    /// The position after an item that is sent. Its `resume_after` is a place up to which everything was found; what was
    /// found together is sent in the order of ids. Without a webhook, everything up to it was sent, and the place itself is
    /// told.
    pub(super) fn after_item(&mut self, item: &Arrival) -> WebhookId {
        match &item.webhook {
            Some(webhook) => {
                self.sent.insert(webhook.id);
                self.settle(item.resume_after.min(webhook.id))
            }
            None => {
                self.position = self.settle(item.resume_after).max(item.resume_after);
                self.position
            }
        }
    }

    /// The position once the stream has sent everything up to `place`: the last webhook up to there.
    pub(super) fn settle(&mut self, place: WebhookId) -> WebhookId {
        while let Some(first) = self.sent.first().copied()
            && (first <= place || self.sent.len() > MAX_SEEN)
        {
            self.sent.pop_first();
            self.position = self.position.max(first);
        }
        self.position
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::domain::id::{Sequence, WebhookIds};
    use crate::domain::webhook::{EventType, IdempotencyKey, Source, WebhookStatus};

    /// Ids that were made this many milliseconds after a time.
    fn ids<const COUNT: usize>(at: [i64; COUNT]) -> [WebhookId; COUNT] {
        let mut ids = WebhookIds::after(Sequence::from_i64(0), SmallRng::seed_from_u64(7));
        let time = |milliseconds| Timestamp::from_millisecond(1_733_063_400_000 + milliseconds);
        at.map(|milliseconds| ids.next(time(milliseconds).expect("in range")))
    }

    fn webhook(id: WebhookId, resume_after: WebhookId) -> Arrival {
        let webhook = WebhookStatus {
            id,
            source: Source::default(),
            idempotency_key: IdempotencyKey::new("evt-001").expect("valid"),
            event_type: EventType::new("order.created").expect("valid"),
            accepted_at: Timestamp::UNIX_EPOCH,
            is_quarantined: false,
            jobs: Vec::new(),
        };
        Arrival { webhook: Some(webhook), resume_after }
    }

    #[test]
    fn where_webhooks_come_in_order_the_position_is_the_last_one_that_was_sent() {
        let [begin, first, _hidden, second] = ids([0, 1, 2, 3]);
        let mut own = OwnPositions::after(begin);
        assert_eq!(own.after_item(&webhook(first, first)), first);
        assert_eq!(own.after_item(&webhook(second, second)), second);
    }

    #[test]
    fn a_webhook_before_which_others_may_come_is_no_position_yet() {
        let [begin, first, second] = ids([0, 1_000, 2_000]);
        let mut own = OwnPositions::after(begin);
        assert_eq!(own.after_item(&webhook(first, first.earlier(Duration::from_secs(15)))), begin);
        assert_eq!(own.after_item(&webhook(second, second.earlier(Duration::from_millis(500)))), first);
        assert_eq!(own.settle(second), second);
    }

    #[test]
    fn the_position_is_not_past_webhooks_that_became_visible_late_together() {
        let [begin, one, two, sent] = ids([0, 1_000, 2_000, 3_000]);
        let mut own = OwnPositions::after(begin);
        assert_eq!(own.after_item(&webhook(sent, begin)), begin);
        assert_eq!([one, two].map(|late| own.after_item(&webhook(late, sent))), [one, two]);
        assert_eq!(own.settle(sent), sent);
    }

    #[test]
    fn a_position_of_the_time_is_told_as_it_is_and_the_position_never_goes_back() {
        let [begin, sent] = ids([0, 1_000]);
        let mut own = OwnPositions::after(begin);
        let at = |milliseconds| sent.earlier(Duration::from_millis(milliseconds));
        let position = |resume_after| Arrival { webhook: None, resume_after };
        assert_eq!(own.after_item(&position(at(500))), at(500));
        assert_eq!(own.after_item(&position(at(600))), at(500));
        assert_eq!(own.after_item(&webhook(sent, at(600))), at(500));
        assert_eq!(own.settle(sent), sent);
    }

    #[test]
    fn the_memory_is_limited() {
        let mut ids = WebhookIds::after(Sequence::from_i64(0), SmallRng::seed_from_u64(7));
        let mut own = OwnPositions::after(WebhookId::FIRST);
        let first = ids.next(Timestamp::UNIX_EPOCH);
        assert_eq!(own.after_item(&webhook(first, WebhookId::FIRST)), WebhookId::FIRST);
        for _ in 0..MAX_SEEN {
            own.after_item(&webhook(ids.next(Timestamp::UNIX_EPOCH), WebhookId::FIRST));
        }
        assert_eq!((own.sent.len(), own.position), (MAX_SEEN, first));
    }
}
