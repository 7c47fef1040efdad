//! `GET /live`: tells a browser that something has changed, so that it loads its view again. The stream says nothing else.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::context::Context;
use super::{Paths, Shared};
use crate::domain::job::Status;
use crate::service::{Service, StatusCounts};

/// The time between two looks for changes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// For how long all streams share one look.
const LOOK_HOLDS: Duration = Duration::from_secs(1);

/// The most streams of this process. Further browsers load their views again at intervals.
const MAX_STREAMS: usize = 200;

/// After this long without an event a comment is sent, so that proxies keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What all streams share.
#[derive(Debug)]
pub(super) struct Live {
    free: Arc<Semaphore>,
    /// The monotonic time of the last look, and the digest of what it found.
    seen: Mutex<Option<(Duration, u64)>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(MAX_STREAMS)), seen: Mutex::default() }
    }
}

/// What this serves.
pub(super) fn routes() -> Paths {
    Paths::default().get("/live", follow)
}

/// Sends an event `change` when something has changed, and one at the first look, for what has changed since the view was
/// made.
async fn follow(context: Context) -> Response {
    let Ok(place) = Arc::clone(&context.shared.live.free).try_acquire_owned() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages are live; this one loads again by itself\n",
        )
            .into_response();
    };
    let is_limited = context.caller.is_limited();
    let Context { service, shared, .. } = context;
    let follower = Follower { service, shared, is_limited, told: None, _place: place };
    let events = stream::unfold(follower, |mut follower| async move {
        follower.changed().await?;
        // Browsers leave out events without data.
        let event = Event::default().event("change").data("1");
        Some((Ok::<_, Infallible>(event), follower))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// A stream of one browser.
struct Follower {
    service: Service,
    shared: Shared,
    /// Whether the caller sees only a part, and so must not learn of changes of others.
    is_limited: bool,
    /// The digest that was told last.
    told: Option<u64>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// Ready after the next change; none once the process stops, or the caller is no longer let in.
    async fn changed(&mut self) -> Option<()> {
        loop {
            let pages = &self.shared.pages;
            pages.stopping.run_until_cancelled(pages.clock.sleep(LOOK_EVERY)).await?;
            self.service.check_caller().ok()?;
            let seen = self.look().await;
            if self.told.replace(seen) != Some(seen) {
                return Some(());
            }
        }
    }

    /// A digest of what there is to see.
    async fn look(&self) -> u64 {
        if self.is_limited {
            return digest(&self.service, 0).await;
        }
        let pages = &self.shared.pages;
        let mut seen = self.shared.live.seen.lock().await;
        let now = pages.clock.monotonic();
        match *seen {
            Some((at, found)) if now.saturating_sub(at) < LOOK_HOLDS => found,
            _ => {
                let moment = pages.service.counters().history().moment();
                let found = digest(&pages.service, moment).await;
                *seen = Some((now, found));
                found
            }
        }
    }
}

/// A digest of the numbers and states that the caller of the service sees, and of `moment`.
async fn digest(service: &Service, moment: u64) -> u64 {
    let mut digest = DefaultHasher::new();
    moment.hash(&mut digest);
    // If the store cannot be read, that is what there is to see.
    if let Ok(stats) = service.stats().await {
        let counts = |of: &StatusCounts| Status::ALL.map(|status| of.of(status));
        counts(&stats.counts).hash(&mut digest);
        for route in &stats.routes {
            (route.route.as_str(), counts(&route.counts)).hash(&mut digest);
            (route.settings.is_some(), route.paused_since.is_some()).hash(&mut digest);
            route.breaker.map(|breaker| (breaker.trips, breaker.open_until())).hash(&mut digest);
        }
        for pause in &stats.pauses {
            pause.target.to_string().hash(&mut digest);
        }
    }
    digest.finish()
}
