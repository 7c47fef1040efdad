//! The fields of the form for a new replay: every member of the filter, and how the replay runs. Links fill them in.

use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::page::context::FORM_TOKEN;
use crate::page::filter::{STATUS, Values, members};

/// The statuses of jobs that a replay can run again.
pub(in crate::page) const STATUSES: [Status; 3] =
    [Status::DeadLettered, Status::Cancelled, Status::Completed];

/// The fields other than those of [`members`].
const OTHERS: [&str; 3] = [STATUS, "rate", "reason"];

/// The field that says `false` if the jobs run again without being counted first. The form of the page does not have it.
const DRY_RUN: &str = "dry_run";

/// How many characters of the name of an unknown field are told.
const MAX_NAME_CHARS: usize = 60;

/// The names of the parameters that fill in the form.
pub(super) fn parameters() -> impl Iterator<Item = &'static str> {
    members().map(|member| member.name).chain(OTHERS)
}

/// The fields of the form, as they are filled in.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) values: Values,
    /// Whether the jobs are only counted. True unless the form says `false`.
    pub(super) is_dry_run: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self { values: Values::default(), is_dry_run: true }
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

    /// Of the parameters of a link, or to show a form again. Others are left out. The error is `InvalidField` for one that
    /// is given twice, of which the first is kept.
    pub(super) fn of_link(pairs: &[(String, String)]) -> (Self, Option<Error>) {
        let (mut fields, mut problem) = (Self::default(), None);
        for (name, value) in pairs {
            problem = fields.take(name, value).err().or(problem);
        }
        (fields, problem)
    }

    /// Takes a field. Returns false if there is none of this name.
    fn take(&mut self, name: &str, value: &str) -> Result<bool> {
        if name == DRY_RUN {
            self.is_dry_run = value.trim() != "false";
        } else if let Some(member) = members().find(|member| member.name == name) {
            self.values.add(member.name, member.trimmed(value))?;
        } else if let Some(other) = OTHERS.into_iter().find(|other| *other == name) {
            self.values.add(other, value.trim())?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::route::RouteName;
    use crate::domain::webhook::{EventType, Source};
    use crate::service::ReplayFilter;

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
        let values = filled_in.values;
        assert_eq!(values.filter().expect("valid"), expected);
        assert_eq!((values.given("rate"), values.given("reason")), (Some("50/s"), None));
        for (name, wrong) in [("status", "done"), ("route", "A B"), ("accepted_after", "yesterday")] {
            assert_eq!(form(&[(name, wrong)]).values.filter().expect_err(wrong).field(), Some(name));
        }
        for far in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59", "0000-12-31T23:59:59Z", "0000-12-31T23:59"]
        {
            let refused = form(&[("accepted_before", far)]).values.filter().expect_err(far);
            assert!(refused.detail().contains("is out of range"), "{refused:?}");
        }
    }

    #[test]
    fn an_unknown_field_of_a_form_is_refused_and_one_of_a_link_is_left_out() {
        let unknown = pairs(&[("route", "a"), ("error", "503")]);
        assert_eq!(Fields::of_form(&unknown).expect_err("refused").field(), Some("error"));
        let (left_out, problem) = Fields::of_link(&unknown);
        assert!(left_out.values.get("route") == "a" && problem.is_none());
        let twice = pairs(&[("route", "a"), ("route", "b")]);
        assert_eq!(Fields::of_form(&twice).expect_err("refused").field(), Some("route"));
        let (first, problem) = Fields::of_link(&twice);
        assert_eq!(first.values.get("route"), "a");
        assert_eq!(problem.expect("told").field(), Some("route"));
    }
}
