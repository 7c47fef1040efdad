//! Reads `[[routes]]` of the settings file, with the place of each value.

mod handler;
mod print;
mod reader;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use self::handler::Shown;
use self::reader::RouteReader;
use super::OF_ROUTES;
use super::file::Value;
use super::layers::{Layers, Origin};
use super::mistake::Mistake;
use super::parse::{DAY, MILLISECOND, Reader, rate};
use crate::domain::handler::Simulate;
use crate::domain::policy::Policy;
use crate::domain::retry::RetryPolicy;
use crate::domain::route::{OnDeadLetter, OnInterrupt, Rate, RouteName};
use crate::routes::{Member, RouteSettings, Routes};

/// The values of members that a route does not set.
pub(super) struct Defaults {
    pub(super) retry: RetryPolicy,
    pub(super) simulate: Simulate,
    /// The origins of these values.
    origins: Origins,
}

impl Defaults {
    pub(super) fn new(layers: &Layers, retry: RetryPolicy, simulate: Simulate) -> Self {
        let origin = |(setting, member): &(&str, &str)| ((*member).to_owned(), layers.get(setting).1.clone());
        Self { retry, simulate, origins: OF_ROUTES.iter().map(origin).collect() }
    }
}

/// The origins of members of a route; a member that is not in it has the default. A member of an inner table
/// has the name `<table>.<member>`, such as `retry.base`.
type Origins = BTreeMap<String, Origin>;

/// The settings of a route, and the origins of its members.
#[derive(Clone, Debug)]
pub(super) struct ReadRoute {
    settings: RouteSettings,
    shown: Shown,
    origins: Origins,
}

/// Reads and compiles the routes. None if there is a mistake, which is then in `read`.
pub(super) fn routes(
    read: &Reader<'_>,
    routes: Option<Value<'_>>,
    defaults: &Defaults,
    handlers: &[&str],
) -> Option<(Arc<Routes>, Vec<ReadRoute>)> {
    let Some(list) = routes else {
        let handler = handler::without_settings(handlers[0], defaults);
        let settings = RouteSettings::everything(handler, defaults.retry);
        let routes = Routes::new(vec![settings.clone()]).ok()?;
        let (shown, origins) = (Shown::default(), defaults.origins.clone());
        return Some((Arc::new(routes), vec![ReadRoute { settings, shown, origins }]));
    };
    let (mut values, mut found, mut are_good) = (Vec::new(), Vec::new(), true);
    for (at, value) in list.items().into_iter().enumerate() {
        let (route, is_good) = RouteReader::read(read, &value, at, defaults, handlers);
        are_good &= is_good;
        // Also compiles a route that has a mistake, to find its other mistakes.
        if let Some(route) = route {
            values.push(value);
            found.push(route);
        }
    }
    let settings = found.iter().map(|route| route.settings.clone()).collect();
    match Routes::new(settings) {
        Ok(routes) => are_good.then(|| (Arc::new(routes), found)),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| read.wrong(placed(&values[mistake.route], mistake)));
            None
        }
    }
}

/// Adds the place in the file to a mistake that was found while compiling.
fn placed(route: &Value<'_>, mistake: &crate::routes::Mistake) -> Mistake {
    let Some(mut table) = route.table() else { return route.wrong(&mistake.allowed) };
    fn item(list: Option<Value<'_>>, at: usize) -> Option<Value<'_>> {
        list.and_then(|list| list.items().into_iter().nth(at))
    }
    let value = match mistake.member {
        Member::Name => table.get("name"),
        Member::Where => table.get("where"),
        Member::OrderBy => table.get("order_by"),
        Member::Fallback => table.get("fallback"),
        Member::Source(at) => item(
            table.get("match").and_then(|value| value.table()).and_then(|mut table| table.get("source")),
            at,
        ),
        Member::EventType(at) => item(
            table.get("match").and_then(|value| value.table()).and_then(|mut table| table.get("event_type")),
            at,
        ),
    };
    let Some(value) = value else { return route.wrong(&mistake.allowed) };
    let wrong = value.wrong(&mistake.allowed);
    match mistake.offset {
        Some(offset) => Mistake { origin: value.origin_at(offset), ..wrong },
        None => wrong,
    }
}

impl<'r, 'a> RouteReader<'r, 'a> {
    fn read(
        read: &'r Reader<'a>,
        route: &Value<'r>,
        at: usize,
        defaults: &Defaults,
        handlers: &[&str],
    ) -> (Option<ReadRoute>, bool) {
        let Some(table) = route.table() else {
            read.wrong(route.wrong("a table; write [[routes]] on a line of its own, and its members below"));
            return (None, false);
        };
        let mut reader = Self { read, table, inner: None, origins: defaults.origins.clone(), is_good: true };
        // The name of a route whose own name is wrong, so that its other members are checked.
        let placeholder = RouteName::new(format!("route-{at}-without-a-name")).unwrap_or_default();
        let (settings, shown) = reader.settings(route, placeholder, defaults, handlers);
        reader.table.unknown().into_iter().for_each(|mistake| reader.wrong(mistake));
        let Self { origins, is_good, .. } = reader;
        (Some(ReadRoute { settings, shown, origins }), is_good)
    }

    fn settings(
        &mut self,
        route: &Value<'_>,
        placeholder: RouteName,
        defaults: &Defaults,
        handlers: &[&str],
    ) -> (RouteSettings, Shown) {
        let name = self.name(route).unwrap_or(placeholder);
        let (sources, event_types) = self.matching();
        let condition = self.text("where", "a CEL expression, such as 'body.total > 100'");
        let order_by = self.text("order_by", "a JSON pointer, such as \"/order_id\"");
        let fallback = self.flag("fallback");
        let (handler, shown) = self.handler(route, defaults, handlers);
        let timeout = self.time("timeout", MILLISECOND..=DAY);
        let policy = Policy {
            route: name,
            timeout: timeout.or(handler::default_timeout(&handler)),
            handler,
            concurrency: self.concurrency(),
            rate: self.rate(),
            retry: self.retry(defaults.retry),
            on_dead_letter: self
                .word("on_dead_letter", [OnDeadLetter::Block, OnDeadLetter::Skip].map(|of| (of.as_str(), of)))
                .unwrap_or_default(),
            on_interrupt: self
                .word(
                    "on_interrupt",
                    [OnInterrupt::Retry, OnInterrupt::DeadLetter].map(|of| (of.as_str(), of)),
                )
                .unwrap_or_default(),
        };
        (RouteSettings { policy, sources, event_types, condition, order_by, fallback }, shown)
    }

    fn name(&mut self, route: &Value<'_>) -> Option<RouteName> {
        if self.table.get("name").is_none() {
            let text = format!("{} has no name; write `name = \"...\"` below [[routes]]", route.name());
            self.wrong(Mistake { origin: route.origin(), text });
        }
        self.parsed("name", "1 to 63 of a-z, 0-9 and -", |value| RouteName::new(value.text()?).ok())
    }

    fn concurrency(&mut self) -> Option<NonZeroU32> {
        self.parsed("concurrency", format_args!("a number from 1 to {}", u32::MAX), |value| {
            value.written().parse().ok()
        })
    }

    fn rate(&mut self) -> Option<Rate> {
        self.parsed("rate", "a number per s, m or h, such as \"50/s\"", |value| rate(value.text()?))
    }

    /// The globs of sources and event types.
    fn matching(&mut self) -> (Vec<String>, Vec<String>) {
        let allowed = "a table, such as { source = \"shop\", event_type = \"orders/*\" }";
        // A wrong item is replaced, so that mistakes in the other items keep their places.
        let instead = || Some("*".to_owned());
        let glob =
            |item: &Value<'r>| item.text().map(ToOwned::to_owned).ok_or_else(|| item.wrong("a string"));
        let globs = |reader: &mut Self| {
            (reader.list_with("source", glob, instead), reader.list_with("event_type", glob, instead))
        };
        self.inner("match", allowed, globs).unwrap_or_default()
    }

    fn retry(&mut self, defaults: RetryPolicy) -> RetryPolicy {
        let allowed = "a table, such as { attempts = 12, base = \"5s\", cap = \"1h\" }";
        let retry = self.inner("retry", allowed, |reader| {
            let attempts = reader.parsed("attempts", "a number from 1 to 1000", |value| {
                value.written().parse().ok().filter(|attempts| (1..=1000).contains(attempts))
            });
            let base = reader.time("base", MILLISECOND..=DAY).unwrap_or(defaults.base());
            let cap = reader.time_from("cap", ("base", base), DAY * 30, defaults.cap());
            RetryPolicy::new(base, cap, attempts.unwrap_or(defaults.max_attempts()))
        });
        retry.unwrap_or(defaults)
    }
}
