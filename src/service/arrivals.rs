//! Follows the webhooks that come in, from a place in the order of their ids.
//!
//! A stream reads the store whenever webhooks were committed, so those that its client does not take wait in the store,
//! but for a few. With several replicas, a webhook can become visible after others with greater ids. So a stream also
//! remembers which ids it has seen lately, and looks for others among them: close to the end with every read, and as far
//! back as there may be some once a second.
//!
//! A caller who does not see every webhook is told other positions (`own`).

mod own;
mod ready;
mod seen;

use std::future::Future;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::own::{BEHIND, OwnPositions};
use self::ready::Ready;
use self::seen::Seen;
use super::Service;
use super::shares::{Place, Shares};
use super::until::until;
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::route::RouteName;
use crate::domain::webhook::{EventType, Source, WebhookStatus};

/// The most streams at once in this process, and those of one token.
const MAX_FOLLOWERS: usize = 64;
const MAX_FOLLOWERS_OF_ONE: usize = MAX_FOLLOWERS / 2;

/// The most ids that are read at once.
const IDS_AT_ONCE: usize = 1_000;

/// How often a stream looks for webhooks that have become visible late, and for those of which it was not notified.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The least time between two reads of a stream. Webhooks that come in meanwhile are read together.
const READ_EVERY: Duration = Duration::from_millis(5);

/// How far back every read looks for webhooks that have become visible late.
const NEAR: Duration = Duration::from_millis(100);

/// How often a stream tells its position if no webhook is sent.
const POSITION_EVERY: Duration = Duration::from_secs(10);

/// Which webhooks to send. A webhook has to match every filter that is there.
#[derive(Clone, Debug, Default)]
pub struct ArrivalQuery {
    /// The position after which to begin; none begins with the webhooks that come from now on.
    pub after: Option<WebhookId>,
    /// Only webhooks from this source.
    pub source: Option<Source>,
    /// Only webhooks with a job of this route.
    pub route: Option<RouteName>,
    /// Only webhooks of this event type.
    pub event_type: Option<EventType>,
}

impl ArrivalQuery {
    /// Reads the fields of a request; an empty one counts as absent. Errors: `InvalidField`.
    pub fn from_fields(after: &str, source: String, route: String, event_type: String) -> Result<Self> {
        let given = |text: String| (!text.is_empty()).then_some(text);
        let place = |text: &str| {
            let problem = "must be the `resume_after` of another stream, or the id of a webhook";
            text.parse().map_err(|_| Error::invalid("after", problem))
        };
        Ok(Self {
            after: (!after.is_empty()).then(|| place(after)).transpose()?,
            source: given(source).map(Source::new).transpose()?,
            route: given(route).map(RouteName::new).transpose()?,
            event_type: given(event_type).map(EventType::new).transpose()?,
        })
    }
}

/// An item of a stream.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The webhook; none if only the position has changed.
    pub webhook: Option<WebhookStatus>,
    /// The position: a stream that begins after it sends every webhook that this one has not sent yet. It may send some
    /// again that this one has sent, all with greater ids than the position.
    pub resume_after: WebhookId,
}

/// The places for streams.
pub(super) fn places() -> Shares {
    Shares::new(MAX_FOLLOWERS, MAX_FOLLOWERS_OF_ONE, "streams of new webhooks")
}

impl Service {
    /// Sends every webhook that comes in and matches, each once, mostly in the order of their ids. The first item is the
    /// position at which the stream begins. Once `stopping` is ready, the stream ends with the error `ShuttingDown`;
    /// after a reload that has taken away the caller's token, with `Unauthenticated`. Errors: `StoreUnavailable` also if
    /// too many streams are open.
    pub async fn follow(
        &self,
        query: ArrivalQuery,
        stopping: impl Future<Output = ()> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<Arrival>>> {
        let place = self.followers.take(self.caller.token_name())?;
        let follower = Follower::start(self.clone(), query, place).await?;
        let arrivals = stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(arrival) => Some((Ok(arrival), Some(follower))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(until(arrivals, async {
            stopping.await;
            Err(Error::shutting_down())
        }))
    }
}

/// A stream.
struct Follower {
    service: Service,
    query: ArrivalQuery,
    notified: watch::Receiver<()>,
    seen: Seen,
    /// The positions for a caller who does not see every webhook; none for one who does.
    own: Option<OwnPositions>,
    /// Where the read that is under way goes on; none if it has come to the end.
    page: Option<WebhookId>,
    /// How far that read goes: as far as there were webhooks when it began. Then another read begins, since others may
    /// have become visible late behind its pages.
    read_to: WebhookId,
    ready: Ready,
    swept_at: Instant,
    read_at: Instant,
    told_at: Instant,
    told: WebhookId,
    _place: Place,
}

impl Follower {
    async fn start(service: Service, query: ArrivalQuery, place: Place) -> Result<Self> {
        let notified = service.store.changes().arrivals();
        let late = service.store.visible_within();
        let is_limited = service.caller.is_limited();
        // Before the stream begins, so that it sends what comes in meanwhile if it is resumed.
        let own_begin = match query.after {
            None if is_limited => Some(own::begin(&service, &query).await?),
            after => after,
        };
        let begun = WebhookId::before_all(service.store.time_of_ids());
        let seen = match query.after {
            Some(after) => Seen::after(after, late),
            None => {
                let newest = service.store.newest().await?.unwrap_or(WebhookId::FIRST);
                let mut seen = Seen::from_now(newest, late);
                let mut page = seen.sweep(begun);
                loop {
                    let ids = service.store.ids_after(page, IDS_AT_ONCE).await?;
                    for id in &ids {
                        seen.add(*id);
                    }
                    match ids.last() {
                        Some(last) if ids.len() == IDS_AT_ONCE && *last < newest => page = *last,
                        _ => break seen,
                    }
                }
            }
        };
        let now = Instant::now();
        let begin = own_begin.unwrap_or_else(|| seen.resume_after());
        Ok(Self {
            own: is_limited.then(|| OwnPositions::after(begin)),
            service,
            query,
            notified,
            seen,
            page: None,
            read_to: begin,
            ready: Ready::at(begin),
            // The first read looks at everything after the position.
            swept_at: now.checked_sub(SWEEP_EVERY).unwrap_or(now),
            read_at: now,
            told_at: now,
            told: begin,
            _place: place,
        })
    }

    /// The next item. Errors: `Unauthenticated`; those of the store.
    async fn next(&mut self) -> Result<Arrival> {
        loop {
            if let Some(mut arrival) = self.ready.pop() {
                if let Some(own) = &mut self.own {
                    arrival.resume_after = own.after_item(&arrival);
                }
                (self.told, self.told_at) = (arrival.resume_after, Instant::now());
                return Ok(arrival);
            }
            self.service.check_caller()?;
            if self.ready.is_empty() {
                self.look().await?;
            }
            self.read().await?;
        }
    }

    /// Looks for webhooks once, after a pause if nothing is known to be there.
    async fn look(&mut self) -> Result<()> {
        let late = self.service.store.visible_within();
        let after = match self.page.take() {
            Some(page) if page <= self.read_to => page,
            page => {
                if page.is_none() {
                    self.wait().await?;
                }
                let now = WebhookId::before_all(self.service.store.time_of_ids());
                self.read_to = now.max(self.seen.newest());
                if self.swept_at.elapsed() >= SWEEP_EVERY {
                    self.swept_at = Instant::now();
                    self.seen.sweep(now)
                } else {
                    self.seen.settled().max(self.seen.newest().earlier(NEAR.min(late)))
                }
            }
        };
        let ids = self.service.store.ids_after(after, IDS_AT_ONCE).await?;
        self.read_at = Instant::now();
        self.page = ids.last().filter(|_| ids.len() == IDS_AT_ONCE).copied();
        for id in ids {
            if let Some(mut resume_after) = self.seen.add(id) {
                if self.own.is_some() && !late.is_zero() {
                    // The newest webhook that was seen, on which it depends else, may be hidden.
                    resume_after = self.seen.swept().earlier(late);
                }
                self.ready.add(id, resume_after);
            }
        }
        Ok(())
    }

    /// Reads the next statuses of what was found.
    async fn read(&mut self) -> Result<()> {
        let ids = self.ready.to_read();
        if !ids.is_empty() {
            let statuses = self.service.store.statuses(ids).await?;
            let (service, query) = (&self.service, &self.query);
            self.ready.take(statuses, |webhook| wanted(service, query, webhook));
        }
        if self.ready.is_empty() && self.told_at.elapsed() >= POSITION_EVERY {
            let position = self.position();
            if position > self.told {
                self.ready.add_position(position);
            }
        }
        Ok(())
    }

    /// The position once all that was found is sent.
    fn position(&mut self) -> WebhookId {
        match &mut self.own {
            None => self.seen.resume_after(),
            // The read may still find older webhooks than the time tells.
            Some(_) if self.page.is_some() => self.told,
            Some(own) => {
                let (late, swept) = (self.service.store.visible_within(), self.seen.swept());
                own.settle(swept.earlier(late)).max(swept.earlier(BEHIND))
            }
        }
    }

    /// Waits until the next read. Errors: `ShuttingDown` once the store is closed.
    async fn wait(&mut self) -> Result<()> {
        let sweep_at = self.swept_at + SWEEP_EVERY;
        if let Ok(notified) = timeout_at(sweep_at, self.notified.changed()).await {
            notified.map_err(|_| Error::shutting_down())?;
        }
        sleep_until(self.read_at + READ_EVERY).await;
        // What comes in from here on causes another read.
        self.notified.borrow_and_update();
        Ok(())
    }
}

/// The webhook as the caller sees it; none if it is not wanted.
fn wanted(service: &Service, query: &ArrivalQuery, mut webhook: WebhookStatus) -> Option<WebhookStatus> {
    let ArrivalQuery { source, route, event_type, .. } = query;
    let is_wanted = service.sees(&mut webhook)
        && source.as_ref().is_none_or(|source| *source == webhook.source)
        && event_type.as_ref().is_none_or(|event_type| *event_type == webhook.event_type)
        && route.as_ref().is_none_or(|route| webhook.jobs.iter().any(|job| job.route == *route));
    is_wanted.then(|| service.arranged(webhook))
}
