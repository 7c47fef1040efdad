//! Reads the standard `OTEL_*` variables for traces. The SDK of OpenTelemetry reads most of them too, and ignores without
//! a word what it does not understand.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::layers::Origin;
use super::mistake::Mistake;
use crate::domain::secret::Secret;
use crate::telemetry::{Protocol, Traces};

/// How long an export may take, in milliseconds, and how many spans may wait for theirs: the defaults of OpenTelemetry.
const TIMEOUT_MS: u64 = 10_000;
const QUEUE_SIZE: usize = 2_048;

/// The most spans that may wait: the SDK takes the memory for all of them at its start.
const MAX_QUEUE_SIZE: usize = 1_000_000;

/// The samplers of the SDK.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// Where the environment says that traces are exported to; none if they are not.
pub(super) fn read(environment: &BTreeMap<String, Secret>) -> Result<Option<Traces>, Mistake> {
    let variables = Variables(environment);
    let endpoint = variables.first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
    let is_off = variables.value("OTEL_SDK_DISABLED").eq_ignore_ascii_case("true")
        || variables.value("OTEL_TRACES_EXPORTER") == "none";
    let Some((name, endpoint)) = endpoint.filter(|_| !is_off) else { return Ok(None) };
    let is_url =
        Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_url {
        return Err(mistake(name, "is not a URL: it must be like http://127.0.0.1:4317"));
    }
    let protocol = variables.first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
    let (name, value) = protocol.unwrap_or(("", "grpc"));
    let protocol = Protocol::named(value).ok_or_else(|| {
        mistake(name, &format!("= {value:?} is not supported: it must be grpc or http/protobuf"))
    })?;
    check_headers(&variables)?;
    check_sampler(&variables)?;
    for name in ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] {
        variables.number::<u64>(name)?;
    }
    let name = "OTEL_BSP_MAX_QUEUE_SIZE";
    let queue_size = variables.number(name)?.unwrap_or(QUEUE_SIZE);
    if queue_size > MAX_QUEUE_SIZE {
        let text = format!("= {queue_size} is too large: it must be at most {MAX_QUEUE_SIZE}");
        return Err(mistake(name, &text));
    }
    let timeouts = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    let timeout = variables.first(timeouts).map(|(name, _)| variables.number(name)).transpose()?.flatten();
    Ok(Some(Traces {
        endpoint: shown(endpoint),
        protocol,
        timeout: Duration::from_millis(timeout.unwrap_or(TIMEOUT_MS)),
        queue_size,
    }))
}

/// The environment.
struct Variables<'a>(&'a BTreeMap<String, Secret>);

impl<'a> Variables<'a> {
    /// The value of a variable; empty if it is not set.
    fn value(&self, name: &str) -> &'a str {
        self.0.get(name).map_or("", Secret::expose)
    }

    /// The first of two variables that is set. Those for traces win over those for everything.
    fn first(&self, names: [&'static str; 2]) -> Option<(&'static str, &'a str)> {
        names.into_iter().map(|name| (name, self.value(name))).find(|(_, value)| !value.is_empty())
    }

    /// A variable that is a whole number greater than 0; none if it is not set.
    fn number<T: FromStr + Default + PartialOrd>(&self, name: &str) -> Result<Option<T>, Mistake> {
        let value = self.value(name);
        if value.is_empty() {
            return Ok(None);
        }
        let number = value.parse::<T>().ok().filter(|number| *number > T::default());
        let text = format!("= {value:?} is not valid: it must be a whole number greater than 0");
        number.map(Some).ok_or_else(|| mistake(name, &text))
    }
}

/// Checks the headers that are sent to the collector. Their values are secrets: a mistake does not show them.
fn check_headers(variables: &Variables<'_>) -> Result<(), Mistake> {
    let headers = variables.first(["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]);
    let Some((name, value)) = headers else { return Ok(()) };
    let is_header = |header: &str| {
        let parts = header.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        parts.is_some_and(|(name, value)| {
            HeaderName::from_str(name).is_ok() && !value.is_empty() && HeaderValue::from_str(value).is_ok()
        })
    };
    let mut headers = value.split_terminator(',');
    if headers.all(|header| header.trim().is_empty() || is_header(header)) {
        return Ok(());
    }
    Err(mistake(name, "is not valid: it must be NAME=VALUE, and a comma between two of them"))
}

/// Checks which traces are recorded.
fn check_sampler(variables: &Variables<'_>) -> Result<(), Mistake> {
    let (name, sampler) = ("OTEL_TRACES_SAMPLER", variables.value("OTEL_TRACES_SAMPLER"));
    if !sampler.is_empty() && !SAMPLERS.contains(&sampler) {
        let text = format!("= {sampler:?} is not supported: it must be one of {}", SAMPLERS.join(", "));
        return Err(mistake(name, &text));
    }
    let (name, ratio) = ("OTEL_TRACES_SAMPLER_ARG", variables.value("OTEL_TRACES_SAMPLER_ARG"));
    let is_ratio = ratio.is_empty() || ratio.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio));
    if sampler.ends_with("traceidratio") && !is_ratio {
        return Err(mistake(name, &format!("= {ratio:?} is not valid: it must be a number from 0 to 1")));
    }
    Ok(())
}

/// The endpoint for the log: without its user, which can be a token, and without its query, which can have a key.
fn shown(endpoint: &str) -> String {
    let (address, query) = match endpoint.split_once('?') {
        Some((address, _)) => (address, "?***"),
        None => (endpoint, ""),
    };
    // Also `http:token@host` is a URL.
    match (address.split_once(':'), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}{query}"),
        _ => format!("{address}{query}"),
    }
}

/// What is wrong with a variable.
fn mistake(name: &str, text: &str) -> Mistake {
    Mistake { origin: Origin::Environment(name.to_owned()), text: format!("{name} {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads these variables, besides an endpoint.
    fn read(variables: &[(&str, &str)]) -> Result<Option<Traces>, String> {
        let mut environment = BTreeMap::from([(
            "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
            Secret::from("http://me:s3cret@127.0.0.1:4317/?key=s3cret".to_owned()),
        )]);
        for (name, value) in variables {
            environment.insert((*name).to_owned(), Secret::from((*value).to_owned()));
        }
        super::read(&environment).map_err(|mistake| mistake.text)
    }

    #[test]
    fn trace_settings_override_general_settings_and_endpoint_secrets_are_hidden() {
        let all = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300"), ("OTEL_BSP_MAX_QUEUE_SIZE", "4")];
        let traces = read(&all).expect("reads").expect("is on");
        assert_eq!((traces.timeout, traces.queue_size), (Duration::from_millis(300), 4));
        assert_eq!(traces.endpoint, "http://***@127.0.0.1:4317/?***");
        let both = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "200")];
        let traces = read(&both).expect("reads").expect("is on");
        assert_eq!((traces.timeout, traces.queue_size), (Duration::from_millis(200), 2_048));
        let largest = read(&[("OTEL_BSP_MAX_QUEUE_SIZE", "1000000")]).expect("reads").expect("is on");
        assert_eq!(largest.queue_size, 1_000_000);
        let token = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://s3cret@127.0.0.1:4317")];
        assert_eq!(read(&token).expect("reads").expect("is on").endpoint, "http://***@127.0.0.1:4317");
        assert!(read(&[("OTEL_TRACES_EXPORTER", "none")]).expect("reads").is_none());
    }

    #[test]
    fn invalid_variables_are_refused_without_showing_secrets() {
        for (name, value, told) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "s3cret:4317", "is not a URL"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret", "must be NAME=VALUE"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=1,s3cret", "must be NAME=VALUE"),
            ("OTEL_TRACES_SAMPLER", "bogus", "\"bogus\" is not supported: it must be one of always_on, "),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "\"10s\" is not valid: it must be a whole number"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "greater than 0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "1000001", "= 1000001 is too large: it must be at most 1000000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon", "greater than 0"),
        ] {
            let mistake = read(&[(name, value)]).expect_err(name);
            assert!(mistake.starts_with(&format!("{name} ")) && mistake.contains(told), "{mistake}");
            assert!(!mistake.contains("s3cret"), "{mistake}");
        }
        let ratio = |ratio| [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
        assert!(read(&ratio("2")).expect_err("too much").contains("a number from 0 to 1"));
        assert!(read(&ratio("0.5")).is_ok());
        assert!(read(&[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x-team=blue,")]).is_ok());
    }
}
