//! `hookbox list`: lists webhooks, newest first.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::dates::{clock_time, moment};
use super::names::Wanted;
use super::server::{ServerFlags, block_on, usage};
use super::tell::{Format, add, parse, print_items, webhooks};
use super::terminal::Terminal;
use crate::cli::Failure;
use crate::cli::output::print;
use crate::client::{Client, Webhook};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// The most webhooks that are asked for at once.
const PAGE_SIZE: usize = 500;

/// The options of `hookbox list`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct List {
    /// Only webhooks with a job in one of these statuses; given several times, or separated by commas
    #[arg(long, value_delimiter = ',')]
    status: Vec<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// Only webhooks accepted since this time, or since so long, such as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only webhooks accepted before this time, or before so long
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The most webhooks to list
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// List all webhooks that match
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    webhooks: Vec<&'a RawValue>,
    next_page_token: String,
}

impl List {
    /// Prints the webhooks, page by page.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let now = SystemClock.now();
        let time = |text: Option<&str>| {
            let time = text.map(|text| moment(text, now).map_err(usage)).transpose()?;
            Ok::<_, Failure>(time.map(clock_time).unwrap_or_default())
        };
        let (since, until) = (time(self.since.as_deref())?, time(self.until.as_deref())?);
        block_on(self.list(&client, &since, &until))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn list(&self, client: &Client, since: &str, until: &str) -> Result<(), Failure> {
        let now = SystemClock.now();
        let (mut left, mut token) = (if self.all { usize::MAX } else { self.limit }, String::new());
        let mut is_first = true;
        while left > 0 {
            let (status, size) = (self.status.join(","), left.min(PAGE_SIZE).to_string());
            let query = [
                ("status", status.as_str()),
                ("source", self.wanted.source.as_deref().unwrap_or_default()),
                ("route", self.wanted.route.as_deref().unwrap_or_default()),
                ("event_type", self.wanted.event_type.as_deref().unwrap_or_default()),
                ("accepted_after", since),
                ("accepted_before", until),
                ("page_size", size.as_str()),
                ("page_token", token.as_str()),
            ];
            let query = query.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>();
            let answer = client.get(&["v1", "webhooks"], &query).await?;
            let page = parse::<Page<'_>>(client, &answer)?;
            left = left.saturating_sub(page.webhooks.len());
            if self.format.json {
                print_items(&page.webhooks)?;
            } else {
                let mut table = webhooks();
                for webhook in &page.webhooks {
                    add(&mut table, &parse::<Webhook>(client, webhook.get())?, now);
                }
                if !table.is_empty() {
                    let terminal = Terminal::stdout();
                    print(if is_first { table.text(terminal) } else { table.rows(terminal) })?;
                    is_first = false;
                }
            }
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
