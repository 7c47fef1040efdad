//! Replays: those that were started, the form for a new one, and one of them with its progress.

mod fields;
mod filter;
mod form;
mod one;

use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

pub(super) use self::fields::STATUSES;
use self::fields::{Fields, parameters};
pub(super) use self::filter::link_to_form;
use super::Paths;
use super::action::Action;
use super::because::because;
use super::context::{Context, Nav};
use super::parts::{self, Tone, count, number};
use crate::domain::error::Result;
use crate::domain::replay::{ReplayCounts, ReplayState};
use crate::service::replays::{ReplayPage, rate};
use crate::service::{DEFAULT_PAGE_SIZE, Replay, number_of_token, token_of_number};

/// The parameter that names a page.
const PAGE_TOKEN: &str = "page_token";

/// The columns of the list.
const COLUMNS: [&str; 7] = ["Replay", "State", "What", "Jobs", "Reason", "By", "Started"];

/// The most characters of a reason in the list.
const MAX_REASON_CHARS: usize = 100;

/// What the views serve.
pub(super) fn routes() -> Paths {
    Paths::default()
        .get("/replays", list)
        .post("/replays", start)
        .get("/replays/{number}", one::show)
        .post("/replays/{number}/cancel", one::cancel)
        .post("/replays/{number}/run", one::run)
}

async fn list(context: Context) -> Response {
    let form = form::of_link(&context);
    match listed(&context).await {
        Ok(listed) => {
            let parameters = parameters().chain([PAGE_TOKEN]).collect::<Vec<_>>();
            context.page_of(&parameters, "Replays", Nav::Replays, view(&context, &listed, &form))
        }
        Err(error) => {
            let problem = parts::refused(&context, "The replays are not listed", &error);
            context.refused(&error, "Replays", Nav::Replays, view(&context, &problem, &form))
        }
    }
}

async fn start(Action(context, pairs): Action<Vec<(String, String)>>) -> Response {
    match started(&context, &pairs).await {
        Ok((path, notice)) => context.done(&path, notice),
        Err(error) => {
            let body = html! {
                nav.crumbs { a href=(context.path("/replays")) { "Replays" } }
                (parts::head("Replays", parts::nothing()))
                (form::as_sent(&context, &pairs, &error))
            };
            context.refused(&error, "Replays", Nav::Replays, body)
        }
    }
}

/// Returns the path of the replay, and what was done.
async fn started(context: &Context, pairs: &[(String, String)]) -> Result<(String, &'static str)> {
    let Fields { values, is_dry_run } = Fields::of_form(pairs)?;
    let (filter, rate) = (values.filter()?, rate(values.given("rate").map(ToOwned::to_owned))?);
    let service = because(context, Some(values.get("reason").to_owned()))?;
    let Replay { number, .. } = service.start_replay(filter, rate, is_dry_run).await?;
    let notice =
        if is_dry_run { "The jobs are counted. Nothing runs again yet." } else { "The replay is started." };
    Ok((format!("/replays/{number}"), notice))
}

fn view(context: &Context, listed: &Markup, form: &Markup) -> Markup {
    html! {
        @if context.may_operate() {
            (parts::head("Replays", html! { a.button href="#new" { "New replay" } }))
        } @else {
            (parts::head("Replays", parts::nothing()))
        }
        (listed)
        (form)
    }
}

/// One page of the list. Errors: `InvalidField`; those of the store.
async fn listed(context: &Context) -> Result<Markup> {
    let before = number_of_token(page_token(context))?;
    let ReplayPage { replays, next } = context.service.replays(before, DEFAULT_PAGE_SIZE).await?;
    let next = Some(token_of_number(next)).filter(|next| !next.is_empty());
    let none = parts::empty("No replay was started.", "");
    Ok(html! {
        div id="replays" data-live[before.is_none()] {
            section.card {
                @if replays.is_empty() {
                    (parts::empty_page("replays", before.is_none(), next.is_some(), none))
                } @else {
                    (table(context, &replays))
                }
            }
            (parts::pager(context, PAGE_TOKEN, next.as_deref()))
        }
    })
}

/// The parameter of the page; empty for the first one. Others fill in the form, and may be given more than once.
fn page_token(context: &Context) -> &str {
    let mut tokens = context.parameters().iter().filter(|(name, _)| name == PAGE_TOKEN);
    tokens.next().map(|(_, token)| token.as_str()).unwrap_or_default()
}

fn table(context: &Context, replays: &[Replay]) -> Markup {
    html! {
        div.table {
            table.cards {
                thead {
                    tr { @for name in COLUMNS { th scope="col" { (name) } } }
                }
                tbody { @for replay in replays { (row(context, replay)) } }
            }
        }
    }
}

fn row(context: &Context, replay: &Replay) -> Markup {
    let Replay { number, filter, reason, actor, started_at, .. } = replay;
    html! {
        tr data-row {
            th.main scope="row" { a href=(context.path(&format!("/replays/{number}"))) { "Replay " (number) } }
            td data-label="State" { (state(replay)) }
            td data-label="What" { div { (filter::in_words(context, filter)) } }
            td data-label="Jobs" { (jobs(replay)) }
            td data-label="Reason" { @if let Some(reason) = reason { (parts::cut(reason, MAX_REASON_CHARS)) } }
            td data-label="By" { (parts::text(actor)) }
            td.nowrap data-label="Started" { (parts::dated(*started_at, context.now)) }
        }
    }
}

/// The state of a replay, and how far it is.
fn state(replay: &Replay) -> Markup {
    let tone = match replay.state {
        ReplayState::Running => Tone::Busy,
        ReplayState::Completed => Tone::Good,
        ReplayState::Cancelled => Tone::Plain,
    };
    html! {
        div.row {
            (parts::badge(tone, replay.state.as_str()))
            @if replay.dry_run { (parts::badge(Tone::Plain, "dry run")) }
            @if replay.state == ReplayState::Running { (percent(replay.progress)) }
        }
    }
}

/// A share in percent. A replay that is not over has not all of it.
fn percent(share: f64) -> String {
    format!("{} %", (share * 100.0).clamp(0.0, 99.0).floor())
}

/// How many jobs run again, or would.
fn jobs(replay: &Replay) -> String {
    let jobs = number(replay.counts.jobs);
    if replay.dry_run { format!("{jobs} counted") } else { jobs }
}

/// What a replay has left as it was, in words: each kind of which there is any.
fn left(counts: &ReplayCounts) -> Vec<String> {
    let kinds = [
        (count(counts.unfinished, "job is", "jobs are"), "not finished", counts.unfinished),
        (
            count(counts.payload_gone, "job has", "jobs have"),
            "lost its payload by retention",
            counts.payload_gone,
        ),
        (
            count(counts.route_gone, "job is", "jobs are"),
            "of a route that is gone from the settings",
            counts.route_gone,
        ),
        (count(counts.without_jobs, "webhook has", "webhooks have"), "no jobs", counts.without_jobs),
    ];
    kinds
        .into_iter()
        .filter(|(_, _, count)| *count > 0)
        .map(|(which, why, _)| format!("{which} {why}"))
        .collect()
}

/// The time before which webhooks were accepted that are stored at this time.
fn after(time: Timestamp) -> Timestamp {
    // Ids have whole milliseconds.
    time.saturating_add(SignedDuration::from_millis(1)).unwrap_or(time)
}
