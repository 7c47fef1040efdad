//! `hookbox tail`: prints the webhooks as they come in.

use std::process::ExitCode;

use clap::Args;

use super::interrupt::Interrupt;
use super::names::Wanted;
use super::quote;
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
    /// Begin with the webhooks that come from now on, or after a position: that which `hookbox tail` names when it ends,
    /// or the id of a webhook
    #[arg(long, value_name = "now|POSITION", default_value = "now")]
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
    /// After a position or a webhook.
    After(Place),
}

impl std::str::FromStr for Begin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "now" => Ok(Self::Now),
            id => {
                let place = Place::after(id).map(Self::After);
                place.ok_or_else(|| {
                    "it must be `now`, the id of a webhook, or the position that `hookbox tail` names"
                        .to_owned()
                })
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

/// How the printing has ended.
enum Ended {
    /// Ctrl-C was pressed.
    Interrupted,
    /// The reader has closed the pipe.
    Unread,
}

impl Tail {
    /// Prints webhooks until it is stopped. Then says how to go on, unless the reader of the output has left: it is not
    /// known how much it has read.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let place = match &self.from {
            Begin::Now => Place::default(),
            Begin::After(place) => place.clone(),
        };
        let url = client.url().to_owned();
        let following = Following::new(client, self.wanted.filter(), place);
        // Empty until hookbox names a position.
        let mut printed = Place::default();
        let ended = block_on(self.print(&url, following, &mut printed));
        if !matches!(ended, Ok(Ended::Unread)) && !printed.resume_after().is_empty() {
            note(&self.how_to_go_on(&printed));
        }
        match ended? {
            Ended::Interrupted => Ok(ExitCode::from(EXIT_INTERRUPTED)),
            Ended::Unread => Ok(ExitCode::SUCCESS),
        }
    }

    /// Prints webhooks as they come in. `printed` is how far it came. Errors: hookbox ends the stream for good, or a
    /// webhook cannot be printed.
    async fn print(
        &self,
        url: &str,
        mut following: Following,
        printed: &mut Place,
    ) -> Result<Ended, Failure> {
        let mut interrupt = Interrupt::new()?;
        loop {
            let Some(happened) = interrupt.race(following.next()).await else {
                return Ok(Ended::Interrupted);
            };
            match happened? {
                Happened::Began => note(&began(url)),
                Happened::Position(position) => printed.advance(&position),
                Happened::Lost(why) => note(&lost(url, &why)),
                Happened::Again => note(&again(url)),
                Happened::Arrived(arrived) => {
                    if !print_on(line(&arrived, self.format))? {
                        return Ok(Ended::Unread);
                    }
                    printed.handle(&arrived.webhook.id, &arrived.resume_after);
                }
            }
        }
    }

    /// Says which command goes on after what was printed, and how many webhooks it prints again: on PostgreSQL, the
    /// position is behind the newest webhooks, as others can still become visible before them.
    fn how_to_go_on(&self, printed: &Place) -> String {
        let again = match printed.handled().count() {
            0 => " or repeating one".to_owned(),
            1 => "; one that was printed comes again".to_owned(),
            count => format!("; {count} that were printed come again"),
        };
        let from = ("--from", printed.resume_after().to_owned());
        let flags = [from].into_iter().chain(self.wanted.flags()).chain(self.server.flags());
        let flags = flags.map(|(name, value)| format!(" {}", quote::flag(name, &value))).collect::<String>();
        let json = if self.format.json { " --json" } else { "" };
        format!("to go on without missing a webhook{again}: hookbox tail{flags}{json}")
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
