//! Which webhooks a list or a replay is about. Each member of the filter is described once: forms ask for it by a field,
//! and links give it as a parameter.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::verdict::{causes, verdicts};
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::time::{in_range, is_time, out_of_range};
use crate::domain::webhook::{EventType, Source};
use crate::service::ReplayFilter;

/// The name of the statuses. They can be given several times, or separated by commas.
pub(super) const STATUS: &str = "status";

/// A member of a filter other than the statuses.
pub(super) struct Member {
    /// The name of its field and its parameter: that of the parameter of `GET /v1/webhooks`.
    pub(super) name: &'static str,
    /// The label of its field in the form for a replay.
    pub(super) label: &'static str,
    /// What its value is.
    pub(super) kind: Kind,
}

/// What the value of a member is, and where it is in the filter.
pub(super) enum Kind {
    /// The name of a route.
    Route,
    /// The name of a source.
    Source,
    /// An event type.
    EventType,
    /// A time.
    Time(Place<Timestamp>),
    /// One of several words, each with what is shown.
    Choice(Place<String>, fn() -> Vec<(String, String)>),
    /// A word. White space around it does not count.
    Word(Place<String>),
    /// A text. White space counts.
    Text(Place<String>),
}

/// Where a value is in a filter.
type Place<T> = fn(&mut ReplayFilter) -> &mut Option<T>;

/// The members that are often given, in the order of the form for a replay.
pub(super) const USUAL: &[Member] = &[
    Member { name: "route", label: "Route", kind: Kind::Route },
    Member { name: "source", label: "Source", kind: Kind::Source },
    Member { name: "event_type", label: "Event type", kind: Kind::EventType },
    Member {
        name: "accepted_after",
        label: "Accepted from (UTC)",
        kind: Kind::Time(|filter| &mut filter.accepted_after),
    },
    Member {
        name: "accepted_before",
        label: "Accepted before (UTC)",
        kind: Kind::Time(|filter| &mut filter.accepted_before),
    },
];

/// The members that are rarely given, in the order of the form for a replay.
pub(super) const MORE: &[Member] = &[
    Member { name: "verdict", label: "Verdict", kind: Kind::Choice(|filter| &mut filter.verdict, verdicts) },
    Member { name: "cause", label: "Cause", kind: Kind::Choice(|filter| &mut filter.cause, causes) },
    Member { name: "idempotency_key", label: "Key", kind: Kind::Text(|filter| &mut filter.idempotency_key) },
    Member { name: "trace_id", label: "Trace", kind: Kind::Word(|filter| &mut filter.trace_id) },
    Member {
        name: "error_contains",
        label: "Last error has",
        kind: Kind::Text(|filter| &mut filter.error_contains),
    },
    Member {
        name: "body_contains",
        label: "Body has the text",
        kind: Kind::Text(|filter| &mut filter.body_contains),
    },
    Member {
        name: "body_pointer",
        label: "Body, at the JSON pointer",
        kind: Kind::Text(|filter| &mut filter.body_pointer),
    },
    Member { name: "body_equals", label: "equals", kind: Kind::Text(|filter| &mut filter.body_equals) },
];

/// All members other than the statuses.
pub(super) fn members() -> impl Iterator<Item = &'static Member> {
    USUAL.iter().chain(MORE)
}

impl Member {
    /// A value without the white space that does not count.
    pub(super) fn trimmed<'a>(&self, value: &'a str) -> &'a str {
        match self.kind {
            Kind::EventType | Kind::Text(_) => value,
            Kind::Route | Kind::Source | Kind::Time(_) | Kind::Choice(..) | Kind::Word(_) => value.trim(),
        }
    }

    /// Reads a value into a filter. Errors: `InvalidField`.
    fn read(&self, text: &str, filter: &mut ReplayFilter) -> Result<()> {
        match self.kind {
            Kind::Route => filter.route = Some(RouteName::new(text)?),
            Kind::Source => filter.source = Some(Source::new(text)?),
            Kind::EventType => filter.event_type = Some(EventType::new(text)?),
            Kind::Time(place) => {
                *place(filter) = Some(time(text).ok_or_else(|| Error::invalid(self.name, no_time(text)))?);
            }
            Kind::Choice(place, _) | Kind::Word(place) | Kind::Text(place) => {
                *place(filter) = Some(text.to_owned());
            }
        }
        Ok(())
    }

    /// Takes the value out of a filter, as a text.
    fn take(&self, filter: &mut ReplayFilter) -> Option<String> {
        match self.kind {
            Kind::Route => filter.route.take().map(|route| route.to_string()),
            Kind::Source => filter.source.take().map(|source| source.to_string()),
            Kind::EventType => filter.event_type.take().map(|event_type| event_type.to_string()),
            Kind::Time(place) => place(filter).take().map(|time| time.to_string()),
            Kind::Choice(place, _) | Kind::Word(place) | Kind::Text(place) => place(filter).take(),
        }
    }
}

/// A filter as parameters of a link.
pub(super) fn pairs(filter: &ReplayFilter) -> Vec<(&'static str, String)> {
    let mut rest = filter.clone();
    let statuses = filter.statuses.iter().map(|status| (STATUS, status.to_string()));
    let others = members().filter_map(|member| Some((member.name, member.take(&mut rest)?)));
    statuses.chain(others).collect()
}

/// A time: as RFC 3339 writes it, or without an offset from UTC, as browsers write it, or a date.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let in_utc = || Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    text.parse::<Timestamp>().ok().or_else(in_utc).and_then(in_range)
}

/// What is wrong with a text that [`time`] cannot read, to continue a sentence that begins with it.
fn no_time(text: &str) -> String {
    let text = text.trim();
    if is_time(text) || text.parse::<DateTime>().is_ok() {
        return out_of_range();
    }
    "must be a time in UTC, such as 2026-03-01 12:30 or 2026-03-01T12:30:00Z".to_owned()
}

/// The values of fields or parameters, by name.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// Adds a value. Errors: `InvalidField` if there is one already, unless it is a status. The first one stays.
    pub(super) fn add(&mut self, name: &'static str, value: &str) -> Result<()> {
        match self.0.get_mut(name) {
            None => self.set(name, value),
            Some(list) if name == STATUS => {
                list.push(',');
                list.push_str(value);
            }
            Some(_) => return Err(Error::invalid(name, "is given more than once; give it once")),
        }
        Ok(())
    }

    /// Sets a value, in place of those that are there.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.0.insert(name, value.to_owned());
    }

    /// A value; empty if it is not given.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A value; none if it is empty or not given.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// The words that are given as statuses.
    pub(super) fn statuses(&self) -> impl Iterator<Item = &str> {
        self.get(STATUS).split(',').map(str::trim).filter(|word| !word.is_empty())
    }

    /// The filter. Errors: `InvalidField`. Its texts are not checked.
    pub(super) fn filter(&self) -> Result<ReplayFilter> {
        let statuses = self.statuses().map(str::parse::<Status>).collect::<Result<BTreeSet<_>>>()?;
        let mut filter = ReplayFilter { statuses, ..ReplayFilter::default() };
        for member in members() {
            if let Some(text) = self.given(member.name) {
                member.read(text, &mut filter)?;
            }
        }
        Ok(filter)
    }
}
