//! One page of a list, window by window. A store looks at one window in a transaction of its own: a long
//! reader would hold up checkpoints and vacuum, and each window queues up anew, behind other reads.

use super::{ListQuery, Page};
use crate::domain::id::{Position, Sequence};
use crate::domain::webhook::WebhookStatus;

/// Rows in one window.
pub(super) const WINDOW_ROWS: i64 = 10_000;

/// Windows that one page looks at. Its token says where the next page goes on, also if none matched.
const WINDOWS: usize = 20;

/// What one window holds.
pub(super) struct Window {
    /// The webhooks that match, newest first.
    pub(super) webhooks: Vec<WebhookStatus>,
    /// Where the next window begins; none if this is the last.
    pub(super) next: Option<Position>,
}

/// A page that is being filled.
pub(super) struct PageFiller {
    page: Page,
    limit: usize,
    windows: usize,
    /// Where the next window begins; none once the page is done.
    before: Option<Position>,
}

impl PageFiller {
    pub(super) fn new(query: &ListQuery) -> Self {
        let newest = query.accepted_before;
        let newest = newest.map_or(Position::END, |time| Position::before_all(Sequence::first_at(time)));
        let before = newest.min(query.before.unwrap_or(Position::END));
        Self { page: Page::default(), limit: query.limit, windows: 0, before: Some(before) }
    }

    /// The window to look at next: before this position, for so many webhooks at most.
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
