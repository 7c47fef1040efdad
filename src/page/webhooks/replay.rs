//! The link from the list to the form for a replay of what it lists.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::domain::job::Status;
use crate::page::context::Context;
use crate::page::replays::{STATUSES, link_to_form};
use crate::service::ReplayFilter;

/// The link that opens the form with the filter of the list. Nothing for a caller who may not operate, if the list has no
/// filter, if none of the jobs that it asks for can run again, and if the form cannot hold the filter.
pub(super) fn link(context: &Context, filter: &ReplayFilter) -> Markup {
    html! {
        @if let Some(path) = path(filter).filter(|_| context.may_operate()) {
            a.button href=(context.path(&path)) { "Replay these…" }
        }
    }
}

/// The path of the form with the filter of the list, and those of its statuses that a replay takes.
fn path(filter: &ReplayFilter) -> Option<String> {
    if *filter == ReplayFilter::default() {
        return None;
    }
    let is_asked_for = |status: &Status| filter.statuses.is_empty() || filter.statuses.contains(status);
    let statuses = STATUSES.into_iter().filter(is_asked_for).collect::<BTreeSet<_>>();
    if statuses.is_empty() {
        return None;
    }
    link_to_form(&ReplayFilter { statuses, ..filter.clone() })
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
        path(&Asked::read(&parameters, now).wanted.expect("valid").filter)
    }

    #[test]
    fn a_replay_gets_every_filter_of_the_list() {
        let filters = "status=completed&route=a&source=b&event_type=c\
             &accepted_after=2026-03-01T12%3A00%3A00Z&accepted_before=2026-03-01T13%3A00%3A00Z\
             &verdict=unverified&cause=signature_missing&idempotency_key=d&trace_id=4bf92f3577b34da6a3ce929d0e0e4736\
             &error_contains=e&body_contains=+g&body_pointer=%2Ff&body_equals=7";
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
