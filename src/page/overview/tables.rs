//! What each route and each source did in the last 60 minutes, so far as the caller sees it.

use maud::{Markup, html};

use crate::access::Caller;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::page::chart::spark;
use crate::page::context::Context;
use crate::page::parts::{self, number};
use crate::telemetry::history::{RouteTotals, SourceTotals, Spread};

/// The quantiles of how long handlers take, by their names.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];

/// The routes that the caller sees, with what they did.
pub(super) fn routes_seen(caller: &Caller, all: Vec<RouteTotals>) -> Vec<(RouteName, RouteTotals)> {
    // The numbers of a route are those of all sources.
    if caller.has_limited_sources() {
        return Vec::new();
    }
    let named = all.into_iter().filter_map(|totals| {
        let route = RouteName::new(totals.route.as_str()).ok()?;
        Some((route, totals))
    });
    named.filter(|(route, _)| caller.sees_route(route)).collect()
}

/// The sources that the caller sees, with what came from them.
pub(in crate::page) fn sources_seen(caller: &Caller, all: Vec<SourceTotals>) -> Vec<(Source, SourceTotals)> {
    // The numbers of a source are those of all routes.
    if caller.has_limited_routes() {
        return Vec::new();
    }
    let named = all.into_iter().filter_map(|totals| {
        let source = Source::new(totals.source.as_str()).ok()?;
        Some((source, totals))
    });
    named.filter(|(source, _)| caller.sees_source(source)).collect()
}

pub(super) fn routes(context: &Context) -> Markup {
    let routes = routes_seen(&context.caller, context.service.metrics().history().routes());
    html! {
        section.card {
            h2 { "Handlers by route" }
            @if routes.is_empty() {
                (parts::empty("No handler has run in the last 60 minutes.", ""))
            } @else {
                div.table {
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "Route" }
                                th.num scope="col" { "Attempts" }
                                th scope="col" { span.visually-hidden { "Course" } }
                                @for (name, _) in QUANTILES { th.num scope="col" { (name) } }
                                th.num scope="col" { "Failed" }
                                th.num scope="col" { "Dead" }
                            }
                        }
                        tbody { @for (route, totals) in &routes { (of_route(context, route, totals)) } }
                    }
                }
            }
        }
    }
}

fn of_route(context: &Context, route: &RouteName, totals: &RouteTotals) -> Markup {
    html! {
        tr data-row {
            th.main scope="row" { (parts::route_link(context, route)) }
            td.num data-label="Attempts" { (number(totals.ended())) }
            td { (spark(&totals.attempts)) }
            @for (name, share) in QUANTILES { td.num data-label=(name) { (quantile(&totals.handling, share)) } }
            td.num data-label="Failed" { (number(totals.failed)) }
            td.num data-label="Dead" { (number(totals.dead_lettered)) }
        }
    }
}

fn quantile(spread: &Spread, share: f64) -> String {
    spread.quantile(share).map_or_else(|| "–".to_owned(), parts::seconds)
}

pub(super) fn sources(context: &Context) -> Markup {
    let sources = sources_seen(&context.caller, context.service.metrics().history().sources());
    html! {
        section.card {
            h2 { "Sources" }
            @if sources.is_empty() {
                (parts::empty("Nothing came in the last 60 minutes.", ""))
            } @else {
                div.table {
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "Source" }
                                th.num scope="col" { "Accepted" }
                                th scope="col" { span.visually-hidden { "Course" } }
                                th.num scope="col" { "Refused" }
                                th.num scope="col" { "Unverified" }
                            }
                        }
                        tbody {
                            @for (source, totals) in &sources {
                                tr data-row {
                                    th.main scope="row" { (parts::source_link(context, source)) }
                                    td.num data-label="Accepted" { (number(totals.accepted)) }
                                    td { (spark(&totals.accepted_by_point)) }
                                    td.num data-label="Refused" { (number(totals.refused)) }
                                    td.num data-label="Unverified" { (number(totals.unverified)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
