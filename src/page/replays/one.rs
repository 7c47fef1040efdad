//! One replay: how far it is, what it did, and what can be done with it.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};

use super::filter::in_words;
use super::{after, jobs, left, percent, state};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::replay::ReplayState;
use crate::page::action::Action;
use crate::page::because::{Why, because};
use crate::page::context::{Context, Nav};
use crate::page::parts::{self, Button, Tone, count, number};
use crate::service::{Replay, ReplayFilter};

pub(super) async fn show(context: Context, Path(number): Path<String>) -> Response {
    match found(&context, &number).await {
        Ok(replay) => {
            context.page(&format!("Replay {}", replay.number), Nav::Replays, body(&context, &replay))
        }
        Err(error) => context.failed(&error),
    }
}

pub(super) async fn cancel(Path(number): Path<String>, Action(context, form): Action<Why>) -> Response {
    match cancelled(&context, &number, form).await {
        Ok(number) => context
            .done(&format!("/replays/{number}"), "The replay is cancelled. What it had restarted runs."),
        Err(error) => context.failed(&error),
    }
}

/// Starts the replay that a dry run has counted.
pub(super) async fn run(Path(number): Path<String>, Action(context, _): Action<Why>) -> Response {
    match started(&context, &number).await {
        Ok(number) => context.done(&format!("/replays/{number}"), "The replay is started."),
        Err(error) => context.failed(&error),
    }
}

/// Returns the number of the new replay. All that it is about is read from the dry run: what goes through a form is less
/// exact, as browsers change line breaks.
async fn started(context: &Context, number: &str) -> Result<u64> {
    let counted = found(context, number).await?;
    if !is_counted(&counted) {
        return Err(Error::new(Reason::WrongStatus, "only what a completed dry run has counted can be run"));
    }
    let (filter, rate) = (filter_counted(&counted), counted.rate);
    let service = because(context, counted.reason)?;
    Ok(service.start_replay(filter, rate, false).await?.number)
}

/// Whether it is a dry run that has counted all.
fn is_counted(replay: &Replay) -> bool {
    replay.dry_run && replay.state == ReplayState::Completed
}

/// The filter for the webhooks that a dry run has counted. It leaves out those that came in later.
fn filter_counted(replay: &Replay) -> ReplayFilter {
    let counted_to = after(replay.started_at);
    let accepted_before = replay.filter.accepted_before.map_or(counted_to, |before| before.min(counted_to));
    ReplayFilter { accepted_before: Some(accepted_before), ..replay.filter.clone() }
}

async fn found(context: &Context, number: &str) -> Result<Replay> {
    context.service.replay(number_of(number)?).await
}

/// Returns the number of the replay.
async fn cancelled(context: &Context, number: &str, form: Why) -> Result<u64> {
    let number = number_of(number)?;
    Ok(because(context, form.reason)?.cancel_replay(number).await?.number)
}

/// The number in a path. Errors: `ReplayNotFound`.
fn number_of(text: &str) -> Result<u64> {
    let unknown = "there is no such replay: replays have numbers, and the list of replays has them";
    text.parse().map_err(|_| Error::new(Reason::ReplayNotFound, unknown))
}

fn body(context: &Context, replay: &Replay) -> Markup {
    let is_running = replay.state == ReplayState::Running;
    html! {
        nav.crumbs { a href=(context.path("/replays")) { "Replays" } }
        div id="replay" data-live {
            (parts::head(&format!("Replay {}", replay.number), actions(context, replay)))
            @if is_counted(replay) { (counted(context, replay)) }
            section.card {
                @if is_running { (progress(replay)) }
                (facts(context, replay))
            }
        }
    }
}

fn actions(context: &Context, replay: &Replay) -> Markup {
    if replay.state != ReplayState::Running {
        return parts::nothing();
    }
    let action = format!("/replays/{}/cancel", replay.number);
    let button = Button::new(&action, "Cancel").tone(Tone::Bad).fields(parts::reason());
    parts::confirmed(context, &button, "The replay ends here. Jobs that it has restarted still run.")
}

/// What a dry run has found, with the form that starts the replay.
fn counted(context: &Context, replay: &Replay) -> Markup {
    let jobs = replay.counts.jobs;
    if jobs == 0 {
        let text =
            html! { p { "No job would run again. Change what to replay, or look at what was left below." } };
        return parts::notice(Tone::Warning, text);
    }
    let action = format!("/replays/{}/run", replay.number);
    let label = format!("Run {} again", count(jobs, "job", "jobs"));
    parts::notice(
        Tone::Plain,
        html! {
            p {
                (count(jobs, "job", "jobs")) " of " (count(replay.counts.webhooks, "webhook", "webhooks"))
                " would run again. Nothing has run yet. Webhooks that came in after the count are left out."
            }
            (Button::new(&action, &label).tone(Tone::Good).render(context))
        },
    )
}

fn progress(replay: &Replay) -> Markup {
    let share = percent(replay.progress);
    html! {
        p.spread {
            span { "Looked at " (share) " of the time in which its webhooks were accepted" }
            @if let Some(waits_for) = &replay.waits_for { span { "Waits for " (maud::display(waits_for)) } }
        }
        progress max="100" value=(share.trim_end_matches(" %")) aria-label="Progress" { (share) }
    }
}

fn facts(context: &Context, replay: &Replay) -> Markup {
    let now = context.now;
    let left = left(&replay.counts);
    parts::facts([
        ("State", state(replay)),
        ("What", in_words(context, &replay.filter)),
        ("Jobs", html! { (jobs(replay)) @if !replay.dry_run { " run again" } }),
        ("Webhooks", html! { (number(replay.counts.webhooks)) " matched" }),
        (
            "Left as they are",
            html! { @for (at, what) in left.iter().enumerate() { @if at > 0 { "; " } (what) } },
        ),
        (
            "Rate",
            html! {
                @if let Some(rate) = replay.rate { "At most " (maud::display(rate)) } @else { "As fast as the routes run them" }
            },
        ),
        ("Reason", html! { @if let Some(reason) = &replay.reason { (parts::text(reason)) } }),
        ("By", parts::text(&replay.actor)),
        ("Started", parts::moment(replay.started_at, now)),
        ("Ended", html! { @if let Some(at) = replay.ended_at { (parts::moment(at, now)) } }),
    ])
}
