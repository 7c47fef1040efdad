//! Which webhooks a stream has seen. Knows neither the store nor the runtime.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::id::WebhookId;

/// The most ids that a stream remembers. If more webhooks come in while others may still become visible before them,
/// those that become visible latest are missed.
pub(super) const MAX_SEEN: usize = 100_000;

/// The ids that a stream has seen, as far back as other ids may still become visible.
#[derive(Debug)]
pub(super) struct Seen {
    /// For how long after a webhook others with smaller ids may become visible.
    late: Duration,
    /// Where the stream begins. Its position is never before this.
    begin: WebhookId,
    /// The greatest id that was seen, or the place at which the stream begins.
    newest: WebhookId,
    /// The place before all ids that were made since the last sweep began.
    swept: WebhookId,
    /// No webhook at or before this place is looked for any more.
    settled: WebhookId,
    /// What was seen after that place.
    ids: BTreeSet<WebhookId>,
}

impl Seen {
    /// Nothing: the stream begins after a place that another one has told.
    pub(super) fn after(place: WebhookId, late: Duration) -> Self {
        Self { late, begin: place, newest: place, swept: place, settled: place, ids: BTreeSet::new() }
    }

    /// Begins now. `newest` is the greatest id that is there. What is there already has to be [added](Self::add).
    pub(super) fn from_now(newest: WebhookId, late: Duration) -> Self {
        let settled = newest.earlier(late);
        Self { late, begin: newest, newest, swept: newest, settled, ids: BTreeSet::new() }
    }

    /// Notes that a sweep begins, which reads all ids after the place that is returned. `now` is the place before all ids
    /// that are made from now on.
    pub(super) fn sweep(&mut self, now: WebhookId) -> WebhookId {
        self.swept = now;
        self.settled
    }

    /// The place before all ids that were made since the last sweep began.
    pub(super) fn swept(&self) -> WebhookId {
        self.swept
    }

    /// The greatest id that was seen.
    pub(super) fn newest(&self) -> WebhookId {
        self.newest
    }

    /// The place after which ids may still become visible.
    pub(super) fn settled(&self) -> WebhookId {
        self.settled
    }

    /// The place after which another stream may begin, and misses nothing.
    pub(super) fn resume_after(&self) -> WebhookId {
        self.settled.max(self.begin)
    }

    /// Adds an id. Those of a sweep are added in their order. Returns the position after it; none if it was seen before.
    pub(super) fn add(&mut self, id: WebhookId) -> Option<WebhookId> {
        if id <= self.settled || !self.ids.insert(id) {
            return None;
        }
        self.newest = self.newest.max(id);
        // A sweep has several reads, and its client may take long between them. What becomes visible behind one of them
        // has to be found by the next sweep. So only what was visible when the sweep began is settled, as far as the
        // sweep has come.
        let visible = if self.late.is_zero() { self.newest } else { self.newest.min(self.swept) };
        let mut settled = self.settled.max(visible.earlier(self.late).min(id));
        if self.ids.len() > MAX_SEEN {
            settled = self.ids.first().map_or(settled, |first| settled.max(*first));
        }
        self.settled = settled;
        while self.ids.first().is_some_and(|first| *first <= settled) {
            self.ids.pop_first();
        }
        Some(self.resume_after())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::domain::id::{Sequence, WebhookIds};

    /// Ids that were made this many milliseconds after a time.
    fn ids(at: impl IntoIterator<Item = i64>) -> Vec<WebhookId> {
        let mut ids = WebhookIds::after(Sequence::from_i64(0), SmallRng::seed_from_u64(7));
        let time = |milliseconds| Timestamp::from_millisecond(1_733_063_400_000 + milliseconds);
        at.into_iter().map(|milliseconds| ids.next(time(milliseconds).expect("in range"))).collect()
    }

    #[test]
    fn where_ids_become_visible_in_their_order_the_position_is_the_last_one() {
        let ids = ids([0, 1, 1]);
        let mut seen = Seen::from_now(ids[0], Duration::ZERO);
        assert_eq!(seen.resume_after(), ids[0]);
        assert_eq!(seen.add(ids[0]), None);
        assert_eq!([seen.add(ids[1]), seen.add(ids[2])], [Some(ids[1]), Some(ids[2])]);
        assert_eq!((seen.settled(), seen.ids.len()), (ids[2], 0));
    }

    #[test]
    fn an_id_that_becomes_visible_late_is_new_and_the_position_stays_before_it() {
        let ids = ids([0, 10, 20, 30]);
        let mut seen = Seen::after(ids[0], Duration::from_secs(1));
        assert_eq!([seen.add(ids[1]), seen.add(ids[3])], [Some(ids[0]); 2]);
        assert_eq!(seen.add(ids[2]), Some(ids[0]), "it is smaller than one that was seen");
        assert_eq!([1, 2, 3].map(|at| seen.add(ids[at])), [None; 3]);
    }

    #[test]
    fn the_position_follows_at_the_time_in_which_ids_may_become_visible() {
        let ids = ids([0, 500, 1_200]);
        let mut seen = Seen::after(WebhookId::FIRST, Duration::from_secs(1));
        seen.sweep(ids[2]);
        seen.add(ids[0]);
        seen.add(ids[1]);
        let position = seen.add(ids[2]).expect("is new");
        assert!(ids[0] < position && position < ids[1]);
        assert_eq!(seen.ids.len(), 2);
    }

    #[test]
    fn an_id_that_becomes_visible_behind_a_page_is_new_however_long_the_page_takes() {
        let ids = ids([0, 1_000, 2_000, 62_000]);
        let mut seen = Seen::after(WebhookId::FIRST, Duration::from_secs(15));
        seen.sweep(ids[2]);
        assert!([0, 2].iter().all(|at| seen.add(ids[*at]).is_some()));
        let position = seen.add(ids[3]).expect("is new");
        assert!(position < ids[1], "a stream that goes on there has it too");
        assert!(seen.sweep(ids[3]) < ids[1], "the next sweep reads it");
        assert_eq!([0, 1, 2, 3].map(|at| seen.add(ids[at])), [None, Some(ids[1]), None, None]);
    }

    #[test]
    fn ids_that_become_visible_late_together_are_all_new() {
        let ids = ids([0, 1_000, 2_000, 62_000]);
        let mut seen = Seen::after(ids[0], Duration::from_secs(15));
        seen.sweep(ids[2]);
        assert_eq!(seen.add(ids[3]), Some(ids[0]));
        assert_eq!(seen.sweep(ids[3]), ids[0]);
        assert_eq!([1, 2, 3].map(|at| seen.add(ids[at])), [Some(ids[1]), Some(ids[2]), None]);
    }

    #[test]
    fn a_stream_that_begins_now_finds_what_becomes_visible_late_and_resumes_no_earlier() {
        let ids = ids([0, 10, 20]);
        let mut seen = Seen::from_now(ids[1], Duration::from_secs(1));
        assert_eq!(seen.add(ids[1]), Some(ids[1]));
        assert_eq!(seen.add(ids[0]), Some(ids[1]), "it became visible after the stream began");
        assert_eq!(seen.add(ids[2]), Some(ids[1]));
    }

    #[test]
    fn the_memory_is_limited() {
        let ids = ids((0..=MAX_SEEN as i64).map(|_| 0));
        let mut seen = Seen::after(WebhookId::FIRST, Duration::from_secs(3_600));
        for id in &ids {
            seen.add(*id);
        }
        assert_eq!((seen.ids.len(), seen.settled()), (MAX_SEEN, ids[0]));
    }
}
