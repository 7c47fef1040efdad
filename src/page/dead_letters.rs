//! Dead letters in groups by route and error, so that a fault that hit many is seen, fixed and retried as one.

mod groups;
mod retry;

use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use self::groups::{Group, groups};
use self::retry::retry;
use super::Paths;
use super::context::{Context, Nav, with_query};
use super::parts::{self, Button, Tone, choice, confirmed, count, cut, dated, number};
use super::replays::link_to_form;
use crate::domain::error::{Reason, Result};
use crate::domain::id::Position;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::service::{ListQuery, Page, ReplayFilter};

/// How many webhooks are looked at: the newest ones with a dead letter.
const LOOKED_AT: usize = 500;

/// How many groups are shown, the largest ones.
const SHOWN_GROUPS: usize = 100;

/// How many characters of an error are shown.
const ERROR_CHARS: usize = 300;

/// The parameter that names a page.
const PAGE_TOKEN: &str = "page_token";

/// The parameters of the view, with the names of `GET /v1/webhooks`.
const PARAMETERS: [&str; 3] = ["route", "source", PAGE_TOKEN];

/// Which dead letters are looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    route: String,
    source: String,
    page_token: String,
}

impl Asked {
    /// Errors: `InvalidField`.
    fn query(&self) -> Result<ListQuery> {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Ok(ListQuery {
            statuses: [Status::DeadLettered].into(),
            route: given(&self.route).map(RouteName::new).transpose()?,
            source: given(&self.source).map(Source::new).transpose()?,
            before: given(&self.page_token).map(|token| token.parse::<Position>()).transpose()?,
            limit: LOOKED_AT,
            ..ListQuery::default()
        })
    }

    /// The path to the same dead letters.
    fn path(&self) -> String {
        let parameters = [("route", &self.route), ("source", &self.source), (PAGE_TOKEN, &self.page_token)];
        let given = parameters.into_iter().filter(|(_, value)| !value.is_empty());
        with_query("/dead-letters", given.map(|(name, value)| (name, value.as_str())))
    }
}

pub(super) fn routes() -> Paths {
    Paths::default().get("/dead-letters", show).post("/dead-letters/retry", retry)
}

async fn show(context: Context) -> Response {
    let asked = match context.query::<Asked>() {
        Ok(asked) => asked,
        Err(error) => return context.failed(&error),
    };
    let found = found(&context, &asked).await;
    // Without the names, the form still has that of the filter.
    let names = context.service.routes().await.unwrap_or_default();
    let names = names.into_iter().map(|stats| stats.route.to_string()).collect::<Vec<_>>();
    let view = |found: Markup| {
        html! {
            (parts::head("Dead letters", parts::nothing()))
            section.card aria-label="Filters" { (filters(&context, &asked, names)) }
            (found)
        }
    };
    match found {
        Ok(found) => context.page_of(&PARAMETERS, "Dead letters", Nav::DeadLetters, view(found)),
        Err(error) if error.reason() == Reason::InvalidField => {
            context.refused(&error, "Dead letters", Nav::DeadLetters, view(parts::wrong_filter(&error)))
        }
        Err(error) => context.failed(&error),
    }
}

/// The groups. Errors: `InvalidField`; those of the store.
async fn found(context: &Context, asked: &Asked) -> Result<Markup> {
    let query = asked.query()?;
    let only = query.route.clone();
    let page = context.service.list(query).await?;
    let groups = groups(&page.webhooks, only.as_ref());
    let next = page.next.as_ref().map(ToString::to_string);
    let is_live = asked.page_token.is_empty();
    Ok(html! {
        div id="groups" data-live[is_live] {
            p.muted { (looked_at(context, &page, &groups)) }
            section.card aria-label="Groups" {
                @if groups.is_empty() {
                    (none(&page))
                } @else {
                    (table(context, asked, &groups, page.next.is_some()))
                }
            }
            (parts::pager(context, PAGE_TOKEN, next.as_deref()))
        }
    })
}

fn filters(context: &Context, asked: &Asked, mut routes: Vec<String>) -> Markup {
    if !asked.route.is_empty() && !routes.contains(&asked.route) {
        routes.push(asked.route.clone());
    }
    let any = [("", "any".to_owned())];
    let routes = any.into_iter().chain(routes.iter().map(|route| (route.as_str(), route.clone())));
    let fields = html! {
        (choice("Route", "route", &asked.route, routes))
        (parts::input("Source", "source", &asked.source))
    };
    parts::filters(context, "/dead-letters", fields)
}

/// How many dead letters there are, and how far the view looked.
fn looked_at(context: &Context, page: &Page, groups: &[Group]) -> Markup {
    let dead = groups.iter().map(|group| group.webhooks.len() as u64).sum::<u64>();
    html! {
        (count(dead, "dead letter", "dead letters")) " in " (count(groups.len() as u64, "group", "groups"))
        @match page.searched_to() {
            None => { ". These are all." },
            Some(time) if page.webhooks.len() < LOOKED_AT => {
                ", of the webhooks accepted since " (parts::moment(time, context.now)) ". Older ones may have more."
            },
            Some(_) => {
                ", of the newest " (number(LOOKED_AT as u64)) " webhooks with a dead letter. “Older” goes on from there."
            },
        }
    }
}

fn none(page: &Page) -> Markup {
    if page.next.is_some() {
        parts::empty("No dead letters so far.", "“Older” goes on from where this search has stopped.")
    } else {
        parts::empty("There are no dead letters.", "")
    }
}

/// The groups. `has_more` says that there may be further dead letters, which were not looked at.
fn table(context: &Context, asked: &Asked, groups: &[Group], has_more: bool) -> Markup {
    html! {
        div.table {
            table.cards {
                thead {
                    tr {
                        @for name in ["Error", "Route"] { th scope="col" { (name) } }
                        th.num scope="col" { "Dead letters" }
                        @for name in ["First", "Last"] { th scope="col" { (name) } }
                        th scope="col" { span.visually-hidden { "Actions" } }
                    }
                }
                tbody { @for group in groups.iter().take(SHOWN_GROUPS) { (row(context, asked, group, has_more)) } }
            }
        }
        @if groups.len() > SHOWN_GROUPS {
            @let left_out = (groups.len() - SHOWN_GROUPS) as u64;
            p.muted { (count(left_out, "smaller group is", "smaller groups are")) " left out." }
        }
    }
}

fn row(context: &Context, asked: &Asked, group: &Group, has_more: bool) -> Markup {
    let retried = count(group.webhooks.len() as u64, "dead letter", "dead letters");
    let question = format!("{retried} of {} start a new run, with all their attempts.", group.route);
    let fields = html! {
        input type="hidden" name="group" value=(group.name);
        input type="hidden" name="route" value=(asked.route);
        input type="hidden" name="source" value=(asked.source);
        input type="hidden" name=(PAGE_TOKEN) value=(asked.page_token);
        (parts::reason())
    };
    let button = Button::new("/dead-letters/retry", "Retry").tone(Tone::Good).fields(fields);
    let replay = replayed(asked, group).filter(|_| context.may_operate());
    html! {
        tr data-row {
            td.main.long {
                a href=(context.path(&listed(asked, group))) {
                    @if group.error.is_empty() { "without an error" } @else { (cut(&group.error, ERROR_CHARS)) }
                }
                @if group.common.is_none() && group.webhooks.len() > 1 {
                    div.small.muted { "No text tells this group from others: the link opens its newest webhook." }
                }
            }
            td data-label="Route" { (parts::route_link(context, &group.route)) }
            td.num data-label="Dead letters" { (size(group.webhooks.len(), has_more)) }
            td data-label="First" { (dated(group.first, context.now)) }
            td data-label="Last" { (dated(group.last, context.now)) }
            td {
                (confirmed(context, &button, &question))
                @if let Some(path) = &replay {
                    a.button.quiet href=(context.path(path)) { "Replay all of this group…" }
                }
            }
        }
    }
}

/// How many dead letters a group has, in words: there can be more if the view looked at no more.
fn size(found: usize, has_more: bool) -> String {
    let found_all = found < LOOKED_AT || !has_more;
    let found = number(found as u64);
    if found_all { found } else { format!("{found} or more") }
}

/// The path of the form for a replay of a whole group: of all dead letters of the route whose error has the text that all
/// errors of the group have. None if there is no such text, which would mean all dead letters of the route.
fn replayed(asked: &Asked, group: &Group) -> Option<String> {
    link_to_form(&ReplayFilter {
        statuses: [Status::DeadLettered].into(),
        route: Some(group.route.clone()),
        // What was listed by it is valid; an empty one is none.
        source: Source::new(asked.source.as_str()).ok(),
        error_contains: Some(group.common.clone()?),
        ..ReplayFilter::default()
    })
}

/// The path to the list of the webhooks of a group. Without a text that all its errors have, the list would have others,
/// too, so the path is that of its newest webhook.
fn listed(asked: &Asked, group: &Group) -> String {
    if let (None, Some(newest)) = (&group.common, group.webhooks.first()) {
        return format!("/webhooks/{newest}");
    }
    let common = group.common.as_deref().unwrap_or_default();
    let parameters = [
        ("status", Status::DeadLettered.as_str()),
        ("route", group.route.as_str()),
        ("source", asked.source.as_str()),
        ("error_contains", common),
    ];
    with_query("/webhooks", parameters.into_iter().filter(|(_, value)| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_fills_the_view_can_have_more_dead_letters() {
        for (found, has_more, expected) in
            [(LOOKED_AT, true, "500 or more"), (LOOKED_AT, false, "500"), (LOOKED_AT - 1, true, "499")]
        {
            assert_eq!(size(found, has_more), expected);
        }
    }
}
