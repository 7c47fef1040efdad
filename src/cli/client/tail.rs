//! `hookbox tail`: prints the webhooks as they come in.

use std::process::ExitCode;

use clap::Args;

use super::names::Wanted;
use super::safe::{json_line, safe};
use super::server::{ServerFlags, block_on};
use super::tell::Format;
use super::terminal::{Terminal, Tint, tint_of};
use crate::cli::output::print_on;
use crate::cli::{EXIT_INTERRUPTED, Failure, note};
use crate::client::{Arrived, Filter, Following, Happened, Place};

/// The options of `hookbox tail`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Tail {
    #[command(flatten)]
    wanted: Wanted,
    /// Begin after the webhook with this id, or with those that come from now on
    #[arg(long, value_name = "now|ID", default_value = "now")]
    from: Begin,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

/// Where to begin.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// With the webhooks that come from now on.
    Now,
    /// After a webhook.
    After(Place),
}

impl std::str::FromStr for Begin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "now" => Ok(Self::Now),
            id => {
                let place = Place::after(id).map(Self::After);
                place.ok_or_else(|| "it must be `now` or the id of a webhook".to_owned())
            }
        }
    }
}

impl Wanted {
    /// The filter of a stream.
    pub(super) fn filter(&self) -> Filter {
        let given = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Filter {
            source: given(self.source.as_deref()),
            route: given(self.route.as_deref()),
            event_type: given(self.event_type.as_deref()),
        }
    }
}

impl Tail {
    /// Prints webhooks until it is stopped.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let place = match self.from {
            Begin::Now => Place::default(),
            Begin::After(place) => place,
        };
        let url = client.url().to_owned();
        let mut following = Following::new(client, self.wanted.filter(), place);
        block_on(async {
            let interrupted = tokio::signal::ctrl_c();
            tokio::pin!(interrupted);
            loop {
                let happened = tokio::select! {
                    happened = following.next() => happened?,
                    _ = &mut interrupted => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
                };
                match happened {
                    Happened::Began => note(&began(&url)),
                    Happened::Position(_) => {}
                    Happened::Lost(why) => note(&lost(&url, &why)),
                    Happened::Again => note(&again(&url)),
                    Happened::Arrived(arrived) => {
                        if !print_on(line(&arrived, self.format))? {
                            return Ok(ExitCode::SUCCESS);
                        }
                    }
                }
            }
        })
    }
}

/// Says that a hookbox is there.
pub(super) fn began(url: &str) -> String {
    format!("connected to {url}; waiting for webhooks")
}

/// Says that a hookbox is gone.
pub(super) fn lost(url: &str, why: &str) -> String {
    format!("the connection to {url} is lost: {}; trying again until it is there", safe(why))
}

/// Says that it is there again.
pub(super) fn again(url: &str) -> String {
    format!("connected to {url} again; nothing was missed")
}

fn line(arrived: &Arrived, format: Format) -> String {
    if format.json {
        return json_line(arrived.json.get()) + "\n";
    }
    let (webhook, terminal) = (&arrived.webhook, Terminal::stdout());
    let status = terminal.tinted(&safe(&webhook.status), tint_of(&webhook.status));
    let time = terminal.tinted(&safe(&webhook.accepted_at), Tint::Dim);
    let id = terminal.tinted(&safe(&webhook.id), Tint::Dim);
    format!(
        "{time}  {id}  {}  {}  {}  {status}\n",
        safe(&webhook.source),
        safe(&webhook.event_type),
        safe(&webhook.idempotency_key)
    )
}
