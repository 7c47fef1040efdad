//! A server that runs.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::programs::Programs;
use super::scratch::Scratch;
use crate::support::wait::wait_until;

/// How long a server may take to accept connections, recovery included, and to stop.
const START_TIME: Duration = Duration::from_secs(60);
const STOP_TIME: Duration = Duration::from_secs(60);

/// Lines of its log that are shown when it does not start.
const LOG_LINES_SHOWN: usize = 20;

/// The settings of a server. They are arguments, which hold for a standby too, whose files are a copy.
pub(super) type Settings = &'static [&'static str];

/// Small; all else is as PostgreSQL has it, so that what it acknowledged is on disk.
pub(super) const DURABLE: Settings =
    &["listen_addresses=127.0.0.1", "shared_buffers=32MB", "max_connections=200"];

/// For a server with the databases of many tests, none of which has to outlast it: nothing is synced, and nothing but the
/// tests takes time.
pub(super) const SHARED: Settings = &[
    "listen_addresses=127.0.0.1",
    "shared_buffers=128MB",
    "max_connections=200",
    "fsync=off",
    "full_page_writes=off",
    "wal_init_zero=off",
    "max_wal_size=2GB",
    "autovacuum=off",
];

/// A running server, killed when it is dropped.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts a server and waits until it accepts connections.
    pub(super) fn start(
        programs: &Programs,
        scratch: &Scratch,
        port: u16,
        settings: Settings,
    ) -> Result<Self, String> {
        let log = std::fs::File::options().create(true).append(true).open(scratch.log());
        let log = log.map_err(|error| format!("cannot write a log: {error}"))?;
        let mut command = programs.command("postgres", scratch.path());
        command.arg("-D").arg(scratch.data()).args(["-p", &port.to_string()]);
        command.arg("-k").arg(scratch.path());
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        command.stderr(log);
        let child = command.spawn().map_err(|error| format!("cannot start postgres: {error}"))?;
        let mut process = Self(child);
        let mut ended = false;
        let ready = wait_until(START_TIME, || {
            ended = process.has_ended();
            ended || process.says_ready(&scratch.data())
        });
        if ready && !ended {
            return Ok(process);
        }
        let fault =
            if ended { "did not start".to_owned() } else { format!("is not ready after {START_TIME:?}") };
        Err(format!("postgres {fault}: {}", last_lines(&scratch.log())))
    }

    /// Sends a signal and waits until the server has ended. False if it does not.
    pub(super) fn end(&mut self, signal: Signal) -> bool {
        if self.has_ended() {
            return true;
        }
        let sent = i32::try_from(self.0.id()).is_ok_and(|id| kill(Pid::from_raw(id), signal).is_ok());
        sent && wait_until(STOP_TIME, || self.has_ended())
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(Some(_)))
    }

    /// As `pg_ctl` finds it out: the first line is whose file it is, the eighth how far that is.
    fn says_ready(&self, data: &Path) -> bool {
        let file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines().map(str::trim);
        lines.next() == Some(&self.0.id().to_string()) && lines.nth(6) == Some("ready")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.end(Signal::SIGQUIT) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

fn last_lines(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}
