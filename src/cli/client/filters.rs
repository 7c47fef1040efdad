//! Which webhooks a list or a replay is about.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::complete::{causes, statuses, verdicts};
use super::dates::{clock_time, moment};
use super::names::{Wanted, not_empty};
use super::server::usage;
use crate::cli::Failure;

/// Which webhooks a list or a replay is about: those that match every filter that is given. Which values are allowed is
/// for hookbox to say.
#[derive(Clone, Debug, Args)]
pub(super) struct Filters {
    /// Only webhooks with a job in one of these statuses; given several times, or separated by commas
    #[arg(long, value_delimiter = ',', value_parser = not_empty, add = ArgValueCandidates::new(statuses))]
    status: Vec<String>,
    #[command(flatten)]
    pub(super) wanted: Wanted,
    /// Only webhooks with this verdict: none, verified or unverified
    #[arg(long, value_parser = not_empty, add = ArgValueCandidates::new(verdicts))]
    verdict: Option<String>,
    /// Only webhooks that are unverified for this cause
    #[arg(long, value_parser = not_empty, add = ArgValueCandidates::new(causes))]
    cause: Option<String>,
    /// Only webhooks with exactly this key, from --source or from any
    #[arg(long, value_name = "KEY", value_parser = not_empty)]
    idempotency_key: Option<String>,
    /// Only webhooks that were accepted in this trace: 32 hexadecimal digits
    #[arg(long, value_name = "ID", value_parser = not_empty)]
    trace_id: Option<String>,
    /// Only webhooks with a job that failed and whose last error contains this text
    #[arg(long, value_name = "TEXT", value_parser = not_empty)]
    error_contains: Option<String>,
    /// Where --body-equals is in the body: a JSON pointer such as /order/id [default: the whole body]
    #[arg(long, value_name = "POINTER")]
    body_pointer: Option<String>,
    /// Only webhooks whose body has this value at --body-pointer: a JSON value, or the text of a string
    #[arg(long, value_name = "VALUE", value_parser = not_empty, allow_negative_numbers = true)]
    body_equals: Option<String>,
    /// Only webhooks whose body, as the sender sent it, contains this text
    #[arg(long, value_name = "TEXT", value_parser = not_empty)]
    body_contains: Option<String>,
    /// Only webhooks accepted at or after this time, or this long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = not_empty)]
    since: Option<String>,
    /// Only webhooks accepted before this time, or before this long ago
    #[arg(long, value_name = "TIME", value_parser = not_empty)]
    until: Option<String>,
}

impl Filters {
    /// The parameters of a list. Errors: a time is not valid.
    pub(super) fn parameters(&self, now: Timestamp) -> Result<Vec<(&'static str, String)>, Failure> {
        let mut parameters = self.others(now)?;
        parameters.extend(self.status.iter().map(|status| ("status", status.clone())));
        Ok(parameters)
    }

    /// The members of the filter of a replay; empty if no filter is given. Errors: a time is not valid.
    pub(super) fn members(&self, now: Timestamp) -> Result<Map<String, Value>, Failure> {
        let others = self.others(now)?.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
        let mut members = others.collect::<Map<_, _>>();
        if !self.status.is_empty() {
            members.insert("status".to_owned(), self.status.clone().into());
        }
        Ok(members)
    }

    /// The filters besides the statuses, by their names in the contract.
    fn others(&self, now: Timestamp) -> Result<Vec<(&'static str, String)>, Failure> {
        let time = |text: Option<&str>| {
            let time = text.map(|text| moment(text, now).map_err(usage)).transpose()?;
            Ok::<_, Failure>(time.map(clock_time))
        };
        let Wanted { source, route, event_type } = self.wanted.clone();
        let others = [
            ("source", source),
            ("route", route),
            ("event_type", event_type),
            ("verdict", self.verdict.clone()),
            ("cause", self.cause.clone()),
            ("idempotency_key", self.idempotency_key.clone()),
            ("trace_id", self.trace_id.clone()),
            ("error_contains", self.error_contains.clone()),
            ("body_pointer", self.body_pointer.clone()),
            ("body_equals", self.body_equals.clone()),
            ("body_contains", self.body_contains.clone()),
            ("accepted_after", time(self.since.as_deref())?),
            ("accepted_before", time(self.until.as_deref())?),
        ];
        Ok(others.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        filters: Filters,
    }

    fn filters(arguments: &[&str]) -> Filters {
        Command::parse_from([&["list"][..], arguments].concat()).filters
    }

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn a_list_and_a_replay_take_the_same_filters() {
        let filters = filters(&["--status", "completed,cancelled", "--route", "orders", "--since", "1h"]);
        let since = "2026-03-01T11:00:00.000Z";
        let expected = [
            ("route", "orders"),
            ("accepted_after", since),
            ("status", "completed"),
            ("status", "cancelled"),
        ];
        let parameters = filters.parameters(now()).expect("valid");
        assert_eq!(parameters, expected.map(|(name, value)| (name, value.to_owned())));
        let expected =
            json!({ "route": "orders", "accepted_after": since, "status": ["completed", "cancelled"] });
        assert_eq!(Value::from(filters.members(now()).expect("valid")), expected);
    }

    #[test]
    fn a_filter_has_the_name_of_its_parameter() {
        for (name, value) in [
            ("source", "x"),
            ("route", "x"),
            ("verdict", "none"),
            ("cause", "signature_missing"),
            ("idempotency_key", "x"),
            ("trace_id", "x"),
            ("error_contains", " x "),
            ("body_pointer", "/x"),
            ("body_equals", "-7"),
            ("body_contains", "x"),
        ] {
            let flag = format!("--{}", name.replace('_', "-"));
            let parameters = filters(&[flag.as_str(), value]).parameters(now()).expect("valid");
            assert_eq!(parameters, [(name, value.to_owned())], "{flag}");
        }
    }

    #[test]
    fn a_filter_that_is_not_given_is_left_out() {
        assert!(filters(&[]).members(now()).expect("valid").is_empty());
        assert!(filters(&["--until", "yesterday"]).members(now()).is_err());
    }

    #[test]
    fn an_empty_filter_is_refused_by_its_flag() {
        for flag in [
            "--status",
            "--source",
            "--route",
            "--type",
            "--verdict",
            "--cause",
            "--idempotency-key",
            "--trace-id",
            "--error-contains",
            "--body-equals",
            "--body-contains",
            "--since",
            "--until",
        ] {
            let refused = Command::try_parse_from(["list", flag, ""]).map(|_| ()).expect_err(flag);
            assert!(refused.to_string().contains(flag), "{refused}");
        }
        assert!(Command::try_parse_from(["list", "--status", "completed,"]).is_err());
        let whole_body =
            filters(&["--body-pointer", "", "--body-equals", "7"]).parameters(now()).expect("valid");
        assert_eq!(whole_body, [("body_pointer", String::new()), ("body_equals", "7".to_owned())]);
    }
}
