//! What comes from hookbox, read ahead of what is being delivered.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::client::tail::{again, began, lost};
use crate::cli::note;
use crate::client::{Arrived, Client, ClientError, Content, Following, Happened, Shown, content_of};
use crate::domain::error::Reason;

/// How many webhooks are read ahead of the one that is being delivered.
pub(super) const AHEAD: usize = 16;

/// The pause before the content of a webhook is asked for again.
const CONTENT_PAUSE: Duration = Duration::from_secs(1);

/// The next step.
pub(super) enum Item {
    Position(String),
    Webhook(Box<Arrived>, JoinHandle<Result<Option<Content>, ClientError>>),
    Failed(ClientError),
}

/// Reads webhooks ahead, each with its content, in their order.
pub(super) async fn feed(client: Client, mut following: Following, items: mpsc::Sender<Item>) {
    loop {
        let item = match following.next().await {
            Ok(Happened::Arrived(arrived)) => {
                let content = tokio::spawn(content(client.clone(), arrived.webhook.id.clone()));
                Item::Webhook(arrived, content)
            }
            Ok(Happened::Position(position)) => Item::Position(position),
            // Told at once: what is delivered before it may be waiting for its content.
            Ok(Happened::Began) => {
                note(&began(client.url()));
                continue;
            }
            Ok(Happened::Lost(why)) => {
                note(&lost(client.url(), &why));
                continue;
            }
            Ok(Happened::Again) => {
                note(&again(client.url()));
                continue;
            }
            Err(error) => Item::Failed(error),
        };
        let is_last = matches!(item, Item::Failed(_));
        if items.send(item).await.is_err() || is_last {
            return;
        }
    }
}

/// The content of a webhook; none once its retention is over.
async fn content(client: Client, id: String) -> Result<Option<Content>, ClientError> {
    let path = ["v1", "webhooks", id.as_str(), "body"];
    let Some(webhook) = answer(&client, &path[..3]).await? else { return Ok(None) };
    let shown = content_of(&webhook).map_err(|error| client.unexpected(error))?;
    let Some(Shown { mut content, is_exact }) = shown else { return Ok(None) };
    if !is_exact {
        let Some(body) = answer(&client, &path).await? else { return Ok(None) };
        content.body = body;
    }
    Ok(Some(content))
}

/// The answer to a GET of a webhook or its body; none if it is not there any more. Asks until hookbox answers.
async fn answer(client: &Client, path: &[&str]) -> Result<Option<Vec<u8>>, ClientError> {
    loop {
        match client.bytes(path).await {
            Ok(answer) => return Ok(Some(answer)),
            Err(ClientError::Refused { reason, .. }) if reason == Reason::WebhookNotFound.as_str() => {
                return Ok(None);
            }
            Err(error) if error.is_passing() => tokio::time::sleep(CONTENT_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}
