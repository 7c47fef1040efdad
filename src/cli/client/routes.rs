//! `hookbox routes`: lists the routes with the numbers of their jobs.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::dates::{relative, span};
use super::pauses::{Pause, in_force, lines};
use super::server::{ServerFlags, block_on};
use super::table::{Cell, Column, Table};
use super::tell::{Format, parse, print_items};
use super::terminal::{Terminal, Tint};
use crate::cli::Failure;
use crate::cli::output::print;
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;
use crate::domain::webhook::Source;
use crate::routes::glob::Names;

/// The options of `hookbox routes`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Routes {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    routes: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Route {
    route: String,
    handler: Option<String>,
    in_settings: bool,
    counts: Counts,
    oldest_due_seconds: f64,
    #[serde(rename = "match")]
    matched: Option<Match>,
    target: Option<String>,
    breaker: Option<Breaker>,
}

#[derive(Deserialize)]
struct Match {
    source: Vec<String>,
}

#[derive(Deserialize)]
struct Counts {
    pending: u64,
    processing: u64,
    retrying: u64,
    completed: u64,
    dead_lettered: u64,
    cancelled: u64,
}

#[derive(Deserialize)]
struct Breaker {
    state: String,
    open_until: Option<String>,
}

impl Routes {
    /// Prints the routes.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let (answer, pauses) = block_on(async {
            let answer = client.get(&["v1", "routes"], &[]).await?;
            let pauses = if self.format.json { Vec::new() } else { in_force(&client).await? };
            Ok((answer, pauses))
        })?;
        let Listed { routes } = parse(&client, &answer)?;
        if self.format.json {
            print_items(&routes)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new([
            Column::whole("ROUTE"),
            Column::whole("HANDLER"),
            Column::cut("TARGET", 12),
            Column::number("PENDING"),
            Column::number("RUNNING"),
            Column::number("RETRYING"),
            Column::number("DEAD"),
            Column::number("COMPLETED"),
            Column::number("CANCELLED"),
            Column::number("OLDEST"),
            Column::cut("STATE", 22),
        ])
        .dropping(&[
            "TARGET",
            "HANDLER",
            "CANCELLED",
            "COMPLETED",
            "OLDEST",
            "RUNNING",
            "RETRYING",
            "PENDING",
            "DEAD",
        ]);
        let now = SystemClock.now();
        let routes = routes.into_iter().map(|route| parse::<Route>(&client, route.get()));
        let routes = routes.collect::<Result<Vec<_>, _>>()?;
        for route in &routes {
            table.add(route.cells(&pauses, now));
        }
        let others = pauses.iter().filter(|pause| !routes.iter().any(|route| route.is_held_by(pause)));
        print(table.text(Terminal::stdout()) + &lines(others, now))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Route {
    fn cells(&self, pauses: &[Pause], now: Timestamp) -> Vec<Cell> {
        let counts = &self.counts;
        // Of a job that has just become due, less than a second.
        let oldest = self.oldest_due_seconds as u64;
        let oldest = if oldest == 0 { String::new() } else { span(oldest) };
        let (state, tint) = self.state(pauses, now);
        vec![
            Cell::new(&self.route),
            Cell::new(self.handler.as_deref().unwrap_or_default()),
            Cell::new(self.target.as_deref().unwrap_or_default()),
            Cell::count(counts.pending, Tint::Plain),
            Cell::count(counts.processing, Tint::Busy),
            Cell::count(counts.retrying, Tint::Late),
            Cell::count(counts.dead_lettered, Tint::Bad),
            Cell::count(counts.completed, Tint::Good),
            Cell::count(counts.cancelled, Tint::Dim),
            Cell::new(oldest),
            Cell::tinted(state, tint),
        ]
    }

    /// What keeps jobs of it from starting; empty if nothing does.
    fn state(&self, pauses: &[Pause], now: Timestamp) -> (String, Tint) {
        let gone = (!self.in_settings).then(|| "gone from the settings".to_owned());
        let pauses = pauses.iter().filter(|pause| self.is_held_by(pause)).map(|pause| match pause.route {
            Some(_) => pause.told(now),
            None => pause.told_with_name(now),
        });
        let pauses = pauses.collect::<Vec<_>>();
        let breaker = self.breaker.as_ref().filter(|breaker| breaker.state != "closed");
        let tint = match (&gone, pauses.is_empty(), breaker) {
            (Some(_), ..) | (None, true, Some(_)) => Tint::Bad,
            (None, false, _) => Tint::Late,
            (None, true, None) => Tint::Plain,
        };
        let all = gone.into_iter().chain(pauses).chain(breaker.map(|breaker| breaker.told(now)));
        (all.collect::<Vec<_>>().join("; "), tint)
    }

    /// Whether a pause keeps jobs of the route from starting.
    fn is_held_by(&self, pause: &Pause) -> bool {
        match (&pause.route, &pause.source) {
            (Some(route), _) => *route == self.route,
            (None, Some(source)) => self.in_settings && self.takes(source),
            (None, None) => true,
        }
    }

    /// Whether webhooks of a source can have jobs of the route.
    fn takes(&self, source: &str) -> bool {
        let globs = self.matched.as_ref().map(|matched| matched.source.as_slice()).unwrap_or_default();
        // Its own webhooks have them only if it is named without a wildcard.
        let is_named = globs.iter().any(|glob| glob == source);
        is_named || (source != Source::OWN && Names::new(globs).matches(source))
    }
}

impl Breaker {
    fn told(&self, now: Timestamp) -> String {
        let until = self.open_until.as_deref().map(|until| format!(", tried {}", relative(until, now)));
        format!("breaker {}{}", self.state, until.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn state(changes: Value) -> (String, Tint) {
        let mut route = json!({
            "route": "orders", "handler": "http", "in_settings": true, "oldest_due_seconds": 0.0,
            "counts": {
                "pending": 0, "processing": 0, "retrying": 0, "completed": 0, "dead_lettered": 0, "cancelled": 0,
            },
            "match": null, "target": null, "breaker": { "state": "closed", "open_until": null },
        });
        let (Some(members), Value::Object(changes)) = (route.as_object_mut(), changes) else {
            panic!("an object");
        };
        members.extend(changes);
        let pause = |route: Option<&str>, source: Option<&str>| {
            let since = "2026-03-01T10:00:00.000Z";
            json!({ "route": route, "source": source, "since": since, "actor": "anna", "reason": null })
        };
        let pauses = [("orders", ""), ("invoices", ""), ("", "shop"), ("", "hookbox")];
        let given = |name: &'static str| Some(name).filter(|name| !name.is_empty());
        let pauses = pauses.map(|(route, source)| pause(given(route), given(source)));
        let pauses = serde_json::from_value::<Vec<Pause>>(json!(pauses)).expect("pauses");
        let route = serde_json::from_value::<Route>(route).expect("a route");
        route.state(&pauses, "2026-03-01T12:00:00Z".parse().expect("a time"))
    }

    #[test]
    fn a_route_shows_every_pause_that_holds_its_jobs() {
        let own = "paused 2h ago by anna";
        let shop = "source shop paused 2h ago by anna";
        let hookbox = "source hookbox paused 2h ago by anna";
        for (sources, expected) in [
            (json!(["other"]), own.to_owned()),
            (json!([]), format!("{own}; {shop}")),
            (json!(["s*"]), format!("{own}; {shop}")),
            (json!(["other", "hookbox"]), format!("{own}; {hookbox}")),
        ] {
            let matched = json!({ "match": { "source": sources, "event_type": [] } });
            assert_eq!(state(matched), (expected, Tint::Late), "{sources}");
        }
        let open = json!({ "breaker": { "state": "open", "open_until": "2026-03-01T12:00:30Z" } });
        assert_eq!(state(open).0, format!("{own}; {shop}; breaker open, tried in 30s"));
        let gone = json!({ "in_settings": false, "breaker": null });
        assert_eq!(state(gone), (format!("gone from the settings; {own}"), Tint::Bad));
    }
}
