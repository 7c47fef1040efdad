//! A page that is being filled, and the limits of what it looks at.

use std::time::Duration;

use super::{ListQuery, Look, Page, Window};
use crate::domain::id::{Position, Sequence};

/// Rows that one page looks at, at most.
const PAGE_ROWS: i64 = 200_000;

/// Rows that one window looks at: fewer at first, and while windows take longer than [`WINDOW_TIME`].
const FEWEST_ROWS: i64 = 250;
const MOST_ROWS: i64 = 10_000;

/// How long a window may take before the next one is made smaller.
const WINDOW_TIME: Duration = Duration::from_millis(10);

/// How long one page looks, without the window that it ends with: a list, and a list that reads bodies, unless it is to
/// be [brief](ListQuery::brief).
const LIST_TIME: Duration = Duration::from_millis(35);
const SEARCH_TIME: Duration = Duration::from_millis(150);

/// Bytes of payloads that one page reads. It may exceed them by those that are read at once.
const SEARCH_BYTES: usize = 64 * 1024 * 1024;

/// A page that is being filled. Times are monotonic.
pub(super) struct PageFiller {
    page: Page,
    limit: usize,
    /// When the page has to end.
    end: Duration,
    /// When the window began.
    window_began: Duration,
    /// How many rows the next window looks at.
    next_rows: i64,
    rows: i64,
    bytes: usize,
    /// Where the next window begins; `None` once the page is complete.
    before: Option<Position>,
}

impl PageFiller {
    pub(super) fn new(query: &ListQuery, now: Duration) -> Self {
        let newest = query.accepted_before;
        let newest = newest.map_or(Position::END, |time| Position::before_all(Sequence::first_at(time)));
        let time = if query.body.is_some() && !query.brief { SEARCH_TIME } else { LIST_TIME };
        Self {
            page: Page::default(),
            limit: query.limit,
            end: now.saturating_add(time),
            window_began: now,
            next_rows: i64::try_from(query.limit).unwrap_or(MOST_ROWS).clamp(FEWEST_ROWS, MOST_ROWS),
            rows: 0,
            bytes: 0,
            before: Some(newest.min(query.before.unwrap_or(Position::END))),
        }
    }

    /// The next window to look at; `None` once the page is complete.
    pub(super) fn next_look(&self) -> Option<Look> {
        Some(Look {
            before: self.before?,
            rows: self.next_rows.min(PAGE_ROWS - self.rows),
            wanted: self.limit - self.page.webhooks.len(),
        })
    }

    /// Notes that payloads with this number of bytes are read.
    pub(super) fn read(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether the page has looked at as much as it may.
    pub(super) fn has_to_end(&self, now: Duration) -> bool {
        self.rows >= PAGE_ROWS || self.bytes >= SEARCH_BYTES || now >= self.end
    }

    pub(super) fn add(&mut self, window: Window, now: Duration) {
        self.page.webhooks.extend(window.webhooks);
        self.rows += window.rows.max(1);
        self.before = window.next;
        if self.page.webhooks.len() >= self.limit {
            self.before = None;
            self.page.next = self.page.webhooks.last().map(|webhook| Position::before(webhook.id));
        } else if self.has_to_end(now) {
            self.page.next = self.before.take();
        }
        let is_slow = now.saturating_sub(self.window_began) > WINDOW_TIME;
        let rows = if is_slow { self.next_rows / 2 } else { self.next_rows * 2 };
        self.next_rows = rows.clamp(FEWEST_ROWS, MOST_ROWS);
        self.window_began = now;
    }

    pub(super) fn into_page(self) -> Page {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::body_filter::BodyFilter;

    const START: Duration = Duration::from_secs(5);

    fn query() -> ListQuery {
        ListQuery { limit: 50, ..ListQuery::default() }
    }

    fn searching() -> ListQuery {
        let body = BodyFilter::from_fields("", "", "x").expect("valid");
        ListQuery { body, ..query() }
    }

    fn at(milliseconds: u64) -> Duration {
        START + Duration::from_millis(milliseconds)
    }

    fn position(number: i64) -> Position {
        Position::before_all(Sequence::from_i64(number))
    }

    /// A window without a match after which the next one begins at a number.
    fn nothing(rows: i64, next: i64) -> Window {
        Window { webhooks: Vec::new(), rows, next: Some(position(next)) }
    }

    #[test]
    fn a_page_ends_when_its_time_is_over_and_goes_on_from_there() {
        let brief = ListQuery { brief: true, ..searching() };
        for (query, most) in [(query(), 35), (searching(), 150), (brief, 35)] {
            let mut page = PageFiller::new(&query, START);
            page.add(nothing(250, 900), at(most - 1));
            assert!(page.next_look().is_some_and(|look| look.before == position(900)));
            page.add(nothing(250, 800), at(most));
            assert!(page.next_look().is_none());
            assert_eq!(page.into_page().next, Some(position(800)));
        }
    }

    #[test]
    fn a_page_looks_at_one_window_however_long_it_takes() {
        let mut page = PageFiller::new(&query(), START);
        assert!(page.next_look().is_some());
        page.add(nothing(250, 900), at(10_000));
        assert_eq!(page.into_page().next, Some(position(900)));
    }

    #[test]
    fn a_page_looks_at_a_limited_number_of_rows_in_windows_that_grow() {
        let mut page = PageFiller::new(&query(), START);
        let (mut all, mut largest) = (0, 0);
        while let Some(look) = page.next_look() {
            (all, largest) = (all + look.rows, largest.max(look.rows));
            page.add(nothing(look.rows, 1_000_000 - all), START);
        }
        assert_eq!((all, largest), (PAGE_ROWS, MOST_ROWS));
        assert_eq!(page.into_page().next, Some(position(1_000_000 - PAGE_ROWS)));
    }

    #[test]
    fn a_slow_window_makes_the_next_one_smaller() {
        let mut page = PageFiller::new(&ListQuery { limit: 500, ..searching() }, START);
        let rows = |page: &PageFiller| page.next_look().map(|look| look.rows);
        assert_eq!(rows(&page), Some(500));
        page.add(nothing(500, 900), at(10));
        assert_eq!(rows(&page), Some(1_000));
        page.add(nothing(1_000, 800), at(21));
        assert_eq!(rows(&page), Some(500));
        page.add(nothing(500, 700), at(50));
        page.add(nothing(250, 600), at(80));
        assert_eq!(rows(&page), Some(FEWEST_ROWS));
    }

    #[test]
    fn a_page_reads_a_limited_number_of_bytes() {
        let mut page = PageFiller::new(&searching(), START);
        page.read(SEARCH_BYTES - 1);
        assert!(!page.has_to_end(START));
        page.read(1);
        assert!(page.has_to_end(START));
        page.add(nothing(250, 900), START);
        assert_eq!(page.into_page().next, Some(position(900)));
    }

    #[test]
    fn the_last_window_ends_a_page_without_a_next_one() {
        let mut page = PageFiller::new(&query(), START);
        page.add(Window { next: None, ..nothing(3, 0) }, at(10_000));
        assert!(page.next_look().is_none());
        let page = page.into_page();
        assert_eq!((page.next, page.searched_to()), (None, None));
    }
}
