//! `hookbox routes`: lists the routes with the numbers of their jobs.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::dates::{relative, span};
use super::pause::paused;
use super::server::{ServerFlags, block_on};
use super::table::{Cell, Column, Table};
use super::tell::{Format, parse, print_items};
use super::terminal::{Terminal, Tint};
use crate::cli::Failure;
use crate::cli::output::print;
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

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
    paused_since: Option<String>,
    paused_by: Option<String>,
    pause_reason: Option<String>,
    target: Option<String>,
    breaker: Option<Breaker>,
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
        let answer = block_on(async { Ok(client.get(&["v1", "routes"], &[]).await?) })?;
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
        for route in routes {
            table.add(parse::<Route>(&client, route.get())?.cells());
        }
        print(table.text(Terminal::stdout()))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Route {
    fn cells(&self) -> Vec<Cell> {
        let counts = &self.counts;
        // Of a job that has just become due, less than a second.
        let oldest = self.oldest_due_seconds as u64;
        let oldest = if oldest == 0 { String::new() } else { span(oldest) };
        let (state, tint) = self.state();
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

    /// What keeps its jobs from starting; empty if nothing does.
    fn state(&self) -> (String, Tint) {
        let now = SystemClock.now();
        if !self.in_settings {
            return ("gone from the settings".to_owned(), Tint::Bad);
        }
        if let Some(since) = &self.paused_since {
            let (by, why) = (self.paused_by.as_deref(), self.pause_reason.as_deref());
            return (paused(since, by, why, now), Tint::Late);
        }
        match &self.breaker {
            Some(Breaker { state, open_until }) if state != "closed" => {
                let until = open_until.as_deref().map(|until| format!(", tried {}", relative(until, now)));
                (format!("breaker {state}{}", until.unwrap_or_default()), Tint::Bad)
            }
            _ => (String::new(), Tint::Plain),
        }
    }
}
