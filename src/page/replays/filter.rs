//! Which webhooks a replay is about: as a link, and in words.

use maud::{Markup, html};

use crate::page::context::{Context, with_query};
use crate::page::filter::pairs;
use crate::page::parts;
use crate::service::ReplayFilter;

/// The most characters of a text of a filter in words.
const MAX_TEXT_CHARS: usize = 100;

/// The path of the form for a new replay, filled in with a filter. None if the form cannot hold it: browsers change line
/// breaks in texts, and have no NUL.
pub(in crate::page) fn link_to_form(filter: &ReplayFilter) -> Option<String> {
    let pairs = pairs(filter);
    let is_kept = pairs.iter().all(|(_, value)| !value.contains(['\0', '\r', '\n']));
    let pairs = pairs.iter().map(|(name, value)| (*name, value.as_str()));
    is_kept.then(|| with_query("/replays", pairs) + "#new")
}

/// The members of a filter that are texts, in words.
fn texts(filter: &ReplayFilter) -> impl Iterator<Item = (&'static str, &str)> {
    let all = [
        ("verdict", &filter.verdict),
        ("cause", &filter.cause),
        ("idempotency key", &filter.idempotency_key),
        ("trace", &filter.trace_id),
        ("error with", &filter.error_contains),
        ("body at", &filter.body_pointer),
        ("body with the value", &filter.body_equals),
        ("body with the text", &filter.body_contains),
    ];
    all.into_iter().filter_map(|(words, text)| Some((words, text.as_deref()?)))
}

/// A filter in words, with a link to its webhooks.
pub(super) fn in_words(context: &Context, filter: &ReplayFilter) -> Markup {
    let pairs = pairs(filter);
    let link = with_query("/webhooks", pairs.iter().map(|(name, value)| (*name, value.as_str())));
    html! {
        @if filter.statuses.is_empty() {
            "Finished jobs"
        } @else {
            @for (at, status) in filter.statuses.iter().enumerate() {
                @if at > 0 { ", " }
                (parts::status_word(*status))
            }
            " jobs"
        }
        @if let Some(route) = &filter.route { " of the route " (parts::route_link(context, route)) }
        @if let Some(source) = &filter.source { " of the source " (parts::source_link(context, source)) }
        @if let Some(event_type) = &filter.event_type { " with the event type " code { (parts::text(event_type.as_str())) } }
        @for (words, text) in texts(filter) { ", " (words) " " code { (parts::cut(text, MAX_TEXT_CHARS)) } }
        @if let Some(after) = filter.accepted_after { ", accepted from " (parts::exact(after)) }
        @if let Some(before) = filter.accepted_before { ", accepted before " (parts::exact(before)) }
        " · " a href=(context.path(&link)) { "Show their webhooks" }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::job::Status;
    use crate::domain::route::RouteName;
    use crate::domain::webhook::{EventType, Source};
    use crate::page::replays::fields::{Fields, parameters};

    #[test]
    fn a_link_fills_in_the_form_with_the_same_filter() {
        let text = |text: &str| Some(text.to_owned());
        let filter = ReplayFilter {
            statuses: BTreeSet::from([Status::Completed, Status::DeadLettered]),
            route: Some(RouteName::new("orders").expect("valid")),
            source: Some(Source::default()),
            event_type: Some(EventType::new(" paid ").expect("valid")),
            verdict: text("unverified"),
            cause: text("signature_missing"),
            idempotency_key: text("evt-ż"),
            trace_id: text("4bf92f3577b34da6a3ce929d0e0e4736"),
            error_contains: text(" 503 & more"),
            body_pointer: text("/order/id"),
            body_equals: text("\"7\""),
            body_contains: text("\t"),
            accepted_after: Some("2026-03-01T12:00:00Z".parse().expect("a time")),
            accepted_before: Some("2026-03-01T12:00:01.5Z".parse().expect("a time")),
        };
        let link = link_to_form(&filter).expect("a link");
        let query =
            link.strip_prefix("/replays?").and_then(|link| link.strip_suffix("#new")).expect("the form");
        let given = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>();
        let (filled_in, problem) = Fields::of_link(&given);
        assert!(problem.is_none(), "{problem:?}");
        assert_eq!(filled_in.values.filter().expect("valid"), filter);
        assert!(given.iter().all(|(name, _)| parameters().any(|known| known == name)), "{link}");
        for text in ["two\nlines", "\r", "\0"] {
            let filter = ReplayFilter { error_contains: Some(text.to_owned()), ..ReplayFilter::default() };
            assert_eq!(link_to_form(&filter), None, "{text:?}");
        }
    }
}
