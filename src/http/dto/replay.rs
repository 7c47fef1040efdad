//! What operators ask to replay, and what they are answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CauseWord, StatusWord, Time, VerdictWord, exact_time_text, time_of};
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::replay::ReplayCounts;
use crate::domain::route::{Rate, RouteName};
use crate::domain::webhook::{EventType, Source};
use crate::http::members::Object;
use crate::service::replays::{self, ReplayPage};
use crate::service::token_of_number;
use crate::store::{Replay, ReplayFilter};

/// What to replay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StartReplayRequest)]
pub(in crate::http) struct StartReplayBody {
    /// Which webhooks and jobs. At least one of its members has to be given.
    #[schema(value_type = ReplayFilterBody)]
    filter: Object<ReplayFilterBody>,
    /// Why, in your own words, for the list of actions: at most 500 characters without control characters.
    pub(in crate::http) reason: Option<String>,
    /// How many jobs are restarted per second (`s`), minute (`m`) or hour (`h`). Absent: as many as their routes run.
    #[schema(example = "50/s")]
    rate: Option<String>,
    /// Only counts the jobs.
    #[serde(default)]
    dry_run: bool,
}

impl StartReplayBody {
    /// What to replay, at which rate, and whether only to count.
    pub(in crate::http) fn read(self) -> Result<(ReplayFilter, Option<Rate>, bool)> {
        let Object(filter) = self.filter;
        Ok((filter.read()?, replays::rate(self.rate)?, self.dry_run))
    }
}

/// Which webhooks and jobs a replay is about: those of `GET /v1/webhooks` with the same parameters. Webhooks that are
/// accepted after the start of the replay do not match. An empty text or list is refused: it does not mean any.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ReplayFilter)]
struct ReplayFilterBody {
    /// Only jobs in one of these statuses: `completed`, `dead_lettered` or `cancelled`. Absent means all of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<StatusWord>>)]
    status: Option<Vec<String>>,
    /// Only jobs of this route.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    /// Only webhooks from this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Only webhooks of exactly this event type.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    /// Only webhooks with this verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VerdictWord>)]
    verdict: Option<String>,
    /// Only webhooks that are unverified for this cause. Not together with another verdict than `unverified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CauseWord>)]
    cause: Option<String>,
    /// Only webhooks with exactly this key, of any source unless `source` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    /// Only webhooks that were accepted in this trace: 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// Only jobs that are `dead_lettered` and whose last error contains this text; upper and lower case differ. At most
    /// 4,096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_contains: Option<String>,
    /// Where `body_equals` is in the body: a JSON pointer (RFC 6901) such as `/data/0/id`, of at most 32 members. If
    /// absent or empty: the whole body.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_pointer: Option<String>,
    /// Only webhooks whose body has this value at `body_pointer`: the same JSON value, however it is written, or a
    /// string with exactly this text. At most 4,096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_equals: Option<String>,
    /// Only webhooks whose body, as the sender sent it, contains these bytes. At most 4,096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_contains: Option<String>,
    /// Only webhooks accepted at or after this time, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    accepted_after: Option<String>,
    /// Only webhooks accepted before this time, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    accepted_before: Option<String>,
}

impl ReplayFilterBody {
    fn read(self) -> Result<ReplayFilter> {
        let time = |field, text: Option<String>| text.map(|text| time_of(field, &text)).transpose();
        if self.status.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::invalid("status", "is empty; leave it out, or name statuses"));
        }
        let statuses = self.status.iter().flatten().map(|word| word.parse::<Status>());
        Ok(ReplayFilter {
            statuses: statuses.collect::<Result<_>>()?,
            route: self.route.map(RouteName::new).transpose()?,
            source: self.source.map(Source::new).transpose()?,
            event_type: self.event_type.map(EventType::new).transpose()?,
            verdict: self.verdict,
            cause: self.cause,
            idempotency_key: self.idempotency_key,
            trace_id: self.trace_id,
            error_contains: self.error_contains,
            body_pointer: self.body_pointer.filter(|pointer| !pointer.is_empty()),
            body_equals: self.body_equals,
            body_contains: self.body_contains,
            accepted_after: time("accepted_after", self.accepted_after)?,
            accepted_before: time("accepted_before", self.accepted_before)?,
        })
    }
}

impl From<ReplayFilter> for ReplayFilterBody {
    fn from(filter: ReplayFilter) -> Self {
        let statuses = filter.statuses.iter().map(ToString::to_string).collect::<Vec<_>>();
        Self {
            status: (!statuses.is_empty()).then_some(statuses),
            route: filter.route.map(|route| route.to_string()),
            source: filter.source.map(|source| source.to_string()),
            event_type: filter.event_type.map(|event_type| event_type.to_string()),
            verdict: filter.verdict,
            cause: filter.cause,
            idempotency_key: filter.idempotency_key,
            trace_id: filter.trace_id,
            error_contains: filter.error_contains,
            body_pointer: filter.body_pointer,
            body_equals: filter.body_equals,
            body_contains: filter.body_contains,
            accepted_after: filter.accepted_after.map(exact_time_text),
            accepted_before: filter.accepted_before.map(exact_time_text),
        }
    }
}

/// A replay, running or ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replay)]
pub(in crate::http) struct ReplayBody {
    /// Its number: 1 for the first replay, and one more for each further one.
    number: u64,
    /// `running`, `completed` or `cancelled`.
    #[schema(example = "running")]
    state: &'static str,
    /// Which webhooks and jobs it is about.
    filter: ReplayFilterBody,
    /// Why it was started; null if none is given.
    reason: Option<String>,
    /// The name of the token that started it.
    actor: String,
    /// How many jobs are restarted in which time; null if there is no limit.
    #[schema(example = "50/s")]
    rate: Option<String>,
    /// Whether it only counts.
    dry_run: bool,
    /// What it has done so far; of a dry run, what it would have done.
    counts: ReplayCountsBody,
    /// Which share of the time in which its webhooks were accepted it has looked at, from 0 to 1.
    progress: f64,
    /// It has looked at all webhooks that were accepted before this time.
    #[schema(value_type = String, format = DateTime)]
    looked_to: Time,
    /// What it waits for before it restarts more jobs, for people; null unless it has waited for a second.
    #[schema(example = "the due jobs of the route orders to start")]
    waiting_for: Option<String>,
    /// When it was started.
    #[schema(value_type = String, format = DateTime)]
    started_at: Time,
    /// When it last moved on.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
    /// When it ended; null while it is running.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Time>,
}

impl From<Replay> for ReplayBody {
    fn from(replay: Replay) -> Self {
        Self {
            number: replay.number,
            state: replay.state.as_str(),
            filter: replay.filter.into(),
            reason: replay.reason,
            actor: replay.actor,
            rate: replay.rate.map(|rate| rate.to_string()),
            dry_run: replay.dry_run,
            counts: replay.counts.into(),
            progress: replay.progress,
            looked_to: Time(replay.looked_to),
            waiting_for: replay.waits_for.map(|waits_for| waits_for.to_string()),
            started_at: Time(replay.started_at),
            updated_at: Time(replay.updated_at),
            ended_at: replay.ended_at.map(Time),
        }
    }
}

/// What a replay has done, in numbers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReplayCounts)]
struct ReplayCountsBody {
    /// Webhooks that matched.
    webhooks: u64,
    /// Jobs that run again.
    jobs: u64,
    /// Jobs that were left because they are not finished.
    unfinished: u64,
    /// Jobs that were left because the payload of their webhook is past its retention.
    payload_gone: u64,
    /// Jobs that were left because their route is gone from the settings.
    route_gone: u64,
    /// Webhooks without jobs: filtered or quarantined.
    without_jobs: u64,
}

impl From<ReplayCounts> for ReplayCountsBody {
    fn from(counts: ReplayCounts) -> Self {
        let ReplayCounts { webhooks, jobs, unfinished, payload_gone, route_gone, without_jobs } = counts;
        Self { webhooks, jobs, unfinished, payload_gone, route_gone, without_jobs }
    }
}

/// One page of replays.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListReplaysResponse {
    /// The replays, newest first. A token that is limited to sources or routes can get fewer than `page_size` although
    /// more pages follow.
    replays: Vec<ReplayBody>,
    /// The token of the next page; empty if this is the last page.
    next_page_token: String,
}

impl From<ReplayPage> for ListReplaysResponse {
    fn from(page: ReplayPage) -> Self {
        Self {
            next_page_token: token_of_number(page.next),
            replays: page.replays.into_iter().map(Into::into).collect(),
        }
    }
}
