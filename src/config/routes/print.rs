//! Prints routes as `hookbox config` shows them.

use std::fmt::{self, Display};
use std::time::Duration;

use super::ReadRoute;
use crate::config::layers::Origin;
use crate::config::parse::duration_text;
use crate::domain::route::{OnDeadLetter, OnInterrupt};
use crate::routes::RouteSettings;

impl Display for ReadRoute {
    /// The route in the form of the settings file. The origin of each value is a comment after it, or above
    /// it if the value has several lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RouteSettings { policy, sources, event_types, condition, order_by, fallback } = &self.settings;
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let list = |texts: &[String]| {
            format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
        };
        let time = |duration: Duration| quoted(&duration_text(duration));
        writeln!(f, "\n[[routes]]")?;
        let mut line = |member: &str, value: String| {
            let origin = self.origins.get(member).unwrap_or(&Origin::Default);
            let line = format!("{member} = {value}");
            // Behind the last line of a long text, the origin would be far from the name of the member.
            if line.contains('\n') {
                writeln!(f, "# {origin}\n{line}")
            } else {
                writeln!(f, "{line:<44} # {origin}")
            }
        };
        line("name", quoted(policy.route.as_str()))?;
        for (member, globs) in [("match.source", sources), ("match.event_type", event_types)] {
            if !globs.is_empty() {
                line(member, list(globs))?;
            }
        }
        if let Some(condition) = condition {
            line("where", quoted(condition))?;
        }
        if *fallback {
            line("fallback", "true".to_owned())?;
        }
        line("handler", quoted(&policy.handler))?;
        if let Some(timeout) = policy.timeout {
            line("timeout", time(timeout))?;
        }
        if let Some(concurrency) = policy.concurrency {
            line("concurrency", concurrency.to_string())?;
        }
        if let Some(rate) = policy.rate {
            let unit = match rate.window.as_secs() {
                1 => "s",
                60 => "m",
                _ => "h",
            };
            line("rate", quoted(&format!("{}/{unit}", rate.quota)))?;
        }
        line("retry.attempts", policy.retry.max_attempts().to_string())?;
        line("retry.base", time(policy.retry.base()))?;
        line("retry.cap", time(policy.retry.cap()))?;
        if let Some(order_by) = order_by {
            line("order_by", quoted(order_by))?;
            let word = if policy.on_dead_letter == OnDeadLetter::Block { "block" } else { "skip" };
            line("on_dead_letter", quoted(word))?;
        }
        let word = if policy.on_interrupt == OnInterrupt::Retry { "retry" } else { "dead_letter" };
        line("on_interrupt", quoted(word))?;
        if &*policy.handler == "simulate" {
            line("simulate.min", time(policy.simulate.min))?;
            line("simulate.max", time(policy.simulate.max))?;
            line("simulate.failure_rate", policy.simulate.failure_rate.to_string())?;
        }
        Ok(())
    }
}
