//! Runs a program until it ends, and kills what is left of its process group. Knows neither jobs nor settings.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::output::{Head, Tail};
use super::pipes::Pipes;
use crate::telemetry::metrics::Stopwatch;

/// How long a program may go on after SIGTERM. Less than the time that attempts have to end at shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// The first time between two looks at a program; it doubles while the pipes are quiet.
const FIRST_TICK: Duration = Duration::from_millis(1);

/// The longest time between two looks.
const LONGEST_TICK: Duration = Duration::from_millis(50);

/// How long to wait for the end of processes that were killed and became children of hookbox.
const REAP_TIME: Duration = Duration::from_secs(1);

/// A program that was started, in a process group of its own. If it is dropped before its end, the group is killed.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The id of the process, and of its group. No other process can get it before this one is reaped.
    pid: Pid,
    is_reaped: bool,
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code, or the signal that ended it.
    pub(super) status: ExitStatus,
    /// What it wrote to standard output.
    pub(super) stdout: Head,
    /// What it wrote to standard error.
    pub(super) stderr: Tail,
    /// Whether it was told to stop before.
    pub(super) was_stopped: bool,
}

/// How far the program is with stopping.
#[derive(Clone, Copy, Debug)]
enum Stop {
    NotAsked,
    /// It got SIGTERM then.
    Asked(Stopwatch),
    Killed,
}

impl Process {
    /// Starts a command. Errors: the system cannot start a process, or not with these arguments.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid, is_reaped: false })
    }

    /// The id of the process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives the program `body` and waits for its end. When `is_stopped` becomes true, the program gets SIGTERM, and
    /// [`GRACE`] later SIGKILL. It has ended when its first process has: what that process started is killed. Errors:
    /// the system does not let this process wait for it.
    pub(super) fn run(mut self, body: &[u8], is_stopped: &dyn Fn() -> bool) -> io::Result<Ended> {
        let mut pipes = Pipes::new(&mut self.child, body)?;
        let (mut stop, mut tick) = (Stop::NotAsked, FIRST_TICK);
        while !self.has_exited()? {
            stop = self.stop(stop, is_stopped);
            tick = if pipes.pass(tick)? { FIRST_TICK } else { (tick * 2).min(LONGEST_TICK) };
        }
        self.signal(Signal::KILL);
        let (stdout, stderr) = pipes.finish();
        let status = self.reap()?;
        Ok(Ended { status, stdout, stderr, was_stopped: !matches!(stop, Stop::NotAsked) })
    }

    /// Sends the next signal, if it is time.
    fn stop(&self, stop: Stop, is_stopped: &dyn Fn() -> bool) -> Stop {
        match stop {
            Stop::NotAsked if is_stopped() => {
                self.signal(Signal::TERM);
                Stop::Asked(Stopwatch::start())
            }
            Stop::Asked(since) if since.elapsed() >= GRACE => {
                self.signal(Signal::KILL);
                tracing::info!(process.pid = self.id(), "a program did not end after SIGTERM; it was killed");
                Stop::Killed
            }
            stop => stop,
        }
    }

    /// Whether the program has exited. Its process stays until it is reaped.
    fn has_exited(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.pid), options)?.is_some())
    }

    /// Sends a signal to the whole group.
    fn signal(&self, signal: Signal) {
        // An error means that no process of the group may get signals from this one, such as one of another user.
        let _ = kill_process_group(self.pid, signal);
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.is_reaped = true;
        let status = self.child.wait();
        self.reap_group();
        status
    }

    /// Reaps the processes of the group that became children of this process when their own parent ended. That happens
    /// in a container of which this is the first process.
    fn reap_group(&self) {
        let since = Stopwatch::start();
        // An error means that there are no such children.
        while let Ok(reaped) =
            waitid(WaitId::Pgid(Some(self.pid)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
        {
            if reaped.is_some() {
                continue;
            }
            if since.elapsed() >= REAP_TIME {
                return;
            }
            pause(FIRST_TICK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.signal(Signal::KILL);
            // An error means that there is nothing to reap.
            let _ = self.reap();
        }
    }
}

fn pause(time: Duration) {
    if let Ok(time) = Timespec::try_from(time) {
        // Without pipes, only the time ends the wait; it ending early does no harm.
        let _ = poll(&mut [], Some(&time));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    /// When a test gives up.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn start(script: &str, argument: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh", argument]);
        Process::start(&mut command).expect("starts")
    }

    /// Runs a script; one that takes too long is stopped.
    fn run(script: &str, body: &[u8]) -> Ended {
        let since = Stopwatch::start();
        let ended = start(script, "").run(body, &|| since.elapsed() > PATIENCE).expect("is waited for");
        assert!(!ended.was_stopped, "{script}: {ended:?}");
        ended
    }

    #[test]
    fn a_body_of_any_size_passes_through() {
        for bytes in [0, 1, 65_536, 1_048_576] {
            let body = vec![b'7'; bytes];
            let ended = run("cat >&2; wc -c", &body);
            assert_eq!(ended.status.code(), Some(0));
            assert_eq!(ended.stdout.into_result(), "0", "cat has read all of it");
            assert!(ended.stderr.text(10).trim_start_matches('…').bytes().all(|byte| byte == b'7'));
            let counted = run("wc -c", &body);
            assert_eq!(counted.stdout.into_result(), bytes.to_string());
        }
    }

    #[test]
    fn a_program_that_closes_its_standard_input_does_not_fail() {
        let ended = run("exec 0<&-; sleep 0.1; echo 1", &[b'x'; 1_048_576]);
        assert_eq!((ended.status.code(), ended.stdout.into_result().as_str()), (Some(0), "1"));
        let ended = run("exit 0", &[b'x'; 1_048_576]);
        assert_eq!(ended.status.code(), Some(0), "it exits without reading");
    }

    #[test]
    fn a_program_that_closes_its_output_is_still_waited_for() {
        let ended = run("exec 1>&- 2>&-; sleep 0.2; exit 7", b"{}");
        assert_eq!(ended.status.code(), Some(7));
    }

    #[test]
    fn a_program_ends_with_its_first_process() {
        let since = Stopwatch::start();
        let ended = run("sleep 300 & echo 1; exit 3", b"{}");
        assert!(since.elapsed() < PATIENCE, "the other process is not waited for");
        assert_eq!((ended.status.code(), ended.stdout.into_result().as_str()), (Some(3), "1"));
    }

    #[test]
    fn all_output_before_the_end_is_read() {
        let ended = run("head -c 60000 /dev/zero | tr '\\0' x; echo last >&2", b"{}");
        assert_eq!(ended.stdout.into_result(), format!("\"{}\"", "x".repeat(60_000)));
        assert_eq!(ended.stderr.text(100), "last");
    }

    #[test]
    fn sigterm_ends_a_program_that_obeys() {
        let folder = tempfile::tempdir().expect("a folder");
        let ready = folder.path().join("ready");
        let since = Stopwatch::start();
        let process = start("trap 'exit 4' TERM; : > \"$1\"; while :; do sleep 0.05; done", &path(&ready));
        let ended =
            process.run(b"{}", &|| ready.exists() || since.elapsed() > PATIENCE).expect("is waited for");
        assert_eq!((ended.status.code(), ended.was_stopped), (Some(4), true));
    }

    #[test]
    fn a_program_that_ignores_sigterm_is_killed_after_the_grace() {
        let folder = tempfile::tempdir().expect("a folder");
        let ready = folder.path().join("ready");
        let since = Stopwatch::start();
        let process = start("trap '' TERM; : > \"$1\"; while :; do sleep 1; done", &path(&ready));
        let ended =
            process.run(b"{}", &|| ready.exists() || since.elapsed() > PATIENCE).expect("is waited for");
        assert_eq!((ended.status.signal(), ended.was_stopped), (Some(9), true));
        assert!(since.elapsed() >= GRACE);
    }

    #[test]
    fn a_process_that_is_dropped_is_killed_and_reaped() {
        let process = start("sleep 300", "");
        let pid = process.pid;
        drop(process);
        let left = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        assert!(left.is_err(), "it is no child any more");
    }

    fn path(file: &std::path::Path) -> String {
        file.display().to_string()
    }
}
