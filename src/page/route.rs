//! One route: its jobs, what keeps them from starting, its settings, and what to do with its jobs once it is gone.

pub(super) mod state;
mod words;

use std::collections::BTreeSet;

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::Paths;
use super::action::Action;
use super::because::because;
use super::context::{Context, Nav};
use super::parts::{self, Button, Tone, count, number};
use super::pauses::{self, Pausing};
use crate::domain::breaker::BreakerState;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::service::{ListQuery, Moved, PauseTarget, RouteStats, Stats};

/// The most characters of an error that says why a breaker is open.
const MAX_ERROR_CHARS: usize = 300;

pub(super) fn routes() -> Paths {
    Paths::default()
        .get("/routes/{route}", show)
        .post("/routes/{route}/pause", pause)
        .post("/routes/{route}/resume", resume)
        .post("/routes/{route}/move", move_jobs)
        .post("/routes/{route}/cancel", cancel_jobs)
}

/// A form that moves or cancels the jobs of a route that is gone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Clearing {
    to: Option<String>,
    reason: Option<String>,
}

async fn show(context: Context, Path(name): Path<String>) -> Response {
    match body(&context, &name).await {
        Ok(body) => context.page(&name, Nav::Routes, body),
        Err(error) => context.failed(&error),
    }
}

async fn pause(Path(name): Path<String>, Action(context, form): Action<Pausing>) -> Response {
    match RouteName::new(name) {
        Ok(route) => pauses::pause(&context, PauseTarget::Route(route), form).await,
        Err(error) => context.failed(&error),
    }
}

async fn resume(Path(name): Path<String>, Action(context, form): Action<Pausing>) -> Response {
    match RouteName::new(name) {
        Ok(route) => pauses::resume(&context, PauseTarget::Route(route), form).await,
        Err(error) => context.failed(&error),
    }
}

async fn move_jobs(Path(name): Path<String>, Action(context, form): Action<Clearing>) -> Response {
    match moved(&context, name, form).await {
        Ok(notice) => context.done("/routes", &notice),
        Err(error) => context.failed(&error),
    }
}

async fn cancel_jobs(Path(name): Path<String>, Action(context, form): Action<Clearing>) -> Response {
    match cancelled(&context, name, form).await {
        Ok(notice) => context.done("/routes", &notice),
        Err(error) => context.failed(&error),
    }
}

/// Returns what was done.
async fn moved(context: &Context, name: String, form: Clearing) -> Result<String> {
    let from = RouteName::new(name)?;
    let to = RouteName::required("to", form.to.unwrap_or_default())?;
    let service = because(context, form.reason)?;
    let Moved { moved, cancelled } = service.move_jobs(from.clone(), to.clone()).await?;
    let done = format!("Moved {} of {from} to {to}.", count(moved as u64, "job", "jobs"));
    if cancelled == 0 {
        return Ok(done);
    }
    let cancelled = count(cancelled as u64, "job", "jobs");
    Ok(format!("{done} Cancelled {cancelled}: their webhooks have a job of {to} already."))
}

/// Returns what was done.
async fn cancelled(context: &Context, name: String, form: Clearing) -> Result<String> {
    let route = RouteName::new(name)?;
    let cancelled = because(context, form.reason)?.cancel_jobs(route.clone()).await?;
    Ok(format!("Cancelled {} of {route}.", count(cancelled as u64, "job", "jobs")))
}

async fn body(context: &Context, name: &str) -> Result<Markup> {
    let route = RouteName::new(name)?;
    let all = context.service.stats().await?;
    let found = all.routes.iter().find(|stats| stats.route == route).ok_or_else(|| {
        let detail = format!("there is no route `{route}`, neither in the settings nor with jobs");
        Error::new(Reason::RouteNotFound, detail)
    })?;
    let warnings = warnings(context, &all, found).await;
    Ok(html! {
        nav.crumbs { a href=(context.path("/routes")) { "Routes" } }
        div id="route" data-live {
            (parts::head(route.as_str(), actions(context, found)))
            @for warning in &warnings { (warning) }
            (tiles(context, found))
            (lately(context, &route))
        }
        @if found.settings.is_some() {
            section.card { h2 { "Settings" } (words::facts(found)) }
        } @else if found.counts.unfinished() > 0 {
            (clearing(context, &all, found))
        }
    })
}

fn actions(context: &Context, stats: &RouteStats) -> Markup {
    let route = &stats.route;
    let may_pause = !context.caller.has_limited_sources();
    let is_tripped = stats.breaker.is_some_and(|breaker| breaker.state != BreakerState::Closed);
    html! {
        a.button href=(context.path(&format!("/webhooks?route={route}"))) { "Webhooks" }
        @if context.may_operate() {
            a.button href=(context.path(&format!("/replays?route={route}&status=dead_lettered#new"))) { "Replay" }
        }
        @if may_pause {
            @if is_tripped && stats.pause.is_none() {
                (close_breaker(context, route))
            }
            @if stats.settings.is_some() || stats.pause.is_some() {
                (pauses::of(context, &PauseTarget::Route(route.clone()), stats.pause.is_some()))
            }
        }
    }
}

fn close_breaker(context: &Context, route: &RouteName) -> Markup {
    let question = "Jobs of this route start at once, in all replicas. If its target is still down, the breaker opens again.";
    let action = format!("/routes/{route}/resume");
    parts::confirmed(context, &Button::new(&action, "Close the breaker").fields(parts::reason()), question)
}

/// What keeps the jobs of the route from starting, and the route from getting webhooks.
async fn warnings(context: &Context, all: &Stats, stats: &RouteStats) -> Vec<Markup> {
    let mut warnings = Vec::new();
    let everything = all.pauses.iter().find(|pause| pause.target == PauseTarget::Everything);
    let paused = [("Everything", everything), ("This route", stats.pause.as_ref())];
    for (what, pause) in paused.into_iter().filter_map(|(what, pause)| Some((what, pause?))) {
        warnings.push(pauses::notice(context, what, pause));
    }
    if stats.breaker.is_some_and(|breaker| breaker.state != BreakerState::Closed) {
        warnings.push(tripped(context, stats, last_error(context, &stats.route).await));
    }
    if stats.match_failures > 0 {
        let text = html! {
            p {
                "The " code { "where" } " of this route could not be evaluated for "
                (count(stats.match_failures, "webhook", "webhooks"))
                " since the settings were last read. The route did not get them. Correct the expression, and reload the "
                "settings."
            }
            @if let Some(error) = &stats.last_match_failure { p { "The last error: " (parts::cut(error, MAX_ERROR_CHARS)) } }
        };
        warnings.push(parts::notice(Tone::Warning, text));
    }
    warnings
}

/// Why the breaker is open, until when, and what happens then.
fn tripped(context: &Context, stats: &RouteStats, error: Option<String>) -> Markup {
    let policy = stats.settings.as_deref().and_then(|settings| settings.policy.breaker());
    let failures = policy.map_or(1, |policy| policy.failures);
    let (until, trips) = stats.breaker.map_or((None, 0), |breaker| (breaker.open_until(), breaker.trips));
    let tone = if until.is_some() { Tone::Bad } else { Tone::Warning };
    let text = html! {
        p {
            @if let Some(until) = until {
                "The breaker is open until " (parts::moment(until, context.now))
                ": no job starts, and none uses up attempts. Then one job finds out whether the target is up."
            } @else {
                "The breaker is half-open: one job at a time finds out whether the target is up."
            }
        }
        p {
            (count(failures.into(), "attempt", "attempts"))
            " in a row found the target down: it could not be reached, did not answer in time, or answered 429 or 5xx. "
            @if trips > 1 { "The breaker has opened " (trips) " times in a row, each time for longer." }
        }
        @if let Some(error) = error { p { "The last error of a job that waits: " (parts::cut(&error, MAX_ERROR_CHARS)) } }
    };
    parts::notice(tone, text)
}

/// Why the newest job of the route that is retrying has failed. None if it is not found.
async fn last_error(context: &Context, route: &RouteName) -> Option<String> {
    let statuses = BTreeSet::from([Status::Retrying]);
    let query = ListQuery { statuses, route: Some(route.clone()), limit: 1, ..ListQuery::default() };
    let page = context.service.list(query).await.ok()?;
    let jobs = page.webhooks.into_iter().flat_map(|webhook| webhook.jobs);
    jobs.filter(|job| job.route == *route).find_map(|job| job.last_error)
}

fn tiles(context: &Context, stats: &RouteStats) -> Markup {
    html! {
        div.tiles {
            (tile("Running", &html! { (state::in_use(stats)) }))
            @for (name, status) in state::COUNTS { (tile(name, &state::jobs(context, stats, status))) }
            (tile("Oldest due", &html! { (state::oldest_due(stats)) }))
        }
    }
}

fn tile(label: &str, value: &Markup) -> Markup {
    html! { div.tile { span.label { (label) } span.value { (value) } } }
}

/// What the route did in the last 60 minutes.
fn lately(context: &Context, route: &RouteName) -> Markup {
    let recent = state::recent(context);
    let Some(totals) = recent.get(route.as_str()) else { return parts::nothing() };
    let quantile = |share| totals.handling.quantile(share).map_or_else(|| "–".to_owned(), parts::seconds);
    html! {
        section.card {
            h2 { "The last 60 minutes of this process" }
            (parts::facts([
                ("Attempts", html! {
                    (number(totals.ended())) ", "
                    (parts::rate(state::per_second(Some(totals)))) "/s in the last minute"
                }),
                ("Failed", html! { (number(totals.failed)) }),
                ("Dead letters", html! { (number(totals.dead_lettered)) }),
                ("Duration", html! { "p50 " (quantile(0.5)) ", p95 " (quantile(0.95)) ", p99 " (quantile(0.99)) }),
            ]))
        }
    }
}

/// What to do with the jobs of a route that is gone.
fn clearing(context: &Context, all: &Stats, stats: &RouteStats) -> Markup {
    let route = &stats.route;
    let held = count(stats.counts.unfinished(), "job of it waits", "jobs of it wait");
    let others = all.routes.iter().filter(|other| other.settings.is_some());
    let choices = others.map(|other| (other.route.as_str(), other.route.to_string()));
    let cancel = format!("/routes/{route}/cancel");
    let may_clear = context.may_operate() && !context.caller.has_limited_sources();
    html! {
        section.card {
            h2 { "Gone from the settings" }
            p { "The settings no longer have this route, and " (held) " for it. If they have it again, the jobs go on." }
            @if may_clear {
                form.inline method="post" action=(context.path(&format!("/routes/{route}/move"))) {
                    (context.form_token())
                    (parts::choice("Move them to the route", "to", "", choices))
                    (parts::reason())
                    button type="submit" { "Move the jobs" }
                }
                (parts::confirmed(
                    context,
                    &Button::new(&cancel, "Cancel the jobs").tone(Tone::Bad).fields(parts::reason()),
                    "All of them are cancelled. They can run again only if the settings have the route again."
                ))
            }
        }
    }
}
