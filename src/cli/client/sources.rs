//! `hookbox sources`: lists the sources, or the requests of one that were refused.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::complete::sources_of_senders;
use super::dates::relative;
use super::names::not_empty;
use super::pause::is_built_in;
use super::pauses::{Pause, in_force, lines};
use super::server::{ServerFlags, block_on};
use super::table::{Cell, Column, Table};
use super::tell::{Format, parse, print_items};
use super::terminal::{Terminal, Tint};
use crate::cli::Failure;
use crate::cli::output::print;
use crate::client::Client;
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// The options of `hookbox sources`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Sources {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// List the last 100 refused requests of a source, newest first, as the process that answers remembers them
    Rejections {
        /// The name of the source
        #[arg(value_parser = not_empty, add = ArgValueCandidates::new(sources_of_senders))]
        source: String,
        #[command(flatten)]
        format: Format,
        #[command(flatten)]
        server: ServerFlags,
    },
}

#[derive(Deserialize)]
struct ListedSources<'a> {
    #[serde(borrow)]
    sources: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source {
    source: String,
    preset: Option<String>,
    #[serde(default)]
    path: String,
    #[serde(default)]
    counts: Counts,
    last_seen: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    verified: u64,
    unverified: u64,
    malformed: u64,
    handshakes: u64,
    unauthorized: u64,
}

#[derive(Deserialize)]
struct ListedRejections<'a> {
    #[serde(borrow)]
    rejections: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Rejection {
    at: String,
    cause: Option<String>,
    reason: String,
    detail: String,
    client: Option<String>,
}

impl Sources {
    /// Prints the sources, or the requests that were refused.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.command {
            None => print_sources(&self.server.client()?, self.format)?,
            Some(Command::Rejections { source, format, server }) => {
                print_rejections(&server.client()?, source, *format)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_sources(client: &Client, format: Format) -> Result<(), Failure> {
    let (answer, pauses) = block_on(async {
        let answer = client.get(&["v1", "sources"], &[]).await?;
        let pauses = if format.json { Vec::new() } else { in_force(client).await? };
        Ok((answer, pauses))
    })?;
    let ListedSources { sources } = parse(client, &answer)?;
    if format.json {
        return print_items(&sources);
    }
    let now = SystemClock.now();
    let mut table = Table::new([
        Column::whole("SOURCE"),
        Column::whole("PRESET"),
        Column::number("VERIFIED"),
        Column::number("UNVERIFIED"),
        Column::number("MALFORMED"),
        Column::number("UNAUTHORIZED"),
        Column::number("HANDSHAKES"),
        Column::whole("LAST SEEN"),
        Column::cut("STATE", 22),
        Column::cut("PATH", 12),
    ])
    .dropping(&[
        "PATH",
        "HANDSHAKES",
        "PRESET",
        "UNAUTHORIZED",
        "MALFORMED",
        "VERIFIED",
        "UNVERIFIED",
        "LAST SEEN",
    ]);
    let sources = sources.into_iter().map(|source| parse::<Source>(client, source.get()));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    for source in &sources {
        table.add(source.cells(&pauses, now));
    }
    // Sources without settings are not in the answer.
    let is_listed = |name: &str| sources.iter().any(|source| source.source == name);
    for name in pauses.iter().filter_map(|pause| pause.source.as_deref()).filter(|name| !is_listed(name)) {
        table.add(cells_without_settings(name, &pauses, now));
    }
    let is_alone = table.is_empty();
    let others = pauses.iter().filter(|pause| is_alone && pause.route.is_none());
    print(table.text(Terminal::stdout()) + &lines(others, now))
}

impl Source {
    fn cells(&self, pauses: &[Pause], now: Timestamp) -> Vec<Cell> {
        let (counts, seen) = (&self.counts, self.last_seen.as_deref());
        vec![
            Cell::new(&self.source),
            Cell::new(self.preset.as_deref().unwrap_or_default()),
            Cell::count(counts.verified, Tint::Good),
            Cell::count(counts.unverified, Tint::Bad),
            Cell::count(counts.malformed, Tint::Bad),
            Cell::count(counts.unauthorized, Tint::Bad),
            Cell::count(counts.handshakes, Tint::Plain),
            Cell::tinted(seen.map(|seen| relative(seen, now)).unwrap_or_default(), Tint::Dim),
            Cell::tinted(state(&self.source, pauses, now), Tint::Late),
            Cell::new(&self.path),
        ]
    }
}

/// The row of a source that is paused and that the settings do not have.
fn cells_without_settings(source: &str, pauses: &[Pause], now: Timestamp) -> Vec<Cell> {
    let state = state(source, pauses, now);
    let state = if is_built_in(source) { state } else { format!("not in the settings; {state}") };
    let nothing = || Cell::new("");
    vec![
        Cell::new(source),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
        Cell::tinted(state, Tint::Late),
        nothing(),
    ]
}

/// What keeps jobs of a source from starting, besides the pauses of routes; empty if nothing does.
fn state(source: &str, pauses: &[Pause], now: Timestamp) -> String {
    let told = pauses.iter().filter_map(|pause| match (&pause.route, &pause.source) {
        (None, Some(name)) if name == source => Some(pause.told(now)),
        (None, None) => Some(pause.told_with_name(now)),
        _ => None,
    });
    told.collect::<Vec<_>>().join("; ")
}

fn print_rejections(client: &Client, source: &str, format: Format) -> Result<(), Failure> {
    let path = ["v1", "sources", source, "rejections"];
    let answer = block_on(async { Ok(client.get(&path, &[]).await?) })?;
    let ListedRejections { rejections } = parse(client, &answer)?;
    if format.json {
        return print_items(&rejections);
    }
    let now = SystemClock.now();
    let mut table = Table::new([
        Column::whole("CAME"),
        Column::whole("REASON"),
        Column::whole("CAUSE"),
        Column::whole("CLIENT"),
        Column::whole("DETAIL"),
    ])
    .moving(&["DETAIL", "CLIENT", "CAUSE"]);
    for rejection in rejections {
        let rejection = parse::<Rejection>(client, rejection.get())?;
        table.add([
            Cell::tinted(relative(&rejection.at, now), Tint::Dim),
            Cell::new(&rejection.reason),
            Cell::tinted(rejection.cause.as_deref().unwrap_or_default(), Tint::Bad),
            Cell::new(rejection.client.as_deref().unwrap_or_default()),
            Cell::new(&rejection.detail),
        ]);
    }
    print(table.text(Terminal::stdout()))
}
