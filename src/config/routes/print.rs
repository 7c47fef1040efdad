//! Prints routes as `hookbox config` shows them.

use std::fmt::{self, Display};
use std::time::Duration;

use url::Url;

use super::ReadRoute;
use super::handler::Shown;
use crate::config::layers::Origin;
use crate::domain::duration::duration_text;
use crate::domain::handler::HandlerSettings;
use crate::domain::secret::HIDDEN;
use crate::routes::RouteSettings;

impl Display for ReadRoute {
    /// The route in the form of the settings file. The origin of each value is a comment after it, or above
    /// it if the value has several lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RouteSettings { policy, sources, event_types, condition, order_by, fallback } = &self.settings;
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
        line("handler", quoted(policy.handler.name()))?;
        if let Some(timeout) = policy.timeout {
            line("timeout", time(timeout))?;
        }
        if let Some(concurrency) = policy.concurrency {
            line("concurrency", concurrency.to_string())?;
        }
        if let Some(rate) = policy.rate {
            line("rate", quoted(&rate.to_string()))?;
        }
        line("retry.attempts", policy.retry.max_attempts().to_string())?;
        line("retry.base", time(policy.retry.base()))?;
        line("retry.cap", time(policy.retry.cap()))?;
        if let Some(order_by) = order_by {
            line("order_by", quoted(order_by))?;
            line("on_dead_letter", quoted(policy.on_dead_letter.as_str()))?;
        }
        line("on_interrupt", quoted(policy.on_interrupt.as_str()))?;
        self.members_of_handler().into_iter().try_for_each(|(member, value)| line(member, value))
    }
}

impl ReadRoute {
    /// The members that belong to the handler, with their values.
    fn members_of_handler(&self) -> Vec<(&'static str, String)> {
        match &self.settings.policy.handler {
            HandlerSettings::Simulate(simulate) => vec![
                ("simulate.min", time(simulate.min)),
                ("simulate.max", time(simulate.max)),
                ("simulate.failure_rate", simulate.failure_rate.to_string()),
            ],
            HandlerSettings::Http(http) => {
                let Shown { url, headers, secrets, ca } = &self.shown;
                let url = url.clone().unwrap_or_else(|| without_password(&http.url).into());
                let allow = http.allow.iter().map(ToString::to_string).collect::<Vec<_>>();
                [
                    Some(("url", quoted(&url))),
                    (!headers.is_empty()).then(|| ("headers", table(headers))),
                    (!secrets.is_empty()).then(|| ("secrets", list(secrets))),
                    (!allow.is_empty()).then(|| ("allow", list(&allow))),
                    ca.as_ref().map(|path| ("ca", quoted(path))),
                    http.retry_after_cap.map(|cap| ("retry_after_cap", time(cap))),
                    Some(("breaker.failures", http.breaker.failures.to_string())),
                    Some(("breaker.base", time(http.breaker.base))),
                    Some(("breaker.cap", time(http.breaker.cap))),
                ]
                .into_iter()
                .flatten()
                .collect()
            }
            HandlerSettings::Exec(exec) => {
                let env = exec.env.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
                let cwd = exec.cwd.as_ref().map(|path| ("cwd", quoted(&path.to_string_lossy())));
                let env = (!env.is_empty()).then(|| ("env", list(&env)));
                [Some(("command", list(&exec.command))), cwd, env].into_iter().flatten().collect()
            }
            HandlerSettings::Pull | HandlerSettings::Named(_) => Vec::new(),
        }
    }
}

fn without_password(url: &Url) -> Url {
    let mut url = url.clone();
    if url.password().is_some() {
        // It has one, so it can have another.
        let _ = url.set_password(Some(HIDDEN));
    }
    url
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

fn table(entries: &[(String, String)]) -> String {
    let entries = entries.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)));
    format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
}

fn time(duration: Duration) -> String {
    quoted(&duration_text(duration))
}
