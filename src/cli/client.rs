//! The commands that talk to a running hookbox, over REST and its streams.

mod act;
mod actions;
mod complete;
mod dates;
mod facts;
mod filters;
mod hints;
mod interrupt;
mod list;
mod listen;
mod names;
mod pages;
mod pause;
mod pauses;
mod quote;
mod replays;
mod routes;
mod safe;
mod send;
mod server;
mod show;
mod signing;
mod sources;
mod status;
mod table;
mod tail;
mod tell;
mod terminal;

use std::process::ExitCode;

use clap::Subcommand;

pub(super) use self::complete::{complete, registration};
pub(super) use self::interrupt::Interrupt;
pub(super) use self::server::{DEFAULT_URL, usage};
use super::Failure;

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Send a webhook to a running hookbox; with --preset, sign it as its sender would
    Send(send::Send),
    /// Print the status of a webhook
    Status(status::Status),
    /// Print a webhook with its body, headers, jobs and attempts; with --body, its body alone
    Show(show::Show),
    /// List or search webhooks, newest first
    List(list::List),
    /// Print every change of a webhook until all of its jobs are done
    Watch(status::Watch),
    /// Print the webhooks as they come in
    Tail(tail::Tail),
    /// Deliver incoming webhooks to a server on this machine, in order; with --preset, signed anew
    Listen(listen::Listen),
    /// Start a new run of dead-lettered or cancelled jobs of a webhook
    Retry(act::OnJobs),
    /// Cancel the waiting jobs of a webhook, and give up its dead letters
    Cancel(act::OnJobs),
    /// Run finished jobs again: those of a webhook, or those of all webhooks that match filters
    Replay(replays::StartReplay),
    /// List the replays, newest first, show or watch one, or end it
    Replays(replays::Replays),
    /// Release a webhook from quarantine: each route that matches it gets a job
    Release(act::OnQuarantined),
    /// Remove a quarantined webhook
    Discard(act::OnQuarantined),
    /// Keep the jobs of a route, of a source, or all jobs from starting
    Pause(pause::Paused),
    /// End a pause; of a route, also close its breaker
    Resume(pause::Paused),
    /// List the routes, with the numbers of their jobs
    Routes(routes::Routes),
    /// List the sources, with what came in from them, or the requests that were refused
    Sources(sources::Sources),
    /// List the actions of operators, newest first, with time, actor, target and reason
    Actions(actions::Actions),
}

impl ClientCommand {
    /// Runs the command.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Send(send) => send.run(),
            Self::Status(status) => status.run(),
            Self::Show(show) => show.run(),
            Self::List(list) => list.run(),
            Self::Watch(watch) => watch.run(),
            Self::Tail(tail) => tail.run(),
            Self::Listen(listen) => listen.run(),
            Self::Retry(retry) => retry.run("retry"),
            Self::Cancel(cancel) => cancel.run("cancel"),
            Self::Replay(replay) => replay.run(),
            Self::Replays(replays) => replays.run(),
            Self::Release(release) => release.release(),
            Self::Discard(discard) => discard.discard(),
            Self::Pause(pause) => pause.pause(),
            Self::Resume(resume) => resume.resume(),
            Self::Routes(routes) => routes.run(),
            Self::Sources(sources) => sources.run(),
            Self::Actions(actions) => actions.run(),
        }
    }
}
