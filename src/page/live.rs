//! `GET /live`: tells a browser that something has changed, so that it loads its view again. The stream says nothing else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream;

use super::context::Context;
use super::{Paths, Shared};
use crate::access::Caller;
use crate::domain::job::Status;
use crate::service::shares::{Place, Shares};
use crate::service::{ActionQuery, Service, StatusCounts};

/// The time between two looks of a stream for changes, and so between two loads of a view.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The time between two looks of all streams together, if there are many: each then looks less often.
const LOOK_SHARE: Duration = Duration::from_millis(100);

/// For how long streams share one look.
const LOOK_HOLDS: Duration = Duration::from_secs(1);

/// The most streams of this process, and of one token or address. Further browsers load their views again at intervals.
const MAX_STREAMS: usize = 200;
const MAX_STREAMS_OF_ONE: usize = 50;

/// Among how many actions the newest one is looked for that a caller sees.
const RECENT_ACTIONS: usize = 20;

/// After this long without an event a comment is sent, so that proxies keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What all streams share.
#[derive(Debug)]
pub(super) struct Live {
    places: Shares,
    /// The last read for each limited caller, and for all others: its monotonic time, and the digest of its result.
    seen: tokio::sync::Mutex<HashMap<Option<String>, (Duration, u64)>>,
    /// The monotonic time at which the last look ended.
    looked_at: Mutex<Duration>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            places: Shares::new(MAX_STREAMS, MAX_STREAMS_OF_ONE, "live pages"),
            seen: tokio::sync::Mutex::default(),
            looked_at: Mutex::default(),
        }
    }
}

impl Live {
    /// The monotonic time at which the last look ended. What was made before does not have what it found.
    pub(super) fn looked_at(&self) -> Duration {
        *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time between two looks of a stream: all streams together look at most once in [`LOOK_SHARE`].
    fn pause(&self) -> Duration {
        let streams = u32::try_from(self.places.taken()).unwrap_or(u32::MAX);
        LOOK_EVERY.max(LOOK_SHARE.saturating_mul(streams))
    }
}

/// What this serves.
pub(super) fn routes() -> Paths {
    Paths::default().get("/live", follow)
}

/// Sends an event `change` when something has changed, and one at the first look, for what has changed since the view was
/// made.
async fn follow(context: Context) -> Response {
    let Context { service, caller, client, shared, .. } = context;
    // Where no token is needed, the address has the share.
    let address = client.map(|address| address.to_string()).unwrap_or_default();
    let Ok(place) = shared.live.places.take(caller.token_name().or(Some(address.as_str()))) else {
        let text = "too many pages are live; this one loads again every few seconds instead\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let follower = Follower { service, caller, shared, told: None, _place: place };
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
    caller: Arc<Caller>,
    shared: Shared,
    /// The digest that was told last.
    told: Option<u64>,
    _place: Place,
}

impl Follower {
    /// Ready after the next change; none once the process stops, or the caller is no longer let in.
    async fn changed(&mut self) -> Option<()> {
        loop {
            let pages = &self.shared.pages;
            let pause = pages.clock.sleep(self.shared.live.pause());
            pages.stopping.run_until_cancelled(pause).await?;
            self.service.check_caller().ok()?;
            let seen = self.look().await;
            if self.told.replace(seen) != Some(seen) {
                return Some(());
            }
        }
    }

    /// A digest of what the caller sees. Streams of callers who see the same share a look.
    async fn look(&self) -> u64 {
        let Self { service, caller, shared, .. } = self;
        let clock = &shared.pages.clock;
        // A caller who sees a part only must not learn of changes of others.
        let limited = caller.is_limited().then(|| caller.name().to_owned());
        let mut seen = shared.live.seen.lock().await;
        let now = clock.monotonic();
        seen.retain(|_, (at, _)| now.saturating_sub(*at) < LOOK_HOLDS);
        if let Some((_, found)) = seen.get(&limited) {
            return *found;
        }
        let moment = if limited.is_some() { 0 } else { service.metrics().history().moment() };
        let found = digest(service, caller, moment).await;
        let looked_at = clock.monotonic();
        *shared.live.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = looked_at;
        seen.insert(limited, (looked_at, found));
        found
    }
}

/// A digest of the numbers, the states, the newest replay and the newest action that `caller`, on whose behalf `service`
/// looks, sees, and of `moment`.
async fn digest(service: &Service, caller: &Caller, moment: u64) -> u64 {
    let mut digest = DefaultHasher::new();
    moment.hash(&mut digest);
    // If the store cannot be read, that is what there is to see.
    if let Some(stats) = service.recent_stats().await {
        let counts = |of: &StatusCounts| Status::ALL.map(|status| of.of(status));
        counts(&stats.counts).hash(&mut digest);
        for route in &stats.routes {
            (route.route.as_str(), counts(&route.counts)).hash(&mut digest);
            (route.settings.is_some(), route.pause.is_some()).hash(&mut digest);
            route.breaker.map(|breaker| (breaker.trips, breaker.open_until())).hash(&mut digest);
        }
        for pause in &stats.pauses {
            (pause.target.to_string(), &pause.actor, &pause.reason).hash(&mut digest);
        }
    }
    // The numbers of a limited caller lack webhooks without jobs. They belong to no route.
    if caller.has_limited_sources() && !caller.has_limited_routes() {
        service.newest_in([Status::Filtered, Status::Quarantined]).await.hash(&mut digest);
    }
    // At most one runs, which is the newest.
    for replay in service.replays(None, 1).await.unwrap_or_default().replays {
        (replay.number, replay.state.as_str(), replay.updated_at).hash(&mut digest);
    }
    // A run that has begun and ended between two looks leaves all numbers as they were.
    let query = ActionQuery { limit: RECENT_ACTIONS, ..ActionQuery::default() };
    let actions = service.actions(query).await.unwrap_or_default().actions;
    actions.first().map(|action| action.number).hash(&mut digest);
    digest.finish()
}
