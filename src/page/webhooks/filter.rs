//! The parameters of the list of webhooks: the members of a filter, and which page of the list. The form is made of them.
//! Their names are those of `GET /v1/webhooks`.

use jiff::{SignedDuration, Timestamp};

use super::form::{FIND, Field, Names};
use crate::domain::error::{Error, Result};
use crate::domain::id::Position;
use crate::domain::job::Status;
use crate::page::filter::{STATUS, Values};
use crate::page::parts::status_word;
use crate::page::verdict::{causes, verdicts};
use crate::service::{DEFAULT_PAGE_SIZE, ListQuery, MAX_PAGE_SIZE, ReplayFilter};

/// The parameter that names a page.
pub(super) const PAGE_TOKEN: &str = "page_token";

/// The number of webhooks of a page.
const PAGE_SIZE: &str = "page_size";

/// How long ago webhooks were accepted at most.
const WITHIN: &str = "within";

/// The statuses of jobs that are not final, as one choice.
const UNFINISHED: &str = "pending,processing,retrying";

/// The choices of [`WITHIN`]: value, text and seconds.
const SPANS: [(&str, &str, i64); 5] = [
    ("15m", "15 minutes", 15 * 60),
    ("1h", "An hour", 60 * 60),
    ("24h", "24 hours", 24 * 60 * 60),
    ("7d", "7 days", 7 * 24 * 60 * 60),
    ("30d", "30 days", 30 * 24 * 60 * 60),
];

/// A parameter of the list.
pub(super) struct Filter {
    /// Its name.
    pub(super) name: &'static str,
    /// How the form asks for it.
    pub(super) field: Field,
}

/// Every parameter, in the order of the form.
pub(super) const FILTERS: &[Filter] = &[
    Filter { name: STATUS, field: Field::Choice("Status", statuses) },
    Filter { name: "route", field: Field::Choice("Route", |names| named(&names.routes)) },
    Filter { name: "source", field: Field::Choice("Source", |names| named(&names.sources)) },
    Filter { name: "event_type", field: Field::Text("Event type") },
    Filter { name: WITHIN, field: Field::Choice("Accepted within", |_| spans()) },
    Filter { name: "accepted_after", field: Field::More("Accepted after (UTC)") },
    Filter { name: "accepted_before", field: Field::More("Accepted before (UTC)") },
    Filter { name: "idempotency_key", field: Field::More("Key") },
    Filter { name: "trace_id", field: Field::More("Trace") },
    Filter { name: "error_contains", field: Field::More("Last error has") },
    Filter { name: "verdict", field: Field::MoreChoice("Verdict", |_| verdicts()) },
    Filter { name: "cause", field: Field::MoreChoice("Cause", |_| causes()) },
    Filter { name: "body_contains", field: Field::More("Body has the text") },
    Filter { name: "body_pointer", field: Field::More("Body, at the JSON pointer") },
    Filter { name: "body_equals", field: Field::More("equals") },
    Filter { name: PAGE_SIZE, field: Field::Kept },
    Filter { name: PAGE_TOKEN, field: Field::OfPage },
];

/// The names of all parameters.
pub(super) fn parameters() -> Vec<&'static str> {
    FILTERS.iter().map(|filter| filter.name).chain([FIND]).collect()
}

/// Whether a list has to look into texts, which takes longer than looking at names.
pub(super) fn searches_texts(values: &Values) -> bool {
    ["error_contains", "trace_id", "body_contains", "body_equals"]
        .iter()
        .any(|name| values.given(name).is_some())
}

/// What a request asks the list for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The values, as they were given.
    pub(super) values: Values,
    /// What to list, or what is wrong with a value.
    pub(super) wanted: Result<Wanted>,
}

/// What to list.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Which webhooks.
    pub(super) filter: ReplayFilter,
    /// One page of them.
    pub(super) query: ListQuery,
}

impl Asked {
    /// Reads the parameters of a request, and leaves out those that are no filters. `status` can be given several times.
    pub(super) fn read(parameters: &[(String, String)], now: Timestamp) -> Self {
        let (mut values, mut twice) = (Values::default(), None);
        for (name, value) in parameters {
            let Some(filter) = FILTERS.iter().find(|filter| filter.name == name) else { continue };
            twice = values.add(filter.name, value).err().or(twice);
        }
        let wanted = match twice {
            Some(error) => Err(error),
            None => wanted(&values, now),
        };
        Self { values, wanted }
    }
}

fn wanted(values: &Values, now: Timestamp) -> Result<Wanted> {
    let mut filter = values.filter()?;
    filter.accepted_after = filter.accepted_after.max(within(values, now)?);
    let before = values.given(PAGE_TOKEN).map(str::parse::<Position>).transpose()?;
    // The script goes on with a search, so no view has to look for long.
    let query = ListQuery { before, limit: page_size(values)?, brief: true, ..filter.query()? };
    Ok(Wanted { filter, query })
}

/// The time since which webhooks were accepted.
fn within(values: &Values, now: Timestamp) -> Result<Option<Timestamp>> {
    let Some(given) = values.given(WITHIN) else { return Ok(None) };
    let Some((.., seconds)) = SPANS.into_iter().find(|(value, ..)| *value == given) else {
        let known = SPANS.map(|(value, ..)| value).join(", ");
        return Err(Error::invalid(WITHIN, format_args!("must be one of {known}")));
    };
    Ok(now.checked_sub(SignedDuration::from_secs(seconds)).ok())
}

fn page_size(values: &Values) -> Result<usize> {
    let Some(text) = values.given(PAGE_SIZE) else { return Ok(DEFAULT_PAGE_SIZE) };
    let wrong = || Error::invalid(PAGE_SIZE, format_args!("must be a number from 1 to {MAX_PAGE_SIZE}"));
    text.parse().ok().filter(|size| (1..=MAX_PAGE_SIZE).contains(size)).ok_or_else(wrong)
}

fn statuses(_: &Names) -> Vec<(String, String)> {
    let unfinished = (UNFINISHED.to_owned(), "unfinished".to_owned());
    let each = Status::ALL.map(|status| (status.as_str().to_owned(), status_word(status)));
    [unfinished].into_iter().chain(each).collect()
}

fn named(names: &[String]) -> Vec<(String, String)> {
    names.iter().map(|name| (name.clone(), name.clone())).collect()
}

fn spans() -> Vec<(String, String)> {
    SPANS.map(|(value, text, _)| (value.to_owned(), text.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::page::filter::members;

    const NOW: &str = "2026-03-01T12:00:00Z";

    fn asked(query: &str) -> Asked {
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>();
        Asked::read(&parameters, NOW.parse().expect("a time"))
    }

    fn read(text: &str) -> ListQuery {
        asked(text).wanted.unwrap_or_else(|error| panic!("{text}: {error}")).query
    }

    #[test]
    fn every_member_of_a_filter_is_a_parameter() {
        for member in members() {
            assert!(FILTERS.iter().any(|filter| filter.name == member.name), "{}", member.name);
        }
    }

    #[test]
    fn no_parameter_asks_for_the_newest_page() {
        let query = read("");
        assert_eq!((query.limit, query.before, query.accepted_after), (DEFAULT_PAGE_SIZE, None, None));
        assert!(query.statuses.is_empty() && query.body.is_none() && query.verdict.is_none());
        let empty = FILTERS.iter().map(|filter| format!("{}=", filter.name)).collect::<Vec<_>>().join("&");
        assert_eq!(format!("{:?}", read(&empty)), format!("{query:?}"), "empty fields of the form");
    }

    #[test]
    fn statuses_are_given_several_times_or_separated_by_commas() {
        let all = [Status::Pending, Status::Retrying, Status::Completed];
        for text in ["status=completed,pending,retrying", "status=completed&status=pending,&status=retrying"]
        {
            assert_eq!(read(text).statuses, BTreeSet::from(all), "{text}");
        }
    }

    #[test]
    fn times_are_absolute_or_relative_and_the_later_one_counts() {
        let after = |text: &str| read(text).accepted_after.map(|time| time.to_string());
        assert_eq!(after("within=1h").as_deref(), Some("2026-03-01T11:00:00Z"));
        assert_eq!(after("within=1h&accepted_after=2026-03-01").as_deref(), Some("2026-03-01T11:00:00Z"));
        for text in ["2026-03-01T13:30:00%2B02:00", "2026-03-01 11:30", "2026-03-01T11:30:00"] {
            assert_eq!(
                after(&format!("within=1h&accepted_after={text}")).as_deref(),
                Some("2026-03-01T11:30:00Z")
            );
        }
        let before = read("accepted_before=2026-03-01").accepted_before.map(|time| time.to_string());
        assert_eq!(before.as_deref(), Some("2026-03-01T00:00:00Z"));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_filter_and_the_values_are_kept() {
        for (text, field) in [
            ("status=done", "status"),
            ("route=A", "route"),
            ("source=A", "source"),
            ("event_type=%00", "event_type"),
            ("within=1y", "within"),
            ("accepted_after=yesterday", "accepted_after"),
            ("accepted_before=1", "accepted_before"),
            ("idempotency_key=%0a", "idempotency_key"),
            ("trace_id=1", "trace_id"),
            ("verdict=good", "verdict"),
            ("cause=bad", "cause"),
            ("verdict=verified&cause=signature_missing", "cause"),
            ("body_pointer=/a", "body_equals"),
            ("body_pointer=a&body_equals=1", "body_pointer"),
            ("page_size=501", "page_size"),
            ("page_token=x", "page_token"),
            ("route=a&route=b", "route"),
        ] {
            let asked = asked(text);
            assert_eq!(asked.wanted.expect_err(text).field(), Some(field), "{text}");
        }
        assert_eq!(asked("status=done&route=A").values.get("route"), "A");
    }
}
