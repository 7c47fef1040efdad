//! Reads the handler of a route, and the members that belong to it.

mod exec;
mod http;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::Defaults;
use super::reader::RouteReader;
use crate::config::file::Value;
use crate::config::mistake::{Mistake, suggestion};
use crate::config::parse::DAY;
use crate::domain::handler::{HandlerSettings, Simulate};
use crate::domain::route::RouteName;

/// The members that belong to one handler, with its name.
const MEMBERS: &[(&str, &str)] = &[
    ("simulate", "simulate"),
    ("url", "http"),
    ("headers", "http"),
    ("secrets", "http"),
    ("allow", "http"),
    ("ca", "http"),
    ("retry_after_cap", "http"),
    ("breaker", "http"),
    ("command", "exec"),
    ("cwd", "exec"),
    ("env", "exec"),
];

/// How long an attempt of the handler `http` may run if the route does not say it.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an attempt of the handler `exec`, or of a handler of the program's own, may run if the route does not say it.
const CODE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// What `hookbox config` shows of the settings of a handler in place of secrets and of the content of files.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Where the URL is, if it is a secret.
    pub(super) url: Option<String>,
    /// The names of headers as they are written, and where their values are.
    pub(super) headers: Vec<(String, String)>,
    /// Where the secrets are.
    pub(super) secrets: Vec<String>,
    /// The file with the certificates of authorities.
    pub(super) ca: Option<String>,
}

/// The handler of a route that sets nothing.
pub(super) fn without_settings(name: &str, defaults: &Defaults) -> HandlerSettings {
    match name {
        "simulate" => HandlerSettings::Simulate(defaults.simulate),
        _ => HandlerSettings::Named(name.into()),
    }
}

/// How long an attempt may run if the route does not say it; none if it has no limit.
pub(super) fn default_timeout(handler: &HandlerSettings) -> Option<Duration> {
    match handler {
        HandlerSettings::Http(_) => Some(HTTP_TIMEOUT),
        HandlerSettings::Exec(_) | HandlerSettings::Named(_) => Some(CODE_TIMEOUT),
        HandlerSettings::Simulate(_) | HandlerSettings::Pull => None,
    }
}

impl RouteReader<'_, '_> {
    /// Reads the handler and its members. Members that belong to another handler are mistakes. After a mistake, the
    /// settings of the handler are not complete, and are not used.
    pub(super) fn handler(
        &mut self,
        route: &Value<'_>,
        defaults: &Defaults,
        handlers: &[&str],
    ) -> (HandlerSettings, Shown) {
        let name = self.handler_name(handlers);
        self.check_others(name.as_deref());
        let name = name.unwrap_or_default();
        let read = match name.as_str() {
            "simulate" => {
                let settings = self.simulate(defaults.simulate);
                Some((HandlerSettings::Simulate(settings), Shown::default()))
            }
            "http" => self.http(route).map(|(http, shown)| (HandlerSettings::Http(Arc::new(http)), shown)),
            "exec" => self.exec(route).map(|exec| (HandlerSettings::Exec(Arc::new(exec)), Shown::default())),
            "pull" => Some((HandlerSettings::Pull, Shown::default())),
            _ => None,
        };
        read.unwrap_or_else(|| (HandlerSettings::Named(name.into()), Shown::default()))
    }

    /// The name of the handler; none if it is not known.
    fn handler_name(&mut self, handlers: &[&str]) -> Option<String> {
        let Some(value) = self.get("handler") else { return Some(handlers[0].to_owned()) };
        let name = value.text().unwrap_or_default();
        if handlers.contains(&name) {
            return Some(name.to_owned());
        }
        let known = handlers.join(", ");
        let allowed = format!("one of {known}{}", suggestion(name, handlers.iter().copied()));
        self.wrong(value.wrong(allowed));
        None
    }

    /// Adds a mistake for each member that belongs to a handler other than `name`. If the handler is not known, such
    /// members are no mistakes.
    fn check_others(&mut self, name: Option<&str>) {
        for &(member, handler) in MEMBERS.iter().filter(|(_, handler)| Some(*handler) != name) {
            if let (Some(value), Some(name)) = (self.table.get(member), name) {
                let text = format!(
                    "`{member}` is a member of routes with the handler {handler}, but the handler of this route is {name}"
                );
                self.wrong(Mistake { origin: value.origin(), text });
            }
        }
    }

    fn simulate(&mut self, defaults: Simulate) -> Simulate {
        let allowed = "a table, such as { min = \"1s\", max = \"5s\", failure_rate = 0.1 }";
        let simulate = self.inner("simulate", allowed, |reader| {
            let min = reader.time("min", Duration::ZERO..=DAY).unwrap_or(defaults.min);
            let max = reader.time_from("max", ("min", min), DAY, defaults.max);
            let failure_rate = reader.parsed("failure_rate", "a number from 0 to 1", |value| {
                value.written().parse().ok().filter(|share| (0.0..=1.0).contains(share))
            });
            Simulate { min, max, failure_rate: failure_rate.unwrap_or(defaults.failure_rate) }
        });
        simulate.unwrap_or(defaults)
    }

    /// Adds the mistake that a route lacks a member that its handler needs. `write` says what to write.
    fn missing(&mut self, route: &Value<'_>, member: &str, write: &str) {
        let name = self.table.get("name").and_then(|name| RouteName::new(name.text()?).ok());
        let route_name = name.map_or_else(|| route.name().to_owned(), |name| format!("the route `{name}`"));
        let text = format!(
            "{route_name} has no `{member}`, which its handler needs; write `{write}` below [[routes]]"
        );
        self.wrong(Mistake { origin: route.origin(), text });
    }
}
