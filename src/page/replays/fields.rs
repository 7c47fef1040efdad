//! The fields of the form for a new replay: every member of the filter of a replay, and how it runs. Links fill them in.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::webhook::{EventType, Source};
use crate::page::context::FORM_TOKEN;
use crate::service::ReplayFilter;

/// The statuses of jobs that a replay can run again.
pub(in crate::page) const STATUSES: [Status; 3] =
    [Status::DeadLettered, Status::Cancelled, Status::Completed];

/// The field for a status, which can be there several times.
const STATUS: &str = "status";

/// The field that says `false` if the jobs run again without being counted first. The form of the page does not have it.
const DRY_RUN: &str = "dry_run";

/// The fields that are one text each: the members of a filter besides `status`, the rate and the reason.
const TEXTS: [&str; 15] = [
    "route",
    "source",
    "event_type",
    "verdict",
    "cause",
    "idempotency_key",
    "trace_id",
    "error_contains",
    "body_pointer",
    "body_equals",
    "body_contains",
    "accepted_after",
    "accepted_before",
    "rate",
    "reason",
];

/// Those of which white space at both ends counts.
const EXACT: [&str; 6] =
    ["event_type", "idempotency_key", "error_contains", "body_pointer", "body_equals", "body_contains"];

/// How many characters of the name of an unknown field are told.
const MAX_NAME_CHARS: usize = 60;

/// The names of the parameters that fill in the form.
pub(super) fn parameters() -> impl Iterator<Item = &'static str> {
    TEXTS.into_iter().chain([STATUS])
}

/// The fields of the form, as they are filled in.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) statuses: Vec<String>,
    texts: BTreeMap<&'static str, String>,
    /// Whether the jobs are only counted. True unless the form says `false`.
    pub(super) is_dry_run: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self { statuses: Vec::new(), texts: BTreeMap::new(), is_dry_run: true }
    }
}

impl Fields {
    /// Of a form that was sent. Errors: `InvalidField` for a field that there is not, because the replay would be about
    /// more than what was meant, and for one that is given twice.
    pub(super) fn of_form(pairs: &[(String, String)]) -> Result<Self> {
        let mut fields = Self::default();
        for (name, value) in pairs.iter().filter(|(name, _)| name != FORM_TOKEN) {
            if !fields.take(name, value)? {
                let name = name.chars().take(MAX_NAME_CHARS).collect::<String>();
                let problem =
                    "is no field of a replay, so nothing was started; leave it out, or correct its name";
                return Err(Error::invalid(name, problem));
            }
        }
        Ok(fields)
    }

    /// Of the parameters of a link. Others are left out. Errors: `InvalidField` for one that is given twice.
    pub(super) fn of_link(pairs: &[(String, String)]) -> Result<Self> {
        let mut fields = Self::default();
        for (name, value) in pairs {
            fields.take(name, value)?;
        }
        Ok(fields)
    }

    /// Takes a field. Returns false if there is none of this name.
    fn take(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            STATUS => {
                let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
                self.statuses.extend(words.map(ToOwned::to_owned));
            }
            DRY_RUN => self.is_dry_run = value.trim() != "false",
            name => {
                let Some(name) = TEXTS.into_iter().find(|known| *known == name) else { return Ok(false) };
                let value = if EXACT.contains(&name) { value } else { value.trim() };
                if self.texts.insert(name, value.to_owned()).is_some() {
                    return Err(Error::invalid(name, "is given more than once; give it once"));
                }
            }
        }
        Ok(true)
    }

    /// A field; empty if it is not filled in.
    pub(super) fn get(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    /// A field that is filled in.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|text| !text.is_empty())
    }

    /// The filter that they say. Errors: `InvalidField`. The texts are not checked.
    pub(super) fn filter(&self) -> Result<ReplayFilter> {
        let text = |name: &str| self.given(name).map(ToOwned::to_owned);
        let statuses = self.statuses.iter().map(|word| word.parse::<Status>());
        // Named one by one, so that none can be forgotten.
        Ok(ReplayFilter {
            statuses: statuses.collect::<Result<BTreeSet<_>>>()?,
            route: self.given("route").map(RouteName::new).transpose()?,
            source: self.given("source").map(Source::new).transpose()?,
            event_type: self.given("event_type").map(EventType::new).transpose()?,
            verdict: text("verdict"),
            cause: text("cause"),
            idempotency_key: text("idempotency_key"),
            trace_id: text("trace_id"),
            error_contains: text("error_contains"),
            body_pointer: text("body_pointer"),
            body_equals: text("body_equals"),
            body_contains: text("body_contains"),
            accepted_after: self.time("accepted_after")?,
            accepted_before: self.time("accepted_before")?,
        })
    }

    /// A time as browsers write it, which means UTC here, or as RFC 3339 writes it.
    fn time(&self, name: &'static str) -> Result<Option<Timestamp>> {
        let Some(text) = self.given(name) else { return Ok(None) };
        let parsed =
            text.parse::<Timestamp>().or_else(|_| TimeZone::UTC.to_timestamp(text.parse::<DateTime>()?));
        parsed
            .map(Some)
            .map_err(|_| Error::invalid(name, "must be a time in UTC, such as 2026-03-01T12:00:00Z"))
    }

    /// A time for a field of the browser, which takes no zone and no more than milliseconds. Times of acceptance have no
    /// more either. A text that is no time stays as it is.
    pub(super) fn browser_time(&self, name: &'static str) -> String {
        let Ok(Some(time)) = self.time(name) else { return self.get(name).to_owned() };
        let time = Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time);
        time.to_string().trim_end_matches('Z').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn form(fields: &[(&str, &str)]) -> Fields {
        Fields::of_form(&pairs(fields)).expect("known fields")
    }

    #[test]
    fn a_form_is_a_dry_run_unless_it_says_otherwise() {
        assert!(
            form(&[]).is_dry_run
                && form(&[("dry_run", "true")]).is_dry_run
                && form(&[("dry_run", "")]).is_dry_run
        );
        assert!(!form(&[("dry_run", "false")]).is_dry_run);
    }

    #[test]
    fn every_field_is_a_member_of_the_filter_that_it_names() {
        let text = |text: &str| Some(text.to_owned());
        let filled_in = form(&[
            ("form_token", "x"),
            ("status", "dead_lettered,cancelled"),
            ("status", "completed"),
            ("route", " orders "),
            ("source", "shop"),
            ("event_type", " paid"),
            ("verdict", "unverified"),
            ("cause", "signature_missing"),
            ("idempotency_key", "evt-1 "),
            ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("error_contains", " 503"),
            ("body_pointer", "/id"),
            ("body_equals", " 7"),
            ("body_contains", "x "),
            ("accepted_after", "2026-03-01T12:00"),
            ("accepted_before", "2026-03-01T12:00:01.5Z"),
            ("rate", " 50/s"),
            ("reason", ""),
        ]);
        let expected = ReplayFilter {
            statuses: BTreeSet::from(STATUSES),
            route: Some(RouteName::new("orders").expect("valid")),
            source: Some(Source::new("shop").expect("valid")),
            event_type: Some(EventType::new(" paid").expect("valid")),
            verdict: text("unverified"),
            cause: text("signature_missing"),
            idempotency_key: text("evt-1 "),
            trace_id: text("4bf92f3577b34da6a3ce929d0e0e4736"),
            error_contains: text(" 503"),
            body_pointer: text("/id"),
            body_equals: text(" 7"),
            body_contains: text("x "),
            accepted_after: Some("2026-03-01T12:00:00Z".parse().expect("a time")),
            accepted_before: Some("2026-03-01T12:00:01.5Z".parse().expect("a time")),
        };
        assert_eq!(filled_in.filter().expect("valid"), expected);
        assert_eq!((filled_in.given("rate"), filled_in.given("reason")), (Some("50/s"), None));
        for (name, wrong) in [("status", "done"), ("route", "A B"), ("accepted_after", "yesterday")] {
            assert_eq!(form(&[(name, wrong)]).filter().expect_err(wrong).field(), Some(name));
        }
    }

    #[test]
    fn an_unknown_field_of_a_form_is_refused_and_one_of_a_link_is_left_out() {
        let unknown = pairs(&[("route", "a"), ("error", "503")]);
        assert_eq!(Fields::of_form(&unknown).expect_err("refused").field(), Some("error"));
        assert_eq!(Fields::of_link(&unknown).expect("left out").get("route"), "a");
        let twice = pairs(&[("route", "a"), ("route", "b")]);
        for fields in [Fields::of_form(&twice), Fields::of_link(&twice)] {
            assert_eq!(fields.expect_err("refused").field(), Some("route"));
        }
    }

    #[test]
    fn a_time_of_a_link_is_written_for_the_browser() {
        for (given, expected) in [
            ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00"),
            ("2026-03-01T13:00:00.123456789+01:00", "2026-03-01T12:00:00.123"),
            ("2026-03-01T12:00", "2026-03-01T12:00:00"),
            ("yesterday", "yesterday"),
            ("", ""),
        ] {
            assert_eq!(form(&[("accepted_after", given)]).browser_time("accepted_after"), expected);
        }
    }
}
