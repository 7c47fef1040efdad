//! The settings of a route in words.

use maud::{Markup, html};

use crate::domain::handler::HandlerSettings;
use crate::page::parts;
use crate::service::RouteStats;
use crate::service::match_view::{Globs, MatchView};
use crate::service::policy_view::PolicyView;

/// The settings of a route; nothing if it is gone from the settings.
pub(super) fn facts(stats: &RouteStats) -> Markup {
    let Some(settings) = stats.settings.as_deref() else { return parts::nothing() };
    let (matched, policy) = (MatchView::from(settings), PolicyView::from(&settings.policy));
    parts::facts([
        ("Takes", takes(&matched)),
        ("Only if", matched.condition.as_deref().map_or_else(parts::nothing, quoted)),
        ("Handler", handler(&settings.policy.handler)),
        (
            "Attempts",
            html! {
                "At most " (policy.max_attempts) " in a run. After a failure the next one follows within " (policy.retry_base)
                ", then within twice as long, up to " (policy.retry_cap) "."
            },
        ),
        (
            "Time-out",
            html! { @if let Some(timeout) = &policy.timeout { (timeout) " for each attempt" } @else { "None" } },
        ),
        (
            "At once",
            html! {
                @if let Some(concurrency) = policy.concurrency { "At most " (concurrency) " jobs, over all replicas" } @else { "No limit" }
            },
        ),
        (
            "Rate",
            html! {
                @if let Some(rate) = &policy.rate { "At most " (rate) " attempts, over all replicas" } @else { "No limit" }
            },
        ),
        ("Order", order(&matched, &policy)),
        (
            "Interrupted",
            html! {
                @if policy.on_interrupt == "dead_letter" {
                    "A job whose attempt was cut off is never started again: it becomes a dead letter."
                } @else {
                    "A job whose attempt was cut off is tried again."
                }
            },
        ),
        ("Breaker", breaker(&policy)),
    ])
}

fn takes(matched: &MatchView) -> Markup {
    match &matched.globs {
        None if matched.fallback => html! { "Webhooks that no other route takes" },
        None => html! { "Every webhook, but those of hookbox itself" },
        Some(Globs { sources, event_types }) => html! {
            @if sources.is_empty() { "Webhooks of any source" } @else { "Webhooks of the source " (list(sources)) }
            @if !event_types.is_empty() { ", with the event type " (list(event_types)) }
        },
    }
}

/// Patterns of which one has to match.
fn list(patterns: &[String]) -> Markup {
    html! {
        @for (at, pattern) in patterns.iter().enumerate() {
            @if at > 0 { " or " }
            (quoted(pattern))
        }
    }
}

fn quoted(text: &str) -> Markup {
    html! { code { (parts::text(text)) } }
}

fn handler(handler: &HandlerSettings) -> Markup {
    let target = handler.target().unwrap_or_default();
    match handler {
        HandlerSettings::Http(http) => html! {
            code { "http" } ": sends them to " (quoted(&target))
            @if !http.secrets.is_empty() { ", signed" }
        },
        HandlerSettings::Exec(_) => html! { code { "exec" } ": runs " (quoted(&target)) },
        HandlerSettings::Pull => html! { code { "pull" } ": workers elsewhere lease the jobs" },
        HandlerSettings::Simulate(simulate) => html! {
            code { "simulate" } ": sleeps " (parts::seconds(simulate.min.as_secs_f64())) " to "
            (parts::seconds(simulate.max.as_secs_f64())) ", and records a result"
        },
        HandlerSettings::Named(name) => {
            html! { (quoted(name)) ": a handler of the program that runs hookbox" }
        }
    }
}

fn order(matched: &MatchView, policy: &PolicyView) -> Markup {
    html! {
        @if let Some(pointer) = &matched.order_by {
            "One at a time, in the order of arrival, for equal values of " (quoted(pointer)) ". "
            @if policy.on_dead_letter == "skip" {
                "Jobs behind a dead letter start."
            } @else {
                "Jobs behind a dead letter wait until it is retried or cancelled."
            }
        } @else {
            "None"
        }
    }
}

fn breaker(policy: &PolicyView) -> Markup {
    html! {
        @if let (Some(failures), Some(base), Some(cap)) = (policy.breaker_failures, &policy.breaker_base, &policy.breaker_cap) {
            "Opens after " (parts::count(failures.into(), "attempt", "attempts")) " in a row that found the target down: for "
            (base) " at first, then for twice as long, up to " (cap) "."
        }
    }
}
