//! Prints webhooks: for people, or as JSON for programs.

use clap::Args;
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::dates::relative;
use super::safe::json_line;
use super::table::{Cell, Column, Table};
use super::terminal::{Terminal, Tint, tint_of};
use crate::cli::Failure;
use crate::cli::output::print;
use crate::client::{Client, Webhook};

/// For whom a command prints.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Format {
    /// Print JSON, one value a line
    #[arg(long)]
    pub(super) json: bool,
}

/// Reads a part of an answer.
pub(super) fn parse<'a, T: serde::Deserialize<'a>>(client: &Client, json: &'a str) -> Result<T, Failure> {
    Ok(serde_json::from_str(json).map_err(|error| client.unexpected(error.to_string()))?)
}

/// A table for webhooks.
pub(super) fn webhooks() -> Table {
    Table::new([
        Column::whole("ID"),
        Column::cut("SOURCE", 8),
        Column::cut("TYPE", 12),
        Column::cut("KEY", 10),
        Column::whole("STATUS"),
        Column::number("ATTEMPTS"),
        Column::whole("ACCEPTED"),
        Column::cut("ERROR", 10),
    ])
}

/// Adds a webhook to such a table.
pub(super) fn add(table: &mut Table, webhook: &Webhook, now: Timestamp) {
    table.add([
        Cell::new(&webhook.id),
        Cell::new(&webhook.source),
        Cell::new(&webhook.event_type),
        Cell::new(&webhook.idempotency_key),
        Cell::tinted(&webhook.status, tint_of(&webhook.status)),
        Cell::count(webhook.attempt_count.into(), Tint::Plain),
        Cell::tinted(relative(&webhook.accepted_at, now), Tint::Dim),
        Cell::tinted(webhook.last_error.as_deref().unwrap_or_default(), Tint::Bad),
    ]);
}

/// Prints the status of a webhook from an answer.
pub(super) fn print_status(
    client: &Client,
    answer: &str,
    format: Format,
    now: Timestamp,
) -> Result<(), Failure> {
    if format.json {
        // The answer has to be JSON.
        parse::<&RawValue>(client, answer)?;
        return print(format_args!("{}\n", json_line(answer)));
    }
    let mut table = webhooks();
    add(&mut table, &parse::<Webhook>(client, answer)?, now);
    print(table.text(Terminal::stdout()))
}

/// Prints each item of a list as JSON, one a line.
pub(super) fn print_items(items: &[&RawValue]) -> Result<(), Failure> {
    print(json_lines(items))
}

/// Each item of a list as JSON, one a line.
pub(super) fn json_lines(items: &[&RawValue]) -> String {
    items.iter().map(|item| json_line(item.get()) + "\n").collect()
}
