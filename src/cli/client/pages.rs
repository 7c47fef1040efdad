//! Lists that come page by page.

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::table::Table;
use super::tell::{Format, json_lines, parse};
use super::terminal::Terminal;
use crate::cli::Failure;
use crate::cli::output::print_on;
use crate::client::Client;
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// The most items that are asked for at once.
const PAGE_SIZE: usize = 500;

/// How many items are listed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Pages {
    /// The most to list
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// List all that match
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// How the items of a list are shown to people.
pub(super) struct Rows<T> {
    /// Makes a table without rows.
    pub(super) table: fn() -> Table,
    /// Adds an item to it.
    pub(super) add: fn(&mut Table, &T, Timestamp),
}

/// A page of any of the lists.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, alias = "webhooks", alias = "replays", alias = "actions")]
    items: Vec<&'a RawValue>,
    next_page_token: String,
}

impl Pages {
    /// Prints the list at `/v1/{name}`, page by page, as long as there is a reader.
    pub(super) async fn print<T: DeserializeOwned>(
        self,
        client: &Client,
        name: &str,
        parameters: &[(&str, String)],
        format: Format,
        rows: Rows<T>,
    ) -> Result<(), Failure> {
        let now = SystemClock.now();
        let (mut left, mut token) = (if self.all { usize::MAX } else { self.limit }, String::new());
        let mut is_first = true;
        while left > 0 {
            let size = left.min(PAGE_SIZE).to_string();
            let mut query =
                parameters.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
            query.push(("page_size", size.as_str()));
            if !token.is_empty() {
                query.push(("page_token", token.as_str()));
            }
            let answer = client.get(&["v1", name], &query).await?;
            let page = parse::<Page<'_>>(client, &answer)?;
            left = left.saturating_sub(page.items.len());
            let text = if format.json {
                json_lines(&page.items)
            } else {
                let mut table = (rows.table)();
                for item in &page.items {
                    (rows.add)(&mut table, &parse::<T>(client, item.get())?, now);
                }
                let terminal = Terminal::stdout();
                if table.is_empty() {
                    String::new()
                } else if std::mem::take(&mut is_first) {
                    table.text(terminal)
                } else {
                    table.rows(terminal)
                }
            };
            token = page.next_page_token;
            if !print_on(text)? || token.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
