//! What an operator on call looks at first: what is wrong now, the numbers, and the last 60 minutes.

mod tables;
mod wrong;

use axum::response::Response;
use maud::{Markup, html};

pub(super) use self::tables::sources_seen;
use self::wrong::Wrong;
use super::chart::{Line, chart};
use super::context::{Context, Nav};
use super::parts::{self, number, rate};
use super::{OVERVIEW, Paths};
use crate::domain::job::Status;
use crate::service::Stats;
use crate::telemetry::history::{Point, Spread};

pub(super) fn routes() -> Paths {
    Paths::default().get(OVERVIEW, show)
}

async fn show(context: Context) -> Response {
    let stats = context.service.stats().await;
    let wrong = wrong::now(&context, &stats).await;
    let body = html! {
        (parts::head("Overview", parts::nothing()))
        (list(&context, &wrong))
        // Also without numbers, so that they come and go with the store.
        div.tiles id="numbers" data-live { @if let Ok(stats) = &stats { (tiles(&context, stats)) } }
        @if context.caller.is_limited() {
            p.muted {
                "The charts are those of all sources and routes. This token is limited to some, and does not see "
                "them."
            }
        } @else {
            (charts(&context.service.metrics().history().points()))
        }
        div.cols id="last-hour" data-live {
            (tables::routes(&context))
            (tables::sources(&context))
        }
        p.muted.small {
            "Charts and tables show this process over the last 60 minutes. They start empty after a restart; use "
            "the metrics for longer periods."
        }
    };
    context.page("Overview", Nav::Overview, body)
}

/// What is wrong, or that nothing is.
fn list(context: &Context, wrong: &[Wrong]) -> Markup {
    html! {
        section.card.wrong id="wrong" data-live aria-label="What is wrong now" {
            @if wrong.is_empty() {
                p.calm { span.dot.good {} "Nothing is wrong." }
            } @else {
                ul {
                    @for one in wrong {
                        li class=(one.tone.class()) {
                            span { (parts::text(&one.text)) }
                            @if let Some((path, label)) = &one.link {
                                a href=(context.path(path)) { (label) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn tiles(context: &Context, stats: &Stats) -> Markup {
    let of = |status| number(stats.counts.of(status));
    let backlog = stats.counts.unfinished();
    let workers = stats.workers;
    html! {
        (tile("Oldest due", &parts::duration(stats.oldest_due_seconds), "how long a job waits to start"))
        (tile("Backlog", &number(backlog), &format!(
            "{} pending, {} running, {} retrying",
            of(Status::Pending), of(Status::Processing), of(Status::Retrying)
        )))
        (tile("In", &format!("{}/s", rate(stats.accepted_per_second)), "webhooks accepted, over a minute"))
        (tile("Out", &format!("{}/s", rate(stats.completed_per_second)), "jobs completed, over a minute"))
        (tile("Workers", &format!("{} of {}", workers.busy, workers.total), "threads that run a handler"))
        (linked(
            context, "/dead-letters", "Dead letters", &of(Status::DeadLettered),
            "to be retried or given up"
        ))
        // A limited caller has no number of it.
        @if !context.caller.is_limited() {
            (linked(
                context, "/webhooks?status=quarantined", "Quarantine", &of(Status::Quarantined),
                "not verified, to be released or discarded"
            ))
        }
    }
}

fn tile(label: &str, value: &str, hint: &str) -> Markup {
    html! { div.tile { (inside(label, value, hint)) } }
}

fn linked(context: &Context, path: &str, label: &str, value: &str, hint: &str) -> Markup {
    html! { a.tile href=(context.path(path)) { (inside(label, value, hint)) } }
}

fn inside(label: &str, value: &str, hint: &str) -> Markup {
    html! { span.label { (label) } span.value { (value) } span.hint { (hint) } }
}

fn charts(points: &[Point]) -> Markup {
    let counts = |name, per_seconds: f64, count: fn(&Point) -> u64| Line {
        name,
        values: points
            .iter()
            .map(|point| Some(count(point) as f64 * per_seconds / point.over.as_secs_f64().max(1.0)))
            .collect(),
    };
    let quantiles = |spread: fn(&Point) -> &Spread| {
        [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].map(|(name, share)| Line {
            name,
            values: points.iter().map(|point| spread(point).quantile(share)).collect(),
        })
    };
    let in_and_out =
        [counts("accepted", 1.0, |point| point.accepted), counts("completed", 1.0, |point| point.completed)];
    let not_taken = [
        counts("refused", 60.0, |point| point.refused),
        counts("unverified", 60.0, |point| point.unverified),
        counts("dead letters", 60.0, |point| point.dead_lettered),
    ];
    let backlog = points.iter().map(|point| point.backlog.map(|jobs| jobs as f64)).collect();
    let backlog = [Line { name: "unfinished jobs", values: backlog }];
    html! {
        section.grid id="charts" data-live aria-label="The last 60 minutes" {
            (chart("In and out", &in_and_out, |value| format!("{}/s", rate(value))))
            (chart("Refused and given up", &not_taken, |value| format!("{}/min", rate(value))))
            (chart("Backlog", &backlog, |value| number(value as u64)))
            (chart("Accepting", &quantiles(|point| &point.accepting), parts::seconds))
            (chart("Waiting to start", &quantiles(|point| &point.waiting), parts::seconds))
            (chart("Handlers", &quantiles(|point| &point.handling), parts::seconds))
        }
    }
}
