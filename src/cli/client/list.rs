//! `hookbox list`: lists and searches webhooks, newest first.

use std::process::ExitCode;

use clap::Args;

use super::filters::Filters;
use super::pages::{Pages, Rows};
use super::server::{ServerFlags, block_on};
use super::tell::{Format, add, webhooks};
use crate::cli::Failure;
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// The options of `hookbox list`. The key is named as in all commands; that of a replay is `--idempotency-key`, because
/// `--key` names one webhook there.
#[derive(Clone, Debug, Args)]
#[command(mut_arg("idempotency_key", |key| key.long("key").alias("idempotency-key")))]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    pages: Pages,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

impl List {
    /// Prints the webhooks, page by page.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let parameters = self.filters.parameters(SystemClock.now())?;
        let rows = Rows { table: webhooks, add };
        block_on(self.pages.print(&client, "webhooks", &parameters, self.format, rows))
    }
}
