//! All routes: their jobs, whether they start, and what keeps them from it.

use axum::response::Response;
use maud::{Markup, html};

use super::Paths;
use super::action::Action;
use super::context::{Context, Nav};
use super::parts::{self, count};
use super::pauses::{self, Pausing};
use super::route::state::{self, COUNTS, Recent};
use crate::service::policy_view::PolicyView;
use crate::service::{PauseTarget, RouteStats, Stats};

pub(super) fn routes() -> Paths {
    Paths::default().get("/routes", list).post("/pause", pause).post("/resume", resume)
}

async fn list(context: Context) -> Response {
    match context.service.stats().await {
        Ok(stats) => context.page("Routes", Nav::Routes, body(&context, &stats)),
        Err(error) => context.failed(&error),
    }
}

async fn pause(Action(context, form): Action<Pausing>) -> Response {
    pauses::pause(&context, PauseTarget::Everything, form).await
}

async fn resume(Action(context, form): Action<Pausing>) -> Response {
    pauses::resume(&context, PauseTarget::Everything, form).await
}

fn body(context: &Context, stats: &Stats) -> Markup {
    let everything = stats.pauses.iter().find(|pause| pause.target == PauseTarget::Everything);
    let (in_force, gone): (Vec<_>, Vec<_>) = stats.routes.iter().partition(|route| route.settings.is_some());
    let held = gone.iter().map(|route| route.counts.unfinished()).sum::<u64>();
    let recent = state::recent(context);
    html! {
        div id="routes" data-live {
            (parts::head("Routes", pauses::everything(context, everything.is_some())))
            @if let Some(pause) = everything {
                (pauses::notice(context, "Everything", pause))
            }
            section.card {
                @if in_force.is_empty() {
                    (parts::empty("There is no route that this token sees.", ""))
                } @else {
                    (table(context, &in_force, &recent))
                }
            }
            @if !gone.is_empty() {
                section.card {
                    h2 { "Gone from the settings" }
                    p.muted {
                        @if held > 0 {
                            (count(held, "job waits", "jobs wait"))
                            " for a route that the settings no longer have. Open the route to cancel them, or to move them "
                            "to another one. If the settings have the route again, they go on."
                        } @else {
                            "These routes have finished jobs only."
                        }
                    }
                    (table(context, &gone, &recent))
                }
            }
        }
    }
}

fn table(context: &Context, routes: &[&RouteStats], recent: &Recent) -> Markup {
    html! {
        div.table {
            table.cards.wide {
                thead {
                    tr {
                        th scope="col" { "Route" }
                        th scope="col" { "State" }
                        th scope="col" { "Handler" }
                        th.num scope="col" { "Running" }
                        @for (name, _) in COUNTS { th.num scope="col" { (name) } }
                        th.num scope="col" { "Oldest due" }
                        th.num scope="col" { "Attempts" }
                        th scope="col" { span.visually-hidden { "Actions" } }
                    }
                }
                tbody { @for stats in routes { (row(context, stats, recent)) } }
            }
        }
    }
}

fn row(context: &Context, stats: &RouteStats, recent: &Recent) -> Markup {
    let route = &stats.route;
    let policy = stats.settings.as_deref().map(|settings| PolicyView::from(&settings.policy));
    let handler = stats.settings.as_deref().map(|settings| settings.policy.handler.name());
    let attempts = state::per_second(recent.get(route.as_str()));
    html! {
        tr data-row {
            th.main scope="row" { (parts::route_link(context, route)) }
            td data-label="State" { (state::badges(context, stats)) }
            td data-label="Handler" { @if let Some(handler) = handler { (parts::text(handler)) } @else { "–" } }
            td.num data-label="Running" { (state::in_use(stats)) }
            @for (name, status) in COUNTS { td.num data-label=(name) { (state::jobs(context, stats, status)) } }
            td.num data-label="Oldest due" { (state::oldest_due(stats)) }
            td.num data-label="Attempts" {
                (parts::rate(attempts)) "/s"
                @if let Some(limit) = policy.and_then(|policy| policy.rate) {
                    " " span.muted { "of " (limit) }
                }
            }
            td {
                @if stats.settings.is_some() && !context.caller.has_limited_sources() {
                    (pauses::in_list(context, &PauseTarget::Route(route.clone()), stats.pause.is_some()))
                }
            }
        }
    }
}
