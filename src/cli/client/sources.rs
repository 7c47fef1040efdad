//! `hookbox sources`: lists the sources, or the requests of one that were refused.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::complete::sources_of_senders;
use super::dates::relative;
use super::names::not_empty;
use super::pause::paused;
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
    paused_since: Option<String>,
    paused_by: Option<String>,
    pause_reason: Option<String>,
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
    let answer = block_on(async { Ok(client.get(&["v1", "sources"], &[]).await?) })?;
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
    for source in sources {
        let source = parse::<Source>(client, source.get())?;
        let seen = source.last_seen.as_deref();
        let (by, why) = (source.paused_by.as_deref(), source.pause_reason.as_deref());
        let state = source.paused_since.as_deref().map(|since| paused(since, by, why, now));
        table.add([
            Cell::new(&source.source),
            Cell::new(source.preset.as_deref().unwrap_or_default()),
            Cell::count(source.counts.verified, Tint::Good),
            Cell::count(source.counts.unverified, Tint::Bad),
            Cell::count(source.counts.malformed, Tint::Bad),
            Cell::count(source.counts.unauthorized, Tint::Bad),
            Cell::count(source.counts.handshakes, Tint::Plain),
            Cell::tinted(seen.map(|seen| relative(seen, now)).unwrap_or_default(), Tint::Dim),
            Cell::tinted(state.unwrap_or_default(), Tint::Late),
            Cell::new(&source.path),
        ]);
    }
    print(table.text(Terminal::stdout()))
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
        Column::cut("DETAIL", 20),
    ])
    .dropping(&["CLIENT", "DETAIL", "CAME"]);
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
