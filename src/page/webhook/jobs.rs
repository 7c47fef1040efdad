//! The jobs of a webhook, as they are now.

use maud::{Markup, html};

use super::by_hand::buttons_of_job;
use crate::domain::job::Status;
use crate::page::context::Context;
use crate::page::parts::{self, cut, moment, status};
use crate::service::view::{JobView, WebhookView};

/// How many characters of the last error are shown here. The timeline has more.
const ERROR_CHARS: usize = 400;

/// The jobs, each with what can be done with it.
pub(super) fn section(context: &Context, webhook: &WebhookView) -> Markup {
    html! {
        section.card {
            h2 { "Jobs" }
            @if webhook.jobs.is_empty() {
                (without_jobs(webhook))
            }
            @for (at, job) in webhook.jobs.iter().enumerate() {
                @if at > 0 { hr; }
                (one(context, webhook, job))
            }
        }
    }
}

fn without_jobs(webhook: &WebhookView) -> Markup {
    if webhook.status.is_quarantined {
        parts::empty("There are no jobs.", "A webhook in quarantine gets jobs if it is released.")
    } else {
        parts::empty("No route matched this webhook.", "It is kept as long as a completed one.")
    }
}

fn one(context: &Context, webhook: &WebhookView, job: &JobView) -> Markup {
    html! {
        div.spread {
            div.grow {
                b { (parts::route_link(context, &job.route)) } " " (status(job.status))
                div.small.muted { (how_far(context, job)) }
                @if let Some(error) = &job.last_error { div.small { (cut(error, ERROR_CHARS)) } }
            }
            @if webhook.jobs.len() > 1 { div.actions { (buttons_of_job(context, webhook, job)) } }
        }
    }
}

/// The handler, and how far the job is.
fn how_far(context: &Context, job: &JobView) -> Markup {
    let attempts = parts::count(job.attempt_count.into(), "attempt", "attempts");
    html! {
        @match &job.handler {
            Some(handler) => { "handler " (handler) },
            None => { "the route is gone from the settings" },
        }
        " · " (attempts)
        // Both numbers are those over all runs.
        @if !job.status.is_final() && job.max_attempts > 0 { " of at most " (job.max_attempts) }
        @if job.run > 1 { " · run " (job.run) }
        @if let Some(due) = job.next_attempt_at {
            " · " @if due > context.now { "next attempt " } @else { "due " } (moment(due, context.now))
        }
        @if job.status == Status::Processing { " · an attempt is running" }
    }
}
