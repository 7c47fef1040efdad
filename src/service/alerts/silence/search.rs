//! Searches the store for the newest webhook of a source.

use jiff::Timestamp;

use crate::domain::id::Position;
use crate::domain::job::Status;
use crate::domain::webhook::Source;
use crate::store::{ListQuery, Page};

/// The search for the newest webhook of a source in the store, a page at each look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// Earlier webhooks are of no use.
    from: Option<Timestamp>,
    /// Where the next page begins; none if that is the first.
    before: Option<Position>,
    /// When the first page was read.
    pub(super) began: Timestamp,
}

/// What a page of a search has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// When the newest webhook was accepted.
    Found(Timestamp),
    Nothing,
    Unfinished(Search),
}

impl Search {
    /// Looks at webhooks accepted from `from` on.
    pub(super) fn begin(from: Option<Timestamp>, now: Timestamp) -> Self {
        Self { from, before: None, began: now }
    }

    /// Asks for the newest webhook of the source that is not in quarantine.
    pub(super) fn query(&self, source: &Source) -> ListQuery {
        let statuses = Status::ALL.into_iter().filter(|status| *status != Status::Quarantined);
        ListQuery {
            statuses: statuses.collect(),
            source: Some(source.clone()),
            accepted_after: self.from,
            before: self.before,
            limit: 1,
            ..ListQuery::default()
        }
    }

    /// What a page says that was read now.
    pub(super) fn after(self, page: &Page, now: Timestamp) -> Step {
        if let Some(newest) = page.webhooks.first() {
            return Step::Found(newest.accepted_at);
        }
        match (page.next, self.before) {
            (Some(next), _) => Step::Unfinished(Self { before: Some(next), ..self }),
            (None, None) => Step::Nothing,
            // What came in since the first page was read is on none of them.
            (None, Some(_)) => Step::Unfinished(Self::begin(Some(self.began), now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn a_search_over_several_pages_ends_with_what_came_in_meanwhile() {
        let search = Search::begin(Some(time(7)), time(100));
        assert_eq!(search.after(&Page::default(), time(100)), Step::Nothing);
        let page = Page { next: Some(Position::END), ..Page::default() };
        let second = Search { before: Some(Position::END), ..search };
        assert_eq!(search.after(&page, time(100)), Step::Unfinished(second));
        let third = Search::begin(Some(time(100)), time(160));
        assert_eq!(second.after(&Page::default(), time(160)), Step::Unfinished(third));
        assert_eq!(third.after(&Page::default(), time(220)), Step::Nothing);
    }
}
