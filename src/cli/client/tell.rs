//! Prints webhooks: for people, or as JSON for programs.

use clap::Args;
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::dates::age;
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
        Column::cut("TYPE", 10),
        Column::cut("KEY", 8),
        Column::whole("STATUS"),
        Column::number("ATTEMPTS"),
        Column::whole("AGE"),
        Column::cut("ERROR", 20),
    ])
    .dropping(&["ERROR", "ATTEMPTS", "SOURCE", "KEY", "TYPE", "AGE"])
}

/// Adds a webhook to such a table.
pub(super) fn add(table: &mut Table, webhook: &Webhook, now: Timestamp) {
    let attempts = webhook.attempt_count.map(|count| Cell::count(count.into(), Tint::Plain));
    table.add([
        Cell::new(&webhook.id),
        Cell::new(&webhook.source),
        Cell::new(&webhook.event_type),
        Cell::new(&webhook.idempotency_key),
        Cell::tinted(&webhook.status, tint_of(&webhook.status)),
        attempts.unwrap_or_else(|| Cell::new("")),
        Cell::tinted(age(&webhook.accepted_at, now), Tint::Dim),
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

#[cfg(test)]
mod tests {
    use console::measure_text_width;

    use super::*;

    const ID: &str = "01a20f9c-0785-7000-9dcd-eb59cbf7543a";

    /// The row of a webhook with long texts.
    fn row(width: usize) -> String {
        let webhook = serde_json::json!({
            "id": ID, "source": "payments-of-the-shop", "event_type": "order.created.by-a-customer",
            "idempotency_key": "evt-of-the-order-17", "status": "dead_lettered", "attempt_count": 3,
            "accepted_at": "2026-03-01T09:00:00.000Z", "last_error": "the target answered 503",
        });
        let webhook = serde_json::from_value::<Webhook>(webhook).expect("a webhook");
        let mut table = webhooks();
        add(&mut table, &webhook, "2026-03-01T12:00:00Z".parse().expect("a time"));
        table.text(Terminal::of_width(width)).lines().last().expect("a row").to_owned()
    }

    #[test]
    fn a_list_has_whole_ids_and_statuses_on_a_terminal_of_80_columns() {
        for width in 51..160 {
            let row = row(width);
            assert!(row.starts_with(ID) && row.contains("  dead_lettered"), "{width}: {row}");
            assert!(measure_text_width(&row) <= width, "{width}: {row}");
        }
        assert_eq!(row(80), format!("{ID}  order.cre…  evt-of-th…  dead_lettered  3h"));
        assert_eq!(row(56), format!("{ID}  dead_lettered  3h"));
        assert_eq!(row(40), format!("{ID}  d…"), "the id is the last to be cut");
    }
}
