//! Fills one page of a list, window by window. A store reads each window in a transaction of its own: a long
//! read transaction would delay checkpoints (SQLite) and vacuum (PostgreSQL), and other reads run in between.

use super::{ListQuery, Page};
use crate::domain::id::{Position, Sequence};
use crate::domain::webhook::WebhookStatus;

/// Rows that one window reads at most.
pub(super) const WINDOW_ROWS: i64 = 10_000;

/// Windows that one page reads at most. After that the page ends, even if nothing matched; its token says
/// where the next page continues.
const WINDOWS: usize = 20;

/// The result of reading one window.
pub(super) struct Window {
    /// The matching webhooks, newest first.
    pub(super) webhooks: Vec<WebhookStatus>,
    /// Where the next window begins; `None` if this is the last.
    pub(super) next: Option<Position>,
}

/// A page that is being filled.
pub(super) struct PageFiller {
    page: Page,
    limit: usize,
    windows: usize,
    /// Where the next window begins; `None` once the page is complete.
    before: Option<Position>,
}

impl PageFiller {
    pub(super) fn new(query: &ListQuery) -> Self {
        let newest = query.accepted_before;
        let newest = newest.map_or(Position::END, |time| Position::before_all(Sequence::first_at(time)));
        let before = newest.min(query.before.unwrap_or(Position::END));
        Self { page: Page::default(), limit: query.limit, windows: 0, before: Some(before) }
    }

    /// The next window to read: webhooks before this position, and the maximum number of webhooks to return.
    /// `None` once the page is complete.
    pub(super) fn next_window(&self) -> Option<(Position, usize)> {
        Some((self.before?, self.limit - self.page.webhooks.len()))
    }

    pub(super) fn add(&mut self, window: Window) {
        self.page.webhooks.extend(window.webhooks);
        self.windows += 1;
        self.before = window.next;
        if self.page.webhooks.len() >= self.limit {
            self.before = None;
            self.page.next = self.page.webhooks.last().map(|webhook| Position::before(webhook.id));
        } else if self.windows == WINDOWS {
            self.page.next = self.before.take();
        }
    }

    pub(super) fn into_page(self) -> Page {
        self.page
    }
}
