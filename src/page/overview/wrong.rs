//! Finds what is wrong now, and says it in words: what, since when or how much, and where to mend it.

use super::tables::{routes_seen, sources_seen};
use crate::domain::breaker::BreakerState;
use crate::domain::error::Result;
use crate::domain::job::Status;
use crate::page::context::Context;
use crate::page::parts::{Tone, count, duration, number};
use crate::service::{PauseTarget, RouteStats, Stats};
use crate::telemetry::history::SourceTotals;

/// For how long a job may be due before that is a warning, in seconds.
const DUE_WARNING_SECONDS: f64 = 60.0;

/// From when on it is bad.
const DUE_BAD_SECONDS: f64 = 600.0;

/// The points of the last 10 minutes.
const RECENT_POINTS: usize = 40;

/// How many webhooks a source has to have sent in the 50 minutes before, so that 10 minutes without one are a warning.
const TALKATIVE: u64 = 20;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// How bad it is: `Bad` or `Warning`.
    pub(super) tone: Tone,
    /// What it is.
    pub(super) text: String,
    /// The path where it can be mended, and what the link says.
    pub(super) link: Option<(String, &'static str)>,
}

impl Wrong {
    fn new(tone: Tone, text: String) -> Self {
        Self { tone, text, link: None }
    }

    fn see(self, path: impl Into<String>, label: &'static str) -> Self {
        Self { link: Some((path.into(), label)), ..self }
    }
}

/// What is wrong now, so far as the caller sees it: what is bad first.
pub(super) async fn now(context: &Context, stats: &Result<Stats>) -> Vec<Wrong> {
    let mut wrong = of_store(context).await;
    match stats {
        Ok(stats) => {
            wrong.extend(of_jobs(context, stats));
            wrong.extend(stats.routes.iter().flat_map(|route| of_route(context, route)));
            wrong.extend(of_pauses(context, stats));
        }
        Err(error) => {
            let text = format!("The store cannot be read: {}.", error.detail());
            wrong.push(Wrong::new(Tone::Bad, text));
        }
    }
    let history = context.service.counters().history();
    for (route, totals) in routes_seen(&context.caller, history.routes()) {
        if totals.dead_lettered > 0 {
            let what = match totals.dead_lettered {
                1 => format!("1 job of the route {route} became a dead letter"),
                jobs => format!("{} jobs of the route {route} became dead letters", number(jobs)),
            };
            let text = format!("{what} in the last 60 minutes.");
            wrong.push(
                Wrong::new(Tone::Bad, text).see(format!("/dead-letters?route={route}"), "Look at them"),
            );
        }
    }
    for (source, totals) in sources_seen(&context.caller, history.sources()) {
        let found = unverified(&totals).into_iter().chain(silent(&totals));
        wrong.extend(found.map(|one| one.see(format!("/sources/{source}"), "Look at the source")));
    }
    wrong.sort_by_key(|one| one.tone != Tone::Bad);
    wrong
}

/// Whether the process can serve at all.
async fn of_store(context: &Context) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    match context.service.check_store().await {
        Ok(probe) if !probe.migrations_current => {
            let text = "The tables of the store are not those of this version of hookbox. Another version may \
                have changed them: start this version again, or the newer one.";
            wrong.push(Wrong::new(Tone::Bad, text.to_owned()));
        }
        Ok(_) => {}
        Err(error) => {
            let why = error.detail();
            let text = format!("The store cannot be written, so nothing is accepted and no job ends: {why}.");
            wrong.push(Wrong::new(Tone::Bad, text));
        }
    }
    if context.shared.pages.stopping.is_cancelled() {
        wrong.push(Wrong::new(Tone::Bad, "This process is shutting down.".to_owned()));
    } else if context.service.counters().workers().total == 0 {
        let text = "The worker threads do not run, so no job starts. Restart hookbox; the log has the cause.";
        wrong.push(Wrong::new(Tone::Bad, text.to_owned()));
    }
    wrong
}

/// The backlog, jobs that are due for long, and webhooks in quarantine.
fn of_jobs(context: &Context, stats: &Stats) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let (backlog, levels) = (stats.counts.unfinished(), context.shared.pages.backlog);
    if levels.is_high(backlog) {
        let text = format!(
            "The backlog is high: {} are unfinished, and from {} on webhooks are answered 503.",
            count(backlog, "job", "jobs"),
            number(levels.max())
        );
        wrong.push(Wrong::new(Tone::Bad, text).see("/routes", "Look at the routes"));
    }
    let due = stats.oldest_due_seconds;
    if due >= DUE_WARNING_SECONDS {
        let tone = if due >= DUE_BAD_SECONDS { Tone::Bad } else { Tone::Warning };
        let text = format!("A job has been due for {}, and has not started.", duration(due));
        let slowest = stats
            .routes
            .iter()
            .max_by(|one, other| one.oldest_due_seconds.total_cmp(&other.oldest_due_seconds));
        let path =
            slowest.map_or_else(|| "/routes".to_owned(), |slowest| format!("/routes/{}", slowest.route));
        wrong.push(Wrong::new(tone, text).see(path, "Look at its route"));
    }
    let quarantined = stats.counts.of(Status::Quarantined);
    if quarantined > 0 {
        let text = if quarantined == 1 {
            "1 webhook is in quarantine, because it was not verified.".to_owned()
        } else {
            format!("{} webhooks are in quarantine, because they were not verified.", number(quarantined))
        };
        let path = "/webhooks?status=quarantined";
        wrong.push(Wrong::new(Tone::Warning, text).see(path, "Release or discard"));
    }
    wrong
}

fn of_route(context: &Context, stats: &RouteStats) -> Vec<Wrong> {
    let route = &stats.route;
    let mut wrong = Vec::new();
    let held = stats.counts.unfinished();
    if stats.settings.is_none() && held > 0 {
        let what = match held {
            1 => "1 job waits".to_owned(),
            jobs => format!("{} jobs wait", number(jobs)),
        };
        let text = format!("The route {route} is gone from the settings, and {what} for a handler of it.");
        wrong.push(Wrong::new(Tone::Bad, text));
    }
    match stats.breaker.map(|breaker| (breaker.state, breaker.trips)) {
        Some((BreakerState::Open { until }, trips)) => {
            let left = until.duration_since(context.now).as_secs_f64();
            let text = format!(
                "The breaker of the route {route} is open, because its target is down. It has opened {} in a row, \
                 and lets a job through in {}.",
                count(trips.into(), "time", "times"),
                duration(left)
            );
            wrong.push(Wrong::new(Tone::Bad, text));
        }
        Some((BreakerState::HalfOpen, _)) => {
            let text = format!(
                "The breaker of the route {route} is half-open: one job finds out whether its target is up."
            );
            wrong.push(Wrong::new(Tone::Warning, text));
        }
        Some((BreakerState::Closed, _)) | None => {}
    }
    if stats.match_failures > 0 {
        let why = stats.last_match_failure.as_deref().unwrap_or("unknown");
        let webhooks = count(stats.match_failures, "webhook", "webhooks");
        let text = format!(
            "The condition (where) of the route {route} could not be evaluated for {webhooks}, which the route did not get. \
             The last error: {why}."
        );
        wrong.push(Wrong::new(Tone::Warning, text));
    }
    wrong.into_iter().map(|one| one.see(format!("/routes/{route}"), "Look at the route")).collect()
}

fn of_pauses(context: &Context, stats: &Stats) -> Vec<Wrong> {
    let pauses = stats.pauses.iter().map(|pause| {
        let since = duration(context.now.duration_since(pause.since).as_secs_f64());
        let (what, path) = match &pause.target {
            PauseTarget::Everything => ("Everything".to_owned(), "/routes".to_owned()),
            PauseTarget::Route(route) => (format!("The route {route}"), format!("/routes/{route}")),
            PauseTarget::Source(source) => (format!("The source {source}"), format!("/sources/{source}")),
        };
        let why = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let text = format!(
            "{what} has been paused for {since}: webhooks are accepted, and no job starts. Paused by {}{why}",
            pause.actor
        );
        Wrong::new(Tone::Warning, text).see(path, "Resume it there")
    });
    pauses.collect()
}

/// A source whose requests were not verified in the last 10 minutes.
fn unverified(totals: &SourceTotals) -> Option<Wrong> {
    let (unverified, accepted) = (recent(&totals.unverified_by_point), recent(&totals.accepted_by_point));
    let source = &totals.source;
    let requests = count(unverified, "request", "requests");
    match (unverified, accepted) {
        (0, _) => None,
        (_, 0) => {
            let text = format!(
                "Nothing of the source {source} was verified in the last 10 minutes: {requests} failed."
            );
            Some(Wrong::new(Tone::Bad, text))
        }
        _ => {
            let text = format!(
                "{requests} to the source {source} could not be verified in the last 10 minutes, beside {}.",
                count(accepted, "accepted webhook", "accepted webhooks")
            );
            Some(Wrong::new(Tone::Warning, text))
        }
    }
}

/// A source that sent a lot, and nothing in the last 10 minutes.
fn silent(totals: &SourceTotals) -> Option<Wrong> {
    let is_silent = totals.accepted_by_point.len() > RECENT_POINTS && recent(&totals.accepted_by_point) == 0;
    (is_silent && totals.accepted >= TALKATIVE).then(|| {
        let text = format!(
            "The source {} is silent: {} in the 50 minutes before, and nothing in the last 10 minutes.",
            totals.source,
            count(totals.accepted, "webhook", "webhooks")
        );
        Wrong::new(Tone::Warning, text)
    })
}

/// The sum over the last 10 minutes.
fn recent(counts: &[u64]) -> u64 {
    counts.iter().rev().take(RECENT_POINTS).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(accepted: &[u64], unverified: &[u64]) -> SourceTotals {
        SourceTotals {
            source: "shop".to_owned(),
            accepted: accepted.iter().sum(),
            refused: 0,
            unverified: unverified.iter().sum(),
            accepted_by_point: accepted.to_vec(),
            unverified_by_point: unverified.to_vec(),
        }
    }

    #[test]
    fn a_source_is_silent_if_it_sent_a_lot_and_then_nothing_for_ten_minutes() {
        let of = |before: u64, since: &[u64]| {
            let counts = [&[before][..], since].concat();
            silent(&totals(&counts, &[])).map(|wrong| wrong.text)
        };
        let nothing = [0; RECENT_POINTS];
        assert!(of(20, &nothing).is_some_and(|text| text.contains("20 webhooks in the 50 minutes before")));
        assert_eq!(of(19, &nothing), None, "too few to tell");
        assert_eq!(of(20, &nothing[1..]), None, "too short");
        assert_eq!(of(20, &[&nothing[1..], &[1][..]].concat()), None);
    }

    #[test]
    fn a_source_that_is_not_verified_is_bad_if_nothing_else_came() {
        let tone =
            |accepted: u64, counts: &[u64]| unverified(&totals(&[accepted], counts)).map(|wrong| wrong.tone);
        assert_eq!(
            (tone(0, &[3]), tone(7, &[3]), tone(7, &[0])),
            (Some(Tone::Bad), Some(Tone::Warning), None)
        );
        let long_ago = [&[3][..], &[0; RECENT_POINTS]].concat();
        assert_eq!(tone(7, &long_ago), None);
    }
}
