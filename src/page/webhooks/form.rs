//! The form of the filters.

use maud::{Markup, html};

use super::filter::{FILTERS, Filter};
use crate::domain::webhook::Source;
use crate::page::context::Context;
use crate::page::filter::Values;
use crate::page::parts::{choice, filters, input, nothing};

/// The parameter with an id, a key or a trace to look for.
pub(super) const FIND: &str = "find";

/// How the form asks for a filter, with its label.
pub(super) enum Field {
    /// One of several values.
    Choice(&'static str, Choices),
    /// A text.
    Text(&'static str),
    /// One of several values, among those that are rarely asked for.
    MoreChoice(&'static str, Choices),
    /// A text, among those that are rarely asked for.
    More(&'static str),
    /// Not at all. The form keeps the value.
    Kept,
    /// Not at all. The value is that of one page.
    OfPage,
}

/// The values to choose from, each with what is shown. Without a value, the filter is not there.
type Choices = fn(&Names) -> Vec<(String, String)>;

/// The names to choose from.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The routes of the settings, and those that still have jobs.
    pub(super) routes: Vec<String>,
    /// The sources of the settings, and the two that are always there.
    pub(super) sources: Vec<String>,
}

impl Names {
    /// The names that the caller sees. If the store cannot be read, those of routes or sources are missing.
    pub(super) async fn seen(context: &Context) -> Self {
        let routes = context.service.routes().await.unwrap_or_default();
        let sources = context.service.source_list().await.unwrap_or_default();
        let always = [Source::default(), Source::own()];
        let always = always.into_iter().filter(|source| context.caller.sees_source(source));
        let sources = sources.into_iter().map(|view| view.source).chain(always);
        let mut sources = sources.map(|source| source.to_string()).collect::<Vec<_>>();
        sources.sort();
        sources.dedup();
        Self { routes: routes.iter().map(|stats| stats.route.to_string()).collect(), sources }
    }
}

/// The form, filled in with these values. If they are wrong, none of them is among the choices that was not there.
pub(super) fn form(context: &Context, values: &Values, names: &Names, is_wrong: bool) -> Markup {
    let of = |filter: &Filter| field(filter, values, names, is_wrong);
    let is_more = |filter: &&Filter| matches!(filter.field, Field::More(_) | Field::MoreChoice(..));
    let has_more = FILTERS.iter().filter(is_more).any(|filter| values.given(filter.name).is_some());
    let fields = html! {
        label.field {
            span { "Id, key or trace" }
            // The key `/` of other views leads to it by this id.
            input type="search" id="find" name=(FIND) autocomplete="off" spellcheck="false";
        }
        @for filter in FILTERS.iter().filter(|filter| !is_more(filter)) { (of(filter)) }
        details.more id="more-filters" open[has_more] {
            summary { "More filters" }
            div.fields { @for filter in FILTERS.iter().filter(is_more) { (of(filter)) } }
        }
    };
    filters(context, "/webhooks", fields)
}

fn field(filter: &Filter, values: &Values, names: &Names, is_wrong: bool) -> Markup {
    let value = values.get(filter.name);
    match filter.field {
        Field::Text(label) | Field::More(label) => input(label, filter.name, value),
        Field::Choice(label, choices) | Field::MoreChoice(label, choices) => {
            let mut choices = choices(names);
            let is_known = value.is_empty() || choices.iter().any(|(choice, _)| choice == value);
            if !is_known && !is_wrong {
                // Such as several statuses, or a route that is gone.
                choices.push((value.to_owned(), value.replace(',', ", ")));
            }
            let any = [("", "any".to_owned())];
            let others = choices.iter().map(|(choice, shown)| (choice.as_str(), shown.clone()));
            choice(label, filter.name, value, any.into_iter().chain(others))
        }
        Field::Kept => html! {
            @if !value.is_empty() { input type="hidden" name=(filter.name) value=(value); }
        },
        Field::OfPage => nothing(),
    }
}
