//! `hookbox actions`: lists the actions of operators, newest first.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;

use super::names::not_empty;
use super::pages::{Pages, Rows};
use super::server::{ServerFlags, block_on};
use super::table::{Cell, Column, Table};
use super::tell::Format;
use super::terminal::Tint;
use crate::cli::Failure;

/// The options of `hookbox actions`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Actions {
    /// Only actions on the webhook with this id
    #[arg(long, value_name = "ID", value_parser = not_empty)]
    webhook: Option<String>,
    #[command(flatten)]
    pages: Pages,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Debug, Deserialize)]
struct Action {
    at: String,
    actor: String,
    action: String,
    webhook_id: Option<String>,
    route: Option<String>,
    source: Option<String>,
    replay: Option<u64>,
    reason: Option<String>,
    detail: Option<String>,
}

impl Actions {
    /// Prints the actions, page by page.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let parameters = self.webhook.iter().map(|id| ("webhook_id", id.clone())).collect::<Vec<_>>();
        let rows = Rows { table, add };
        block_on(self.pages.print(&client, "actions", &parameters, self.format, rows))
    }
}

fn table() -> Table {
    Table::new([
        Column::whole("TIME"),
        Column::whole("WHO"),
        Column::whole("WHAT"),
        Column::whole("ON"),
        Column::whole("WHY"),
        Column::whole("DETAIL"),
    ])
    .moving(&["DETAIL", "WHY", "ON", "WHO", "WHAT"])
}

fn add(table: &mut Table, action: &Action, _: Timestamp) {
    table.add([
        // The exact time, because the list is also read long after.
        Cell::tinted(&action.at, Tint::Dim),
        Cell::new(&action.actor),
        Cell::new(&action.action),
        Cell::new(action.target()),
        Cell::new(action.reason.as_deref().unwrap_or_default()),
        Cell::tinted(action.detail.as_deref().unwrap_or_default(), Tint::Dim),
    ]);
}

impl Action {
    /// The target of the action. An id alone is that of a webhook, which says its source, too.
    fn target(&self) -> String {
        let source = self.source.as_ref().filter(|_| self.webhook_id.is_none());
        let named = [
            self.webhook_id.clone(),
            self.replay.map(|number| format!("replay {number}")),
            self.route.as_ref().map(|route| format!("route {route}")),
            source.map(|source| format!("source {source}")),
        ];
        let named = named.into_iter().flatten().collect::<Vec<_>>();
        if named.is_empty() { "everything".to_owned() } else { named.join(", ") }
    }
}
