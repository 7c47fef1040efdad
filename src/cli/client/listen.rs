//! `hookbox listen`: sends incoming webhooks to a server on this machine, each once and in order.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::dates::{clock_time, relative};
use super::names::Wanted;
use super::safe::{json_line, safe};
use super::server::{ServerFlags, block_on, refused, usage};
use super::tail::{Begin, EXIT_INTERRUPTED, again, began, lost};
use super::tell::Format;
use super::terminal::{Terminal, Tint};
use crate::cli::output::print_on;
use crate::cli::settings::variable;
use crate::cli::{Failure, note};
use crate::client::{
    Arrived, Client, ClientError, Content, Delivered, Following, Happened, Journal, Place, Target, Webhook,
    content_of,
};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;
use crate::domain::error::Reason;
use crate::domain::id::WebhookId;

/// How many webhooks are read ahead of the one that is being delivered.
const AHEAD: usize = 16;

/// The pause before a webhook is brought again, at first and at most. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause before the content of a webhook is asked for again.
const CONTENT_PAUSE: Duration = Duration::from_secs(1);

/// How long a webhook that is being brought may take when Ctrl-C is pressed.
const STOP_TIME: Duration = Duration::from_secs(2);

/// The options of `hookbox listen`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Listen {
    /// The URL to which each webhook is sent, with the body and the headers of its sender
    #[arg(long, value_name = "URL", value_parser = forward_url)]
    forward: Url,
    #[command(flatten)]
    wanted: Wanted,
    /// Begin with the webhooks that come from now on, or after the webhook with this id. Without it, continue where
    /// the last `hookbox listen` with the same options has ended
    #[arg(long, value_name = "now|ID")]
    from: Option<Begin>,
    /// A name for the list of delivered webhooks [default: made of --forward and the filters]
    #[arg(long)]
    name: Option<String>,
    /// How long the server may take to answer; after that the webhook is sent again
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

/// The next step.
enum Item {
    Happened(Happened),
    Webhook(Box<Arrived>, JoinHandle<Result<Option<Content>, ClientError>>),
    Failed(ClientError),
}

/// The result of a delivery.
enum Brought {
    Answered(Delivered),
    /// The webhook must not be delivered; the text says why.
    Not(&'static str),
    /// Ctrl-C was pressed before it was brought.
    Stopped,
}

impl Listen {
    /// Brings webhooks until it is stopped.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let target = Target::new(self.forward.clone(), self.timeout)?;
        let mut journal = self.journal(client.url())?;
        let place = match &self.from {
            Some(Begin::Now) => Place::default(),
            Some(Begin::After(place)) => place.clone(),
            None => journal.last().cloned().unwrap_or_default(),
        };
        let (url, forward, beginning) = (client.url(), &self.forward, self.beginning(&place));
        note(&format!("bringing webhooks of {url} to {forward}: {beginning}"));
        if self.from.is_some() {
            journal.begin(place.clone()).map_err(Box::new)?;
        }
        block_on(self.listen(client, target, journal, place))
    }

    /// The file that remembers what was brought.
    fn journal(&self, url: &str) -> Result<Journal, Failure> {
        let state = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = state.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state")));
        let state = state.ok_or_else(|| {
            usage("there is no folder to remember what was brought; set XDG_STATE_HOME to one")
        })?;
        let filter = self.wanted.filter();
        let name = self.name.clone().unwrap_or_else(|| {
            [self.forward.as_str(), &filter.source, &filter.route, &filter.event_type].join("\n")
        });
        let opened = Journal::open(&state.join("hookbox/listen"), &format!("{url}\n{name}"));
        Ok(opened.map_err(Box::new)?)
    }

    /// Says where it begins.
    fn beginning(&self, place: &Place) -> String {
        let Ok(id) = place.resume_after().parse::<WebhookId>() else {
            return "those that come from now on".to_owned();
        };
        let when = relative(&clock_time(id.time()), SystemClock.now());
        match self.from {
            None => format!(
                "going on where the last one has ended, with those of {when} and later; --from now leaves out \
                 what came meanwhile"
            ),
            Some(_) => format!("those after {id}, which came {when}"),
        }
    }

    async fn listen(
        &self,
        client: Client,
        target: Target,
        mut journal: Journal,
        place: Place,
    ) -> Result<ExitCode, Failure> {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            // Without a handler for Ctrl-C, the process ends as others do.
            if tokio::signal::ctrl_c().await.is_ok() {
                stopping.cancel();
            }
        });
        let url = client.url().to_owned();
        let following = Following::new(client.clone(), self.wanted.filter(), place);
        let (sender, mut items) = mpsc::channel(AHEAD);
        tokio::spawn(feed(client, following, sender));
        let is_read = loop {
            let next = stop.run_until_cancelled(items.recv()).await.flatten();
            let Some(item) = next else { break true };
            match item {
                Item::Happened(Happened::Began) => note(&began(&url)),
                Item::Happened(Happened::Lost(why)) => note(&lost(&url, &why)),
                Item::Happened(Happened::Again) => note(&again(&url)),
                Item::Happened(Happened::Position(position)) => {
                    journal.advance(&position).map_err(Box::new)?;
                }
                // Webhooks come with their content.
                Item::Happened(Happened::Arrived(_)) => {}
                Item::Failed(error) => return Err(error.into()),
                Item::Webhook(arrived, content) => {
                    let Some(content) = stop.run_until_cancelled(content).await else { break true };
                    let content = content.map_err(Box::new)??;
                    let brought = self.bring(&target, &arrived.webhook, content.as_ref(), &stop).await;
                    if matches!(brought, Brought::Stopped) {
                        break true;
                    }
                    journal.handle(&arrived.webhook.id, &arrived.resume_after).map_err(Box::new)?;
                    if !print_on(self.line(&arrived.webhook, &brought))? {
                        break false;
                    }
                }
            }
        };
        if !is_read {
            return Ok(ExitCode::SUCCESS);
        }
        if !stop.is_cancelled() {
            return Err(refused("the stream of webhooks has ended"));
        }
        note("stopped; the next `hookbox listen` with the same options goes on here");
        Ok(ExitCode::from(EXIT_INTERRUPTED))
    }

    /// Sends a webhook until there is an answer.
    async fn bring(
        &self,
        target: &Target,
        webhook: &Webhook,
        content: Option<&Content>,
        stop: &CancellationToken,
    ) -> Brought {
        if webhook.status == "quarantined" {
            return Brought::Not("is quarantined");
        }
        let Some(content) = content else { return Brought::Not("is past its retention") };
        let (mut pause, mut has_failed) = (FIRST_PAUSE, false);
        loop {
            let sending = target.deliver(webhook, content);
            tokio::pin!(sending);
            let sent = tokio::select! {
                sent = &mut sending => sent,
                // It may be in the middle of the work.
                () = stop.cancelled() => match tokio::time::timeout(STOP_TIME, &mut sending).await {
                    Ok(sent) => sent,
                    Err(_) => return Brought::Stopped,
                },
            };
            match sent {
                Ok(delivered) => {
                    if has_failed {
                        note(&format!("{} answers again; nothing was left out", self.forward));
                    }
                    return Brought::Answered(delivered);
                }
                Err(_) if stop.is_cancelled() => return Brought::Stopped,
                Err(why) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        let (forward, id, why) = (&self.forward, safe(&webhook.id), safe(&why));
                        note(&format!(
                            "no answer from {forward} to {id}: {why}; trying again until there is"
                        ));
                    }
                    if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Brought::Stopped;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// The line about a webhook.
    fn line(&self, webhook: &Webhook, brought: &Brought) -> String {
        let (status, milliseconds, why) = match brought {
            Brought::Answered(Delivered { status, took }) => {
                (Some(*status), Some(took.as_secs_f64() * 1_000.0), None)
            }
            Brought::Not(why) => (None, None, Some(*why)),
            Brought::Stopped => (None, None, None),
        };
        if self.format.json {
            let line = json!({
                "id": webhook.id, "source": webhook.source, "event_type": webhook.event_type,
                "idempotency_key": webhook.idempotency_key, "accepted_at": webhook.accepted_at,
                "status": status, "took_ms": milliseconds, "not_sent": why,
            });
            return json_line(&line.to_string()) + "\n";
        }
        let terminal = Terminal::stdout();
        let result = match (status, milliseconds) {
            (Some(status), Some(milliseconds)) => {
                let tint = if (200..300).contains(&status) { Tint::Good } else { Tint::Bad };
                format!("{}  {milliseconds:7.1} ms", terminal.tinted(&status.to_string(), tint))
            }
            _ => terminal.tinted(&format!("not sent: it {}", why.unwrap_or_default()), Tint::Late),
        };
        format!(
            "{}  {result}  {}  {}  {}  {}\n",
            terminal.tinted(&clock_time(SystemClock.now()), Tint::Dim),
            safe(&webhook.id),
            safe(&webhook.source),
            safe(&webhook.event_type),
            safe(&webhook.idempotency_key)
        )
    }
}

/// Reads webhooks ahead, each with its content, in their order.
async fn feed(client: Client, mut following: Following, items: mpsc::Sender<Item>) {
    loop {
        let item = match following.next().await {
            Ok(Happened::Arrived(arrived)) => {
                let content = tokio::spawn(content(client.clone(), arrived.webhook.id.clone()));
                Item::Webhook(arrived, content)
            }
            Ok(happened) => Item::Happened(happened),
            Err(error) => Item::Failed(error),
        };
        let is_last = matches!(item, Item::Failed(_));
        if items.send(item).await.is_err() || is_last {
            return;
        }
    }
}

/// The content of a webhook; none once its retention is over. Asks until hookbox answers.
async fn content(client: Client, id: String) -> Result<Option<Content>, ClientError> {
    loop {
        match client.get(&["v1", "webhooks", &id], &[]).await {
            Ok(answer) => return content_of(&answer).map_err(|error| client.unexpected(error)),
            Err(ClientError::Refused { reason, .. }) if reason == Reason::WebhookNotFound.as_str() => {
                return Ok(None);
            }
            Err(error) if error.is_passing() => tokio::time::sleep(CONTENT_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

fn forward_url(text: &str) -> Result<Url, String> {
    let wanted = "it must be http://<host>:<port>/<path> or https://…, without a user or a password";
    let url = text.parse::<Url>().map_err(|_| wanted.to_owned())?;
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https") || has_credentials {
        return Err(wanted.to_owned());
    }
    Ok(url)
}
