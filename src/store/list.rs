//! Fills one page of a list, window by window. A store reads each window in a transaction of its own: a long
//! read transaction would delay checkpoints (SQLite) and vacuum (PostgreSQL), and other reads run in between.
//!
//! One page looks at a limited number of rows and bytes, for a limited time. After that it ends, even if nothing
//! matched; its token says where the next page continues.

mod filler;
mod merge;
mod query;

use async_trait::async_trait;

use self::filler::PageFiller;
pub(super) use self::merge::merge;
pub use self::query::{ListQuery, Page, Seen};
pub(super) use self::query::{MOST_SOURCES, Names};
use super::fitting::fitting;
use crate::domain::clock::Clock;
use crate::domain::error::Result;
use crate::domain::id::Position;
use crate::domain::webhook::WebhookStatus;

/// Entries of an index that one window looks at, at most, if the filters allow to begin with it.
pub(super) const INDEX_ROWS: i64 = 2_000;

/// Bytes of payloads that are read at once to look for something in them, unless one has more.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Payloads that are read at once to look for something in them.
const CHUNK_PAYLOADS: usize = 1_000;

/// What to look at next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Webhooks before this position.
    pub(super) before: Position,
    /// The most rows to look at.
    pub(super) rows: i64,
    /// The most webhooks to return.
    pub(super) wanted: usize,
}

/// The result of looking at one window.
pub(super) struct Window {
    /// The matching webhooks, newest first.
    pub(super) webhooks: Vec<WebhookStatus>,
    /// The number of rows that were looked at, at most.
    pub(super) rows: i64,
    /// Where the next window begins; `None` if this is the last.
    pub(super) next: Option<Position>,
}

/// The webhooks of one window that match all filters but that of the body.
pub(super) struct Candidates<Place> {
    /// Their places, newest first, each with the bytes of its payload.
    pub(super) places: Vec<(Place, usize)>,
    /// The number of rows that were looked at, at most.
    pub(super) rows: i64,
    /// Where the next window begins; `None` if this is the last.
    pub(super) next: Option<Position>,
}

/// What a store does for one list.
#[async_trait]
pub(super) trait Lister: Sync {
    /// How the store names a webhook.
    type Place: Copy + Send + Sync;

    /// The position right before a webhook.
    fn before(place: Self::Place) -> Position;

    /// Looks at one window, without the filter of the body.
    async fn window(&self, look: Look) -> Result<Window>;

    /// Looks at one window, for webhooks that have a payload. Returns all that match, whatever `wanted` says.
    async fn candidates(&self, look: Look) -> Result<Candidates<Self::Place>>;

    /// Reads the payloads of these webhooks, and returns those whose body matches, newest first.
    async fn matching(&self, places: Vec<Self::Place>) -> Result<Vec<Self::Place>>;

    /// The status of these webhooks, newest first. Leaves out those that were removed meanwhile.
    async fn statuses(&self, places: Vec<Self::Place>) -> Result<Vec<WebhookStatus>>;
}

/// Reads one page.
pub(super) async fn page<L: Lister>(lister: &L, clock: &dyn Clock, query: &ListQuery) -> Result<Page> {
    let mut page = PageFiller::new(query, clock.monotonic());
    while let Some(look) = page.next_look() {
        let window = match query.body {
            None => lister.window(look).await?,
            Some(_) => search(lister, clock, &mut page, look).await?,
        };
        page.add(window, clock.monotonic());
    }
    Ok(page.into_page())
}

/// Looks for webhooks with a matching body in one window, or in a part of it if `page` has to end.
async fn search<L: Lister>(
    lister: &L,
    clock: &dyn Clock,
    page: &mut PageFiller,
    look: Look,
) -> Result<Window> {
    let Candidates { places, rows, mut next } = lister.candidates(look).await?;
    let (mut found, mut reached) = (Vec::new(), None);
    let mut left = places.as_slice();
    while !left.is_empty() && found.len() < look.wanted {
        let bytes = left.iter().map(|(_, bytes)| *bytes);
        let (chunk, others) = left.split_at(fitting(bytes, CHUNK_BYTES).min(CHUNK_PAYLOADS));
        page.read(chunk.iter().map(|(_, bytes)| *bytes).sum());
        found.extend(lister.matching(chunk.iter().map(|(place, _)| *place).collect()).await?);
        reached = chunk.last().map(|(place, _)| L::before(*place));
        left = others;
        if page.has_to_end(clock.monotonic()) {
            break;
        }
    }
    if !left.is_empty() {
        next = reached;
    }
    if found.len() >= look.wanted {
        found.truncate(look.wanted);
        next = found.last().map(|place| L::before(*place));
    }
    let webhooks = if found.is_empty() { Vec::new() } else { lister.statuses(found).await? };
    Ok(Window { webhooks, rows, next })
}
