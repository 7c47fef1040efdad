//! Which webhooks a list or a replay is about.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::complete::{causes, statuses, verdicts};
use super::dates::{clock_time, moment};
use super::names::Wanted;
use super::server::usage;
use crate::cli::Failure;

/// Which webhooks a list or a replay is about: those that match every filter that is given. Which values are allowed is
/// for hookbox to say.
#[derive(Clone, Debug, Args)]
pub(super) struct Filters {
    /// Only webhooks with a job in one of these statuses; given several times, or separated by commas
    #[arg(long, value_delimiter = ',', add = ArgValueCandidates::new(statuses))]
    status: Vec<String>,
    #[command(flatten)]
    pub(super) wanted: Wanted,
    /// Only webhooks with this verdict: none, verified or unverified
    #[arg(long, add = ArgValueCandidates::new(verdicts))]
    verdict: Option<String>,
    /// Only webhooks that are unverified for this cause
    #[arg(long, add = ArgValueCandidates::new(causes))]
    cause: Option<String>,
    /// Only webhooks with exactly this key, from --source or from any
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Only webhooks that were accepted in this trace: 32 hexadecimal digits
    #[arg(long, value_name = "ID")]
    trace_id: Option<String>,
    /// Only webhooks with a job that failed and whose last error contains this text
    #[arg(long, value_name = "TEXT")]
    error_contains: Option<String>,
    /// Where --body-equals is in the body: a JSON pointer such as /order/id [default: the whole body]
    #[arg(long, value_name = "POINTER")]
    body_pointer: Option<String>,
    /// Only webhooks whose body has this value at --body-pointer: a JSON value, or the text of a string
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    body_equals: Option<String>,
    /// Only webhooks whose body, as the sender sent it, contains this text
    #[arg(long, value_name = "TEXT")]
    body_contains: Option<String>,
    /// Only webhooks accepted at or after this time, or this long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only webhooks accepted before this time, or before this long ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Filters {
    /// The parameters of a list. Errors: a time is not valid.
    pub(super) fn parameters(&self, now: Timestamp) -> Result<Vec<(&'static str, String)>, Failure> {
        let mut parameters = self.others(now)?;
        parameters.extend(self.statuses().map(|status| ("status", status.to_owned())));
        Ok(parameters)
    }

    /// The members of the filter of a replay; empty if no filter is given. Errors: a time is not valid.
    pub(super) fn members(&self, now: Timestamp) -> Result<Map<String, Value>, Failure> {
        let others = self.others(now)?.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
        let mut members = others.collect::<Map<_, _>>();
        let statuses = self.statuses().map(Value::from).collect::<Vec<_>>();
        if !statuses.is_empty() {
            members.insert("status".to_owned(), statuses.into());
        }
        Ok(members)
    }

    fn statuses(&self) -> impl Iterator<Item = &str> {
        self.status.iter().map(String::as_str).filter(|status| !status.is_empty())
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
        let given = others.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Ok(given.filter(|(_, value)| !value.is_empty()).collect())
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
        let arguments =
            ["--status", "completed,cancelled", "--route", "orders", "--since", "1h", "--source", ""];
        let filters = filters(&arguments);
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
        assert!(filters(&["--status", ""]).parameters(now()).expect("valid").is_empty());
        assert!(filters(&["--until", "yesterday"]).members(now()).is_err());
    }
}
