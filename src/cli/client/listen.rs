//! `hookbox listen`: delivers incoming webhooks to a server on this machine, each once and in order.

mod deliver;
mod feed;
mod signer;
mod told;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::deliver::Deliverer;
use self::feed::{AHEAD, Item, feed};
use self::signer::Signer;
use self::told::{Delivery, LeftOut, line};
use super::dates::{clock_time, relative};
use super::names::Wanted;
use super::server::{ServerFlags, block_on, refused, usage};
use super::signing::Signing;
use super::tail::Begin;
use super::tell::Format;
use crate::cli::output::print_on;
use crate::cli::settings::variable;
use crate::cli::{EXIT_INTERRUPTED, Failure, note};
use crate::client::{Client, Following, Journal, Place, Target};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;
use crate::domain::id::WebhookId;

/// The shortest time in which a server could answer.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// The options of `hookbox listen`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Listen {
    /// The URL to which each webhook is delivered, with the body and the headers of its sender
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
    /// How long the server may take to answer; after that the webhook is delivered again
    #[arg(long, default_value = "60s", value_parser = timeout)]
    timeout: Duration,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

impl Listen {
    /// Delivers webhooks until it is stopped.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let target = Target::new(self.forward.clone(), self.timeout)?;
        let signer = Signer::new(&self.signing, &self.forward)?;
        let mut journal = self.journal(client.url())?;
        let place = match &self.from {
            Some(Begin::Now) => Place::default(),
            Some(Begin::After(place)) => place.clone(),
            None => journal.last().map_err(Box::new)?.cloned().unwrap_or_default(),
        };
        let (url, forward, beginning) = (client.url(), &self.forward, self.beginning(&place));
        note(&format!("delivering webhooks of {url} to {forward}: {beginning}"));
        if self.from.is_some() {
            journal.begin(place.clone()).map_err(Box::new)?;
        }
        block_on(self.listen(client, target, signer, journal, place))
    }

    /// The file that remembers what was delivered.
    fn journal(&self, url: &str) -> Result<Journal, Failure> {
        let state = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = state.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state")));
        let state = state.ok_or_else(|| {
            usage("there is no folder to remember what was delivered; set XDG_STATE_HOME to one")
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
        signer: Option<Signer>,
        mut journal: Journal,
        place: Place,
    ) -> Result<ExitCode, Failure> {
        let stop = stop_by_ctrl_c();
        let following = Following::new(client.clone(), self.wanted.filter(), place);
        let (sender, mut items) = mpsc::channel(AHEAD);
        tokio::spawn(feed(client, following, sender));
        let deliverer = Deliverer { target, signer, forward: &self.forward, stop: &stop };
        let mut told = LeftOut::default();
        let is_read = loop {
            let next = stop.run_until_cancelled(items.recv()).await.flatten();
            let Some(item) = next else { break true };
            match item {
                Item::Position(position) => journal.advance(&position).map_err(Box::new)?,
                Item::Failed(error) => return Err(error.into()),
                Item::Webhook(arrived, content) => {
                    let Some(content) = stop.run_until_cancelled(content).await else { break true };
                    let content = content.map_err(Box::new)??;
                    let webhook = &arrived.webhook;
                    let delivery = deliverer.deliver(webhook, content.as_ref()).await;
                    match &delivery {
                        Delivery::Stopped => break true,
                        Delivery::Answered(_, names) => told.tell(names),
                        Delivery::NotDelivered(_) => {}
                    }
                    journal.handle(&webhook.id, &arrived.resume_after).map_err(Box::new)?;
                    if !print_on(line(webhook, &delivery, self.format))? {
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
        note(match self.from {
            None => "stopped; the next `hookbox listen` with the same options goes on here",
            Some(_) => {
                "stopped; the next `hookbox listen` with the same options, but without --from, goes on here"
            }
        });
        Ok(ExitCode::from(EXIT_INTERRUPTED))
    }
}

/// A token that Ctrl-C cancels. If that cannot be watched, Ctrl-C ends the process at once.
fn stop_by_ctrl_c() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stopping.cancel();
        }
    });
    stop
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if timeout < SHORTEST_TIMEOUT {
        return Err("it must be at least 1ms, or nothing could be delivered".to_owned());
    }
    Ok(timeout)
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
