//! Lists that come page by page.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::interrupt::Interrupt;
use super::names::not_empty;
use super::safe::safe;
use super::table::Table;
use super::tell::{Format, json_lines, parse};
use super::terminal::Terminal;
use crate::cli::bar::Bar;
use crate::cli::output::print_on;
use crate::cli::{EXIT_INTERRUPTED, Failure, note};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// The most items that are asked for at once.
const PAGE_SIZE: usize = 500;

/// How many items are listed.
#[derive(Clone, Debug, Args)]
pub(super) struct Pages {
    /// The most to list
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// List all that match
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Go on where a list has stopped, which named this token. Give the same filters
    #[arg(long, value_name = "TOKEN", value_parser = not_empty)]
    page_token: Option<String>,
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
    /// How far back a search has come. Lists that nothing is searched for have none.
    #[serde(default)]
    searched_to: Option<String>,
}

/// Where a list goes on after its last page.
#[derive(Debug, Default)]
struct Next {
    /// Empty if there is no further page.
    page_token: String,
    searched_to: Option<String>,
}

impl Pages {
    /// Prints the list at `/v1/{name}`, page by page, as long as there is a reader. If it ends before the last page, says
    /// how far it came and how to go on. The exit code is that of a process that was interrupted after Ctrl-C.
    pub(super) async fn print<T: DeserializeOwned>(
        &self,
        client: &Client,
        name: &str,
        parameters: &[(&str, String)],
        format: Format,
        rows: Rows<T>,
    ) -> Result<ExitCode, Failure> {
        let (now, mut interrupt) = (SystemClock.now(), Interrupt::new()?);
        // Only of a search, which may take many pages.
        let mut bar: Option<Bar> = None;
        let (mut left, mut found) = (if self.all { usize::MAX } else { self.limit }, 0);
        let mut headings = Vec::new();
        let mut token = self.page_token.clone().unwrap_or_default();
        let mut next = Next::default();
        while left > 0 {
            let size = left.min(PAGE_SIZE).to_string();
            let mut query =
                parameters.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
            query.push(("page_size", size.as_str()));
            if !token.is_empty() {
                query.push(("page_token", token.as_str()));
            }
            let answer = match interrupt.race(client.get(&["v1", name], &query)).await {
                Some(Ok(answer)) => answer,
                Some(Err(error)) => {
                    drop(bar);
                    next.tell();
                    return Err(error.into());
                }
                None => {
                    drop(bar);
                    next.tell();
                    return Ok(ExitCode::from(EXIT_INTERRUPTED));
                }
            };
            let page = parse::<Page<'_>>(client, &answer)?;
            let text = rows.text(client, &page.items, format, &mut headings, now)?;
            left = left.saturating_sub(page.items.len());
            found += page.items.len();
            let is_read = match &bar {
                Some(bar) => bar.suspend(|| print_on(text))?,
                None => print_on(text)?,
            };
            if !is_read {
                return Ok(ExitCode::SUCCESS);
            }
            next = Next { page_token: page.next_page_token, searched_to: page.searched_to };
            if next.page_token.is_empty() {
                break;
            }
            if let Some(time) = &next.searched_to {
                let bar = bar.get_or_insert_with(|| Bar::new(0, "{wide_msg}"));
                bar.set_message(format!("searched back to {}: {found} found", safe(time)));
            }
            token.clone_from(&next.page_token);
        }
        drop(bar);
        next.tell();
        Ok(ExitCode::SUCCESS)
    }
}

impl<T: DeserializeOwned> Rows<T> {
    /// The items of a page: for programs, or as a table below pages with these headings.
    fn text(
        &self,
        client: &Client,
        items: &[&RawValue],
        format: Format,
        headings: &mut Vec<&'static str>,
        now: Timestamp,
    ) -> Result<String, Failure> {
        if format.json {
            return Ok(json_lines(items));
        }
        let mut table = (self.table)();
        for item in items {
            (self.add)(&mut table, &parse::<T>(client, item.get())?, now);
        }
        let is_empty = table.is_empty();
        Ok(if is_empty { String::new() } else { table.text_below(headings, Terminal::stdout()) })
    }
}

impl Next {
    /// Says how far the list came, and how to go on; nothing if there is no further page.
    fn tell(&self) {
        if self.page_token.is_empty() {
            return;
        }
        let came = self.searched_to.as_deref().map(|time| format!("searched back to {}", safe(time)));
        let came = came.unwrap_or_else(|| "there are more".to_owned());
        note(&format!("{came}; go on with --page-token {}", safe(&self.page_token)));
    }
}
