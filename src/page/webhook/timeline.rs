//! What happened to a webhook, in the order of time: the request, attempts with what was sent and answered, what
//! operators did, and what is to come.

use jiff::Timestamp;
use maud::{Markup, html};

use super::Asked;
use super::delivery::delivery;
use super::payload::{Visibility, in_place_of};
use crate::domain::action::ActionKind;
use crate::domain::attempt::{AttemptRecord, Outcome};
use crate::domain::job::Status;
use crate::page::context::Context;
use crate::page::parts::{self, Shown, Tone, code, cut, duration, time};
use crate::page::verdict::verdict;
use crate::service::ActionPage;
use crate::service::view::{JobView, WebhookView};

/// The parameter that asks for all attempts.
const ALL: &str = "all_attempts";

/// How many attempts are shown, the latest ones: at first and at most.
const FIRST_ATTEMPTS: usize = 30;
const MOST_ATTEMPTS: usize = 1_000;

/// Of how many attempts deliveries are shown, the latest ones: at first and at most.
const FIRST_DELIVERIES: usize = 10;
const MOST_DELIVERIES: usize = 100;

/// How many characters of an error, and of the name of a worker or an operator, are shown.
const ERROR_CHARS: usize = 2_000;
const NAME_CHARS: usize = 80;

/// A point in time, and what happened then.
struct Entry {
    at: Timestamp,
    tone: Tone,
    what: Markup,
}

/// The timeline, the oldest entry first.
pub(super) fn section(
    context: &Context,
    webhook: &WebhookView,
    actions: &ActionPage,
    asked: &Asked,
    visibility: Visibility,
) -> Markup {
    let is_all = asked.is_all_attempts();
    let (most, most_deliveries) =
        if is_all { (MOST_ATTEMPTS, MOST_DELIVERIES) } else { (FIRST_ATTEMPTS, FIRST_DELIVERIES) };
    let mut attempts = attempts(webhook);
    let left_out = attempts.len().saturating_sub(most);
    attempts.drain(..left_out);
    let without_delivery = attempts.len().saturating_sub(most_deliveries);
    let attempts = attempts.into_iter().enumerate();
    let attempts = attempts
        .map(|(at, (job, attempt))| of_attempt(context, job, attempt, at >= without_delivery, visibility));

    let mut entries = vec![accepted(webhook)];
    entries.extend(attempts);
    entries.extend(of_operators(context, actions));
    entries.extend(webhook.jobs.iter().map(|job| state(context, webhook, job, is_all, visibility)));
    // Stable: what happened at the same time stays in this order.
    entries.sort_by_key(|entry| entry.at);
    html! {
        section.card {
            h2 { "What happened" }
            @if left_out > 0 {
                p.muted.small {
                    (parts::count(left_out as u64, "earlier attempt is", "earlier attempts are")) " left out. "
                    @if !is_all { a href=(context.here_with(ALL, Some("1"))) { "Show all" } }
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
            p.muted.small { "Times are in UTC." }
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

fn of_attempt(
    context: &Context,
    job: &JobView,
    attempt: &AttemptRecord,
    has_delivery: bool,
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
            "Attempt " (attempt.number) " of " (parts::route_link(context, &job.route)) " "
            b { (ended) } " after " (duration(took))
            span.muted.small { " · on " (cut(&attempt.worker, NAME_CHARS)) }
        }
        @if let Some(error) = &attempt.error { p { (cut(error, ERROR_CHARS)) } }
        @if let Some(sent) = attempt.delivery.as_ref().filter(|_| has_delivery) {
            (delivery(sent, &format!("delivery-{}-{}", job.route, attempt.number), visibility))
        }
    };
    Entry { at: attempt.started_at, tone, what }
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
        Status::Processing => {
            (changed(), Tone::Busy, html! { "Attempt " (job.attempt_count) " of " (route) " is running" })
        }
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

/// What the handler returned.
fn result(context: &Context, job: &JobView, is_all: bool, visibility: Visibility) -> Markup {
    let Some(result) = job.result.as_deref().filter(|result| *result != "null") else {
        return parts::nothing();
    };
    if visibility.is_hidden() {
        return in_place_of("The result");
    }
    let shown = if is_all { Shown::All } else { Shown::Beginning(Some(context.here_with(ALL, Some("1")))) };
    html! {
        details.more id=(format_args!("result-{}", job.route)) { summary { "Result" } (code(result, &shown)) }
    }
}
