//! The link from the list to the form for a replay of what it lists.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::filter::Values;
use crate::domain::job::Status;
use crate::page::context::Context;
use crate::page::replays::{STATUSES, link_to_form};
use crate::service::{ListQuery, ReplayFilter};

/// The link that opens the form with the filter of the list. Nothing for a caller who may not operate, if the list has no
/// filter, if none of the jobs that it asks for can run again, and if the form cannot hold the filter.
pub(super) fn link(context: &Context, values: &Values, query: &ListQuery) -> Markup {
    let path = filter(values, query).as_ref().and_then(link_to_form);
    html! {
        @if let Some(path) = path.filter(|_| context.may_operate()) {
            a.button href=(context.path(&path)) { "Replay these…" }
        }
    }
}

/// The filter of the list as one of a replay: with the statuses that a replay takes, and the times that are meant now.
fn filter(values: &Values, query: &ListQuery) -> Option<ReplayFilter> {
    let text = |name: &str| values.given(name).map(ToOwned::to_owned);
    let filter = ReplayFilter {
        statuses: query.statuses.clone(),
        route: query.route.clone(),
        source: query.source.clone(),
        event_type: query.event_type.clone(),
        verdict: text("verdict"),
        cause: text("cause"),
        idempotency_key: text("idempotency_key"),
        trace_id: text("trace_id"),
        error_contains: text("error_contains"),
        body_pointer: text("body_pointer"),
        body_equals: text("body_equals"),
        body_contains: text("body_contains"),
        accepted_after: query.accepted_after,
        accepted_before: query.accepted_before,
    };
    if filter == ReplayFilter::default() {
        return None;
    }
    let is_asked_for = |status: &Status| query.statuses.is_empty() || query.statuses.contains(status);
    let statuses = STATUSES.into_iter().filter(is_asked_for).collect::<BTreeSet<_>>();
    (!statuses.is_empty()).then_some(ReplayFilter { statuses, ..filter })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::page::webhooks::filter::Asked;

    /// The link for a list with these parameters.
    fn linked(query: &str) -> Option<String> {
        let now = "2026-03-01T12:00:00.5Z".parse::<Timestamp>().expect("a time");
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>();
        let Asked { values, query } = Asked::read(&parameters, now);
        filter(&values, &query.expect("valid")).as_ref().and_then(link_to_form)
    }

    #[test]
    fn a_replay_gets_every_filter_of_the_list() {
        let others = "route=a&source=b&event_type=c&verdict=unverified&cause=signature_missing&idempotency_key=d\
             &trace_id=4bf92f3577b34da6a3ce929d0e0e4736&error_contains=e&body_pointer=%2Ff&body_equals=7&body_contains=+g";
        let times = "accepted_after=2026-03-01T12%3A00%3A00Z&accepted_before=2026-03-01T13%3A00%3A00Z";
        let filters = format!("status=completed&{others}&{times}");
        assert_eq!(linked(&format!("{filters}&page_size=10")), Some(format!("/replays?{filters}#new")));
        let within = "/replays?status=completed&accepted_after=2026-03-01T11%3A00%3A00.5Z#new";
        assert_eq!(linked("within=1h&status=completed").as_deref(), Some(within));
    }

    #[test]
    fn a_replay_gets_only_the_statuses_of_finished_jobs() {
        for (asked, expected) in [
            ("status=retrying,dead_lettered", Some("/replays?status=dead_lettered#new")),
            ("status=completed,cancelled", Some("/replays?status=completed&status=cancelled#new")),
            ("route=a", Some("/replays?status=completed&status=dead_lettered&status=cancelled&route=a#new")),
            ("status=pending", None),
            ("status=quarantined&source=a", None),
        ] {
            assert_eq!(linked(asked).as_deref(), expected, "{asked}");
        }
    }

    #[test]
    fn without_a_filter_or_with_one_that_a_form_cannot_hold_there_is_no_link() {
        for asked in ["", "page_size=10", "body_contains=a%0Ab"] {
            assert_eq!(linked(asked), None, "{asked}");
        }
    }
}
