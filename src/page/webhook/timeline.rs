//! What happened to a webhook, in the order of time: the request, attempts with what was sent and answered, what
//! operators did, and what is to come.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::Asked;
use super::delivery::delivery;
use super::payload::{Visibility, in_place_of};
use super::replay::began;
use crate::domain::action::ActionKind;
use crate::domain::attempt::{AttemptRecord, AttemptWindow, Outcome};
use crate::domain::delivery::Delivery;
use crate::domain::job::Status;
use crate::page::context::Context;
use crate::page::parts::{self, Shown, Tone, code, cut, duration, time};
use crate::page::verdict::verdict;
use crate::service::view::{JobView, WebhookView};
use crate::service::{ActionPage, Replay};

/// The parameter that says how many of the latest attempts of each job are left out, and the one that asks for all of the
/// results.
pub(super) const SKIP: &str = "skip_attempts";
pub(super) const ALL_RESULTS: &str = "all_results";

/// How many attempts of each job are on a page.
pub(super) const PAGE_ATTEMPTS: u32 = 30;

/// Of how many attempts of a page deliveries are shown, the latest ones.
const SHOWN_DELIVERIES: usize = 10;

/// How many characters of an error are shown: the first number at most, and fewer if a page has many attempts, so that its
/// errors together have about as many as the last number.
const ERROR_CHARS: usize = 2_000;
const FEWEST_ERROR_CHARS: usize = 200;
const PAGE_ERROR_CHARS: usize = 60_000;

/// How many characters of the name of a worker or an operator are shown.
const NAME_CHARS: usize = 80;

/// A point in time, and what happened then.
struct Entry {
    at: Timestamp,
    tone: Tone,
    what: Markup,
}

impl Entry {
    /// The entry, and below it what else there is to say.
    fn with(self, more: &Markup) -> Self {
        let what = html! { (self.what) (more) };
        Self { what, ..self }
    }
}

/// The timeline, the oldest entry first. A page of earlier attempts has nothing else.
pub(super) fn section(
    context: &Context,
    webhook: &WebhookView,
    actions: &ActionPage,
    replays: &BTreeMap<u64, Replay>,
    asked: &Asked,
    visibility: Visibility,
) -> Markup {
    let window = asked.attempts();
    let attempts = attempts(webhook);
    let error_chars = (PAGE_ERROR_CHARS / attempts.len().max(1)).clamp(FEWEST_ERROR_CHARS, ERROR_CHARS);
    let without_delivery = attempts.len().saturating_sub(SHOWN_DELIVERIES);
    let attempts = attempts.into_iter().enumerate().map(|(at, (job, attempt))| {
        let sent = attempt.delivery.as_ref().filter(|_| at >= without_delivery);
        let is_first = first_of_run(job).is_some_and(|first| first.number == attempt.number);
        let entry = of_attempt(context, job, attempt, sent, error_chars, visibility);
        if is_first { entry.with(&began(context, job, replays)) } else { entry }
    });

    let left_out = left_out(webhook, window);
    let mut entries = Vec::new();
    if window.has_last() || left_out == 0 {
        entries.push(accepted(webhook));
    }
    entries.extend(attempts);
    if window.has_last() {
        entries.extend(of_operators(context, actions));
        let is_all = asked.is_all_results();
        entries.extend(webhook.jobs.iter().map(|job| {
            let entry = state(context, webhook, job, is_all, visibility);
            if first_of_run(job).is_none() { entry.with(&began(context, job, replays)) } else { entry }
        }));
    }
    // Stable: what happened at the same time stays in this order.
    entries.sort_by_key(|entry| entry.at);
    html! {
        section.card {
            h2 { "What happened" }
            @if left_out > 0 {
                p.muted.small {
                    (parts::count(left_out, "earlier attempt is", "earlier attempts are")) " left out."
                }
            }
            ol.timeline {
                @for entry in entries {
                    li class=(entry.tone.class()) {
                        div.when {
                            (entry.at.strftime("%m-%d %H:%M:%S.%3f").to_string())
                            br;
                            (time(entry.at, context.now))
                        }
                        div.what { (entry.what) }
                    }
                }
            }
            (pager(context, window, left_out))
            p.muted.small { "Times are in UTC." }
        }
    }
}

/// How many attempts of all jobs are earlier than those of the page.
fn left_out(webhook: &WebhookView, window: AttemptWindow) -> u64 {
    let shown = window.skip.saturating_add(window.limit);
    webhook.jobs.iter().map(|job| u64::from(job.attempt_count.saturating_sub(shown))).sum()
}

/// The links to the latest attempts and to earlier ones, if there are any.
fn pager(context: &Context, window: AttemptWindow, left_out: u64) -> Markup {
    let here = |skip: Option<u32>| {
        let skip = skip.map(|skip| skip.to_string());
        format!("{}#state", context.here_with(SKIP, skip.as_deref()))
    };
    html! {
        @if !window.has_last() || left_out > 0 {
            nav.pager aria-label="Attempts" {
                @if !window.has_last() { a.button rel="first" href=(here(None)) { "Latest attempts" } }
                @if left_out > 0 {
                    a.button rel="next" href=(here(Some(window.skip + window.limit))) { "Earlier attempts" }
                }
            }
        }
    }
}

fn accepted(webhook: &WebhookView) -> Entry {
    let what = html! {
        @if webhook.status.is_quarantined { "Stored in quarantine" } @else { "Accepted" }
        " from " (webhook.status.source.as_str()) ": " (verdict(webhook.verdict))
    };
    let tone = if webhook.status.is_quarantined { Tone::Warning } else { Tone::Good };
    Entry { at: webhook.status.accepted_at, tone, what }
}

/// The attempts of all jobs, the oldest first.
fn attempts(webhook: &WebhookView) -> Vec<(&JobView, &AttemptRecord)> {
    let mut all = Vec::new();
    for job in &webhook.jobs {
        all.extend(job.attempts.iter().map(|attempt| (job, attempt)));
    }
    all.sort_by_key(|(_, attempt)| attempt.started_at);
    all
}

/// The first attempt of the page that belongs to the current run of a job.
fn first_of_run(job: &JobView) -> Option<&AttemptRecord> {
    job.attempts.iter().find(|attempt| attempt.run == job.run)
}

fn of_attempt(
    context: &Context,
    job: &JobView,
    attempt: &AttemptRecord,
    sent: Option<&Delivery>,
    error_chars: usize,
    visibility: Visibility,
) -> Entry {
    let took = attempt.finished_at.duration_since(attempt.started_at).as_secs_f64();
    let (tone, ended) = match attempt.outcome {
        Outcome::Completed => (Tone::Good, "completed"),
        Outcome::Failed => (Tone::Bad, "failed"),
        Outcome::Interrupted => (Tone::Warning, "was interrupted"),
    };
    let what = html! {
        p {
            "Attempt " (attempt.number) " of " (parts::route_link(context, &job.route)) (in_run(job, attempt.run)) " "
            b { (ended) } " after " (duration(took))
            span.muted.small { " · on " (cut(&attempt.worker, NAME_CHARS)) }
        }
        @if let Some(error) = &attempt.error { p { (cut(error, error_chars)) } }
        @if let Some(sent) = sent {
            (delivery(sent, &format!("delivery-{}-{}", job.route, attempt.number), visibility))
        }
    };
    Entry { at: attempt.started_at, tone, what }
}

/// The number of a run, if the job has had several.
fn in_run(job: &JobView, run: u32) -> Markup {
    html! { @if job.run > 1 { ", run " (run) "," } }
}

/// What operators did, the oldest first.
fn of_operators(context: &Context, actions: &ActionPage) -> Vec<Entry> {
    let entries = actions.actions.iter().rev().map(|action| {
        let what = html! {
            p {
                b { (done(action.kind)) } " by " (cut(&action.actor, NAME_CHARS))
                @if let Some(route) = &action.target.route { ": " (parts::route_link(context, route)) }
            }
            @for text in [&action.reason, &action.detail].into_iter().flatten() {
                p.muted { (cut(text, ERROR_CHARS)) }
            }
        };
        Entry { at: action.at, tone: Tone::Plain, what }
    });
    entries.collect()
}

/// What was done, as a participle.
fn done(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::RetryWebhook => "Retried",
        ActionKind::ReplayWebhook => "Replayed",
        ActionKind::CancelWebhook => "Cancelled",
        ActionKind::ReleaseWebhook => "Released from quarantine",
        ActionKind::ShowPayload => "Payload shown",
        ActionKind::SendEdited => "Edited and sent as a new webhook",
        other => other.as_str(),
    }
}

/// What a job does now, or how it ended.
fn state(
    context: &Context,
    webhook: &WebhookView,
    job: &JobView,
    is_all: bool,
    visibility: Visibility,
) -> Entry {
    let changed = || {
        let jobs = webhook.status.jobs.iter();
        let changed = jobs.filter(|status| status.route == job.route).map(|status| status.updated_at);
        changed.max().unwrap_or(job.available_at)
    };
    let ended = job.completed_at.unwrap_or_else(changed);
    let route = parts::route_link(context, &job.route);
    let (at, tone, what) = match job.status {
        Status::Pending | Status::Retrying if job.available_at > context.now => {
            (job.available_at, Tone::Warning, html! { "The next attempt of " (route) " is due" })
        }
        Status::Pending | Status::Retrying => {
            (job.available_at, Tone::Plain, html! { (route) " is due, and waits to start" })
        }
        Status::Processing => (changed(), Tone::Busy, running(context, job)),
        Status::Completed => {
            let result = result(context, job, is_all, visibility);
            (ended, Tone::Good, html! { p { (route) " is completed" } (result) })
        }
        Status::DeadLettered => {
            (ended, Tone::Bad, html! { (route) " is a dead letter. It starts again only if it is retried" })
        }
        Status::Cancelled => (ended, Tone::Plain, html! { (route) " is cancelled" }),
        // These two are never those of a job.
        Status::Filtered | Status::Quarantined => (ended, Tone::Plain, html! { (route) }),
    };
    Entry { at, tone, what }
}

/// The attempt that runs now, and its lease.
fn running(context: &Context, job: &JobView) -> Markup {
    html! {
        "Attempt " (job.attempt_count) " of " (parts::route_link(context, &job.route)) (in_run(job, job.run)) " is running"
        @if let Some(lease) = &job.lease {
            " on " (cut(&lease.worker, NAME_CHARS)) ", leased until " (parts::moment(lease.until, context.now))
        }
    }
}

/// What the handler returned.
fn result(context: &Context, job: &JobView, is_all: bool, visibility: Visibility) -> Markup {
    let Some(result) = job.result.as_deref().filter(|result| *result != "null") else {
        return parts::nothing();
    };
    if visibility.is_hidden() {
        return in_place_of("The result");
    }
    let shown =
        if is_all { Shown::All } else { Shown::Beginning(Some(context.here_with(ALL_RESULTS, Some("1")))) };
    html! {
        details.more id=(format_args!("result-{}", job.route)) { summary { "Result" } (code(result, &shown)) }
    }
}
