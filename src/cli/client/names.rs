//! How a command names a webhook, a route or a source.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::complete::{routes, sources};
use super::tell::parse;
use crate::cli::Failure;
use crate::client::{Client, Webhook};

/// Names a webhook.
#[derive(Clone, Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    name: IdOrKey,
    /// The source of the key [default: default]
    #[arg(long, requires = "key", value_parser = not_empty, add = ArgValueCandidates::new(sources))]
    source: Option<String>,
}

/// One of both.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct IdOrKey {
    /// The id of the webhook
    #[arg(value_name = "ID", value_parser = not_empty)]
    id: Option<String>,
    /// The key of the webhook, in place of its id
    #[arg(long, value_parser = not_empty)]
    key: Option<String>,
}

/// Reads a name, or the value of a filter. An empty one, such as that of a variable that is not set, must not mean any.
pub(super) fn not_empty(text: &str) -> Result<String, String> {
    let wrong = "it is empty; give a value, or leave it out";
    if text.is_empty() { Err(wrong.to_owned()) } else { Ok(text.to_owned()) }
}

/// Which webhooks are wanted.
#[derive(Clone, Debug, Args)]
pub(super) struct Wanted {
    /// Only webhooks from this source
    #[arg(long, value_parser = not_empty, add = ArgValueCandidates::new(sources))]
    pub(super) source: Option<String>,
    /// Only webhooks with a job of this route
    #[arg(long, value_parser = not_empty, add = ArgValueCandidates::new(routes))]
    pub(super) route: Option<String>,
    /// Only webhooks of this event type
    #[arg(long = "type", value_name = "EVENT_TYPE", value_parser = not_empty)]
    pub(super) event_type: Option<String>,
}

impl Wanted {
    /// The flags that were given, each with its value.
    pub(super) fn flags(&self) -> impl Iterator<Item = (&'static str, String)> {
        let all = [("--source", &self.source), ("--route", &self.route), ("--type", &self.event_type)];
        all.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?)))
    }
}

impl Named {
    /// Names a webhook by its id, or else by its key of a source.
    pub(super) fn new(id: Option<String>, key: Option<String>, source: Option<String>) -> Self {
        Self { name: IdOrKey { id, key }, source }
    }

    /// The path and the query of a call: below the path of the webhook for an id, else another path.
    pub(super) fn call<'a>(
        &'a self,
        by_id: &'a [&'a str],
        by_key: &'a str,
    ) -> (Vec<&'a str>, Vec<(&'a str, &'a str)>) {
        match (&self.name.id, &self.name.key) {
            (Some(id), _) => ([&["v1", "webhooks", id.as_str()][..], by_id].concat(), Vec::new()),
            (None, key) => {
                let key = key.as_deref().unwrap_or_default();
                let source = self.source.as_deref().map(|source| ("source", source));
                (vec!["v1", by_key], [("idempotency_key", key)].into_iter().chain(source).collect())
            }
        }
    }

    /// The id. hookbox is asked for it if the webhook is named by its key.
    pub(super) async fn id_at(&self, client: &Client) -> Result<String, Failure> {
        if let Some(id) = &self.name.id {
            return Ok(id.clone());
        }
        let (path, query) = self.call(&[], "status");
        Ok(parse::<Webhook>(client, &client.get(&path, &query).await?)?.id)
    }
}
