//! Converts replays and their filters.

use super::request::{page_size, statuses, time_from};
use super::{status, time};
use crate::domain::error::{Error, Result};
use crate::domain::replay::ReplayCounts;
use crate::domain::route::{Rate, RouteName};
use crate::domain::webhook::{EventType, Source};
use crate::grpc::proto;
use crate::service::replays::{self, ReplayPage};
use crate::service::{number_of_token, token_of_number};
use crate::store::{Replay, ReplayFilter};

/// What to replay, at which rate, and whether only to count.
pub(in crate::grpc) fn start_replay(
    filter: Option<proto::ReplayFilter>,
    rate: Option<String>,
    dry_run: bool,
) -> Result<(ReplayFilter, Option<Rate>, bool)> {
    let filter = filter.ok_or_else(|| Error::invalid("filter", "is missing"))?;
    Ok((filter_from(filter)?, replays::rate(rate)?, dry_run))
}

/// The number before which the page begins, and the largest number of replays.
pub(in crate::grpc) fn list_replays(request: proto::ListReplaysRequest) -> Result<(Option<u64>, usize)> {
    Ok((number_of_token(&request.page_token)?, page_size(request.page_size)?))
}

pub(in crate::grpc) fn replay(replay: Replay) -> proto::Replay {
    proto::Replay {
        number: replay.number,
        state: replay.state.as_str().to_owned(),
        filter: Some(filter(replay.filter)),
        reason: replay.reason,
        actor: replay.actor,
        rate: replay.rate.map(|rate| rate.to_string()),
        dry_run: replay.dry_run,
        counts: Some(counts(replay.counts)),
        progress: replay.progress,
        looked_to: Some(time(replay.looked_to)),
        waiting_for: replay.waits_for.map(|waits_for| waits_for.to_string()),
        started_at: Some(time(replay.started_at)),
        updated_at: Some(time(replay.updated_at)),
        ended_at: replay.ended_at.map(time),
    }
}

pub(in crate::grpc) fn replays(page: ReplayPage) -> proto::ListReplaysResponse {
    proto::ListReplaysResponse {
        replays: page.replays.into_iter().map(replay).collect(),
        next_page_token: token_of_number(page.next),
    }
}

fn filter_from(filter: proto::ReplayFilter) -> Result<ReplayFilter> {
    if filter.status.contains(&proto::Status::Unspecified.into()) {
        return Err(unspecified("status"));
    }
    Ok(ReplayFilter {
        statuses: statuses(filter.status)?,
        route: filter.route.map(RouteName::new).transpose()?,
        source: filter.source.map(Source::new).transpose()?,
        event_type: filter.event_type.map(EventType::new).transpose()?,
        verdict: filter.verdict.map(verdict_from).transpose()?,
        cause: filter.cause.map(cause_from).transpose()?,
        idempotency_key: filter.idempotency_key,
        trace_id: filter.trace_id,
        error_contains: filter.error_contains,
        body_pointer: filter.body_pointer.filter(|pointer| !pointer.is_empty()),
        body_equals: filter.body_equals,
        body_contains: filter.body_contains,
        accepted_after: time_from("accepted_after", filter.accepted_after)?,
        accepted_before: time_from("accepted_before", filter.accepted_before)?,
    })
}

/// With what the names of the values of an enum begin.
const VERDICT: &str = "VERDICT_";
const CAUSE: &str = "CAUSE_";

/// The word of a verdict.
fn verdict_from(number: i32) -> Result<String> {
    match proto::Verdict::try_from(number) {
        Ok(proto::Verdict::Unspecified) => Err(unspecified("verdict")),
        Ok(known) => Ok(word(VERDICT, known.as_str_name())),
        Err(_) => Err(Error::invalid("verdict", "has an unknown verdict")),
    }
}

/// The word of a cause.
fn cause_from(number: i32) -> Result<String> {
    match proto::Cause::try_from(number) {
        Ok(proto::Cause::Unspecified) => Err(unspecified("cause")),
        Ok(known) => Ok(word(CAUSE, known.as_str_name())),
        Err(_) => Err(Error::invalid("cause", "has an unknown cause")),
    }
}

/// The error for a filter that would mean any, and so make the replay larger than it was meant.
fn unspecified(field: &'static str) -> Error {
    Error::invalid(field, "is unspecified, which does not mean any; leave it out, or say which")
}

/// The word of a value with this name: `VERDICT_NONE` is `none`.
fn word(prefix: &str, name: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// The name of the value with this word.
fn name(prefix: &str, word: &str) -> String {
    format!("{prefix}{}", word.to_uppercase())
}

fn filter(filter: ReplayFilter) -> proto::ReplayFilter {
    let verdict = filter.verdict.and_then(|word| proto::Verdict::from_str_name(&name(VERDICT, &word)));
    let cause = filter.cause.and_then(|word| proto::Cause::from_str_name(&name(CAUSE, &word)));
    proto::ReplayFilter {
        status: filter.statuses.into_iter().map(|of| status(of).into()).collect(),
        route: filter.route.map(|route| route.to_string()),
        source: filter.source.map(|source| source.to_string()),
        event_type: filter.event_type.map(|event_type| event_type.to_string()),
        verdict: verdict.map(Into::into),
        cause: cause.map(Into::into),
        idempotency_key: filter.idempotency_key,
        trace_id: filter.trace_id,
        error_contains: filter.error_contains,
        body_pointer: filter.body_pointer,
        body_equals: filter.body_equals,
        body_contains: filter.body_contains,
        accepted_after: filter.accepted_after.map(time),
        accepted_before: filter.accepted_before.map(time),
    }
}

fn counts(counts: ReplayCounts) -> proto::ReplayCounts {
    let ReplayCounts { webhooks, jobs, unfinished, payload_gone, route_gone, without_jobs } = counts;
    proto::ReplayCounts { webhooks, jobs, unfinished, payload_gone, route_gone, without_jobs }
}
