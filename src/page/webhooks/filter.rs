//! The filters of the list of webhooks: one table, of which the form and the query are made. Their names are those of
//! `GET /v1/webhooks`.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::form::{FIND, Field, Names};
use crate::domain::body_filter::BodyFilter;
use crate::domain::error::{Error, Result};
use crate::domain::filter::{FilterText, TraceId};
use crate::domain::id::Position;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::verdict::{Cause, VerdictFilter};
use crate::domain::webhook::{EventType, IdempotencyKey, Source};
use crate::page::parts::status_word;
use crate::page::verdict::{causes, verdicts};
use crate::service::{DEFAULT_PAGE_SIZE, ListQuery, MAX_PAGE_SIZE};

/// The parameter that names a page.
pub(super) const PAGE_TOKEN: &str = "page_token";

/// The statuses of jobs that are not final, as one choice.
const UNFINISHED: &str = "pending,processing,retrying";

/// The choices of how long ago webhooks were accepted at most: value, text and seconds.
const WITHIN: [(&str, &str, i64); 5] = [
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
    /// Narrows the query. Called also if the filter is not given.
    read: Read,
}

type Read = fn(&mut ListQuery, &Values, Timestamp) -> Result<()>;

/// Every parameter, in the order of the form.
pub(super) const FILTERS: &[Filter] = &[
    Filter { name: "status", field: Field::Choice("Status", statuses), read: read_statuses },
    Filter {
        name: "route",
        field: Field::Choice("Route", |names| named(&names.routes)),
        read: |query, values, _| {
            query.route = values.given("route").map(RouteName::new).transpose()?;
            Ok(())
        },
    },
    Filter {
        name: "source",
        field: Field::Choice("Source", |names| named(&names.sources)),
        read: |query, values, _| {
            query.source = values.given("source").map(Source::new).transpose()?;
            Ok(())
        },
    },
    Filter {
        name: "event_type",
        field: Field::Text("Event type"),
        read: |query, values, _| {
            query.event_type = values.given("event_type").map(EventType::new).transpose()?;
            Ok(())
        },
    },
    Filter { name: "within", field: Field::Choice("Accepted within", |_| within()), read: read_within },
    Filter {
        name: "accepted_after",
        field: Field::More("Accepted after (UTC)"),
        read: |query, values, _| {
            let after = time("accepted_after", values)?;
            query.accepted_after = query.accepted_after.max(after);
            Ok(())
        },
    },
    Filter {
        name: "accepted_before",
        field: Field::More("Accepted before (UTC)"),
        read: |query, values, _| {
            query.accepted_before = time("accepted_before", values)?;
            Ok(())
        },
    },
    Filter {
        name: "idempotency_key",
        field: Field::More("Key"),
        read: |query, values, _| {
            query.idempotency_key = values.given("idempotency_key").map(IdempotencyKey::new).transpose()?;
            Ok(())
        },
    },
    Filter {
        name: "trace_id",
        field: Field::More("Trace"),
        read: |query, values, _| {
            query.trace_id = values.given("trace_id").map(TraceId::new).transpose()?;
            Ok(())
        },
    },
    Filter {
        name: "error_contains",
        field: Field::More("Last error has"),
        read: |query, values, _| {
            let text = values.given("error_contains");
            query.error_contains = text.map(|text| FilterText::new("error_contains", text)).transpose()?;
            Ok(())
        },
    },
    Filter { name: "verdict", field: Field::MoreChoice("Verdict", |_| verdicts()), read: read_verdict },
    Filter { name: "cause", field: Field::MoreChoice("Cause", |_| causes()), read: nothing },
    Filter { name: "body_contains", field: Field::More("Body has the text"), read: read_body },
    Filter { name: "body_pointer", field: Field::More("Body, at the JSON pointer"), read: nothing },
    Filter { name: "body_equals", field: Field::More("equals"), read: nothing },
    Filter { name: "page_size", field: Field::Kept, read: read_page_size },
    Filter {
        name: PAGE_TOKEN,
        field: Field::OfPage,
        read: |query, values, _| {
            query.before = values.given(PAGE_TOKEN).map(str::parse::<Position>).transpose()?;
            Ok(())
        },
    },
];

/// The names of all parameters.
pub(super) fn parameters() -> Vec<&'static str> {
    FILTERS.iter().map(|filter| filter.name).chain([FIND]).collect()
}

/// The values that a request gives to filters.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// The value of a filter; empty if it is not given.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The value of a filter; none if it is empty or not given.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// Whether the list has to look into texts, which takes longer than looking at names.
    pub(super) fn search_texts(&self) -> bool {
        ["error_contains", "trace_id", "body_contains", "body_equals"]
            .iter()
            .any(|name| self.given(name).is_some())
    }
}

/// What a request asks the list for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The values, as they were given.
    pub(super) values: Values,
    /// The query, or what is wrong with a value.
    pub(super) query: Result<ListQuery>,
}

impl Asked {
    /// Reads the parameters of a request, and leaves out those that are no filters. `status` can be given several times.
    pub(super) fn read(parameters: &[(String, String)], now: Timestamp) -> Self {
        let (mut values, mut twice) = (Values::default(), None);
        for (name, value) in parameters {
            let Some(filter) = FILTERS.iter().find(|filter| filter.name == name) else { continue };
            match values.0.get_mut(filter.name) {
                None => {
                    values.0.insert(filter.name, value.clone());
                }
                Some(list) if filter.name == "status" => {
                    list.push(',');
                    list.push_str(value);
                }
                Some(_) => twice = Some(filter.name),
            }
        }
        let query = match twice {
            Some(name) => Err(Error::invalid(name, "is given more than once; give it once")),
            None => query(&values, now),
        };
        Self { values, query }
    }
}

fn query(values: &Values, now: Timestamp) -> Result<ListQuery> {
    let mut query = ListQuery::default();
    FILTERS.iter().try_for_each(|filter| (filter.read)(&mut query, values, now))?;
    Ok(query)
}

/// Of a filter that another one reads, too.
fn nothing(_: &mut ListQuery, _: &Values, _: Timestamp) -> Result<()> {
    Ok(())
}

fn read_statuses(query: &mut ListQuery, values: &Values, _: Timestamp) -> Result<()> {
    let words = values.get("status").split(',').map(str::trim).filter(|word| !word.is_empty());
    query.statuses = words.map(str::parse::<Status>).collect::<Result<_>>()?;
    Ok(())
}

fn read_within(query: &mut ListQuery, values: &Values, now: Timestamp) -> Result<()> {
    let Some(given) = values.given("within") else { return Ok(()) };
    let Some((.., seconds)) = WITHIN.into_iter().find(|(value, ..)| *value == given) else {
        let known = WITHIN.map(|(value, ..)| value).join(", ");
        return Err(Error::invalid("within", format_args!("must be one of {known}")));
    };
    query.accepted_after = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
    Ok(())
}

fn read_verdict(query: &mut ListQuery, values: &Values, _: Timestamp) -> Result<()> {
    let verdict = values.given("verdict").map(str::parse::<VerdictFilter>).transpose()?;
    let cause = values.given("cause").map(str::parse::<Cause>).transpose()?;
    query.verdict = VerdictFilter::new(verdict, cause)?;
    Ok(())
}

fn read_body(query: &mut ListQuery, values: &Values, _: Timestamp) -> Result<()> {
    let [pointer, equals, contains] =
        ["body_pointer", "body_equals", "body_contains"].map(|name| values.get(name));
    query.body = BodyFilter::from_fields(pointer, equals, contains)?;
    Ok(())
}

fn read_page_size(query: &mut ListQuery, values: &Values, _: Timestamp) -> Result<()> {
    let wrong = || Error::invalid("page_size", format_args!("must be a number from 1 to {MAX_PAGE_SIZE}"));
    query.limit = match values.given("page_size") {
        None => DEFAULT_PAGE_SIZE,
        Some(text) => {
            text.parse().ok().filter(|size| (1..=MAX_PAGE_SIZE).contains(size)).ok_or_else(wrong)?
        }
    };
    Ok(())
}

/// The time in a filter: as RFC 3339 writes it, or without an offset from UTC, or a date.
fn time(name: &'static str, values: &Values) -> Result<Option<Timestamp>> {
    let Some(text) = values.given(name).map(str::trim) else { return Ok(None) };
    let in_utc = || Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    match text.parse::<Timestamp>().ok().or_else(in_utc) {
        Some(time) => Ok(Some(time)),
        None => Err(Error::invalid(name, "must be a time such as 2026-03-01 12:30, or 2026-03-01T12:30:00Z")),
    }
}

fn statuses(_: &Names) -> Vec<(String, String)> {
    let unfinished = (UNFINISHED.to_owned(), "unfinished".to_owned());
    let each = Status::ALL.map(|status| (status.as_str().to_owned(), status_word(status)));
    [unfinished].into_iter().chain(each).collect()
}

fn named(names: &[String]) -> Vec<(String, String)> {
    names.iter().map(|name| (name.clone(), name.clone())).collect()
}

fn within() -> Vec<(String, String)> {
    WITHIN.map(|(value, text, _)| (value.to_owned(), text.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOW: &str = "2026-03-01T12:00:00Z";

    fn asked(query: &str) -> Asked {
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>();
        Asked::read(&parameters, NOW.parse().expect("a time"))
    }

    fn read(text: &str) -> ListQuery {
        asked(text).query.unwrap_or_else(|error| panic!("{text}: {error}"))
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
            assert_eq!(asked.query.expect_err(text).field(), Some(field), "{text}");
        }
        assert_eq!(asked("status=done&route=A").values.get("route"), "A");
    }
}
