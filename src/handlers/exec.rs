//! The handler `exec` runs a program for each attempt, without a shell: the body on its standard input, its standard
//! output as the result.
//!
//! The program is started by a launcher (see [`Launcher`]) in a process group of its own. No process of that group
//! outlives the attempt.

mod command;
mod launcher;
mod output;
mod pipes;
mod process;

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitStatus;

use serde_json::Value;
use tracing::Span;
use tracing::field::Empty;

use self::command::Names;
pub use self::launcher::{Launcher, launch};
use self::output::Tail;
use self::process::{Ended, Process};
use crate::domain::attempt::MAX_ERROR_CHARS;
use crate::domain::handler::{Exec as Settings, HandlerSettings};
use crate::worker::handler::{Attempt, Failure, Handler};

/// The exit code with which a program says that no other attempt can help (`EX_DATAERR` of `sysexits.h`).
const EXIT_FOR_GOOD: i32 = 65;

/// How many characters of standard error become a part of the error if the timeout stops a program: as many as are kept
/// of an error, less a sentence about the timeout.
const LAST_OUTPUT_CHARS: usize = MAX_ERROR_CHARS - 100;

/// The handler `exec`. The settings of a route say which program it runs.
#[derive(Clone, Debug)]
pub struct Exec {
    launcher: Launcher,
}

impl Exec {
    /// The name of the handler in the settings of routes.
    pub const NAME: &'static str = "exec";

    /// A handler that starts programs with `launcher`.
    pub fn new(launcher: Launcher) -> Self {
        Self { launcher }
    }

    /// Runs the program of a route. Returns the result as JSON.
    fn run(&self, settings: &Settings, attempt: &Attempt<'_>) -> Result<String, Failure> {
        let Some(program) = settings.command.first() else {
            return Err(for_good("the route has no program to run; set `command`"));
        };
        let span = span_of(program);
        let _entered = span.enter();
        let mut command = self.launcher.command(program);
        command::prepare(&mut command, settings, &Names::of(attempt));
        let ran = Process::start(&mut command)
            .map_err(|error| not_started(&error, program, settings.cwd.as_deref()))
            .and_then(|process| {
                span.record("process.pid", i64::from(process.id()));
                process.run(attempt.payload(), &|| attempt.is_stopped()).map_err(|error| {
                    retry(format!("the program was started, but cannot be waited for: {error}"))
                })
            });
        // Of a program that could not be run, or not be waited for.
        let mut error_type = Cow::Borrowed("io");
        let ran = ran.and_then(|ended| {
            // The exit code is then that of the launcher.
            if !ended.was_stopped
                && let Some(error) = launcher::reported_error(ended.status, &ended.stderr)
            {
                return Err(retry(not_run(&error, program)));
            }
            if ended.was_stopped {
                attempt.keep_last_output(ended.stderr.text(LAST_OUTPUT_CHARS));
            }
            error_type = "signal".into();
            if let Some(code) = ended.status.code() {
                span.record("process.exit.code", code);
                error_type = code.to_string().into();
            }
            outcome(ended)
        });
        if let Err(failure) = &ran {
            let was_stopped = matches!(failure, Failure::Stopped);
            span.record("error.type", if was_stopped { "stopped" } else { &*error_type });
            span.record("otel.status_code", "ERROR");
        }
        ran
    }
}

impl Handler for Exec {
    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure> {
        match &attempt.policy().handler {
            HandlerSettings::Exec(settings) => {
                // A value would change it: large numbers, the order of members, spaces.
                attempt.keep_result(self.run(settings, attempt)?);
                Ok(Value::Null)
            }
            _ => Err(for_good("the route has no settings for the handler `exec`")),
        }
    }
}

/// The span of a run, with the name and attributes of the OpenTelemetry conventions for callers of programs
/// (<https://opentelemetry.io/docs/specs/semconv/cli/cli-spans/#client-caller-spans>).
fn span_of(program: &str) -> Span {
    let executable = Path::new(program).file_name().map_or(program.into(), |name| name.to_string_lossy());
    tracing::info_span!(
        "exec",
        otel.name = %executable,
        otel.kind = "client",
        otel.status_code = Empty,
        process.executable.name = %executable,
        process.pid = Empty,
        process.exit.code = Empty,
        error.r#type = Empty,
    )
}

/// What the end of a program means for its attempt.
fn outcome(ended: Ended) -> Result<String, Failure> {
    let Ended { status, stdout, stderr, was_stopped } = ended;
    // Also if the exit code is 0: many programs end so on SIGTERM, whether their work is done or not.
    if was_stopped {
        return Err(Failure::Stopped);
    }
    match status.code() {
        Some(0) => Ok(stdout.into_result()),
        Some(EXIT_FOR_GOOD) => Err(Failure::Permanent { error: failed(status, &stderr) }),
        _ => Err(retry(failed(status, &stderr))),
    }
}

/// How the program ended, and the end of its standard error.
fn failed(status: ExitStatus, stderr: &Tail) -> String {
    let how = match status.code() {
        Some(code) => format!("the program ended with exit code {code}"),
        // "signal: 9 (SIGKILL)"
        None => format!("the program was ended by {}", status.to_string().replacen(": ", " ", 1)),
    };
    let room = MAX_ERROR_CHARS.saturating_sub(how.chars().count() + 2);
    let text = stderr.text(room);
    if text.is_empty() {
        format!("{how}, and wrote nothing to standard error")
    } else {
        format!("{how}: {text}")
    }
}

/// The system could not start a process.
fn not_started(error: &io::Error, program: &str, cwd: Option<&Path>) -> Failure {
    match (error.kind(), cwd) {
        (ErrorKind::InvalidInput, _) => for_good(
            "the program cannot be started: its arguments or its environment have a NUL byte, which no program can be given",
        ),
        (_, Some(cwd)) if !cwd.is_dir() => retry(format!(
            "the program `{program}` cannot be started in {}: {error}; create the folder, or change `cwd`",
            cwd.display()
        )),
        (_, Some(cwd)) => {
            retry(format!("the program `{program}` cannot be started in {}: {error}", cwd.display()))
        }
        (_, None) => retry(format!("the program `{program}` cannot be started: {error}")),
    }
}

/// The process was started, but the program could not take it over.
fn not_run(error: &io::Error, program: &str) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!(
            "the program `{program}`, or the interpreter that its first line names, does not exist: {error}; check `command`"
        ),
        ErrorKind::PermissionDenied => format!("the program `{program}` may not be executed: {error}"),
        _ => format!("the program `{program}` cannot be run: {error}"),
    }
}

fn retry(error: String) -> Failure {
    Failure::Retry { error, after: None }
}

fn for_good(error: &str) -> Failure {
    Failure::Permanent { error: error.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::output::Head;
    use super::*;

    /// The end of a program with a wait status: an exit code times 256, or the number of a signal.
    fn ended(status: i32, stdout: &str, stderr: &str) -> Ended {
        let (mut head, mut tail) = (Head::default(), Tail::default());
        head.add(stdout.as_bytes());
        tail.add(stderr.as_bytes());
        Ended { status: ExitStatus::from_raw(status), stdout: head, stderr: tail, was_stopped: false }
    }

    #[test]
    fn the_exit_code_decides() {
        assert_eq!(outcome(ended(0, "1", "a warning")), Ok("1".to_owned()));
        assert_eq!(
            outcome(ended(65 << 8, "1", "no such customer\n")),
            Err(for_good("the program ended with exit code 65: no such customer"))
        );
        assert_eq!(
            outcome(ended(1 << 8, "", "")),
            Err(retry("the program ended with exit code 1, and wrote nothing to standard error".into()))
        );
        assert_eq!(
            outcome(ended(9, "", "half")),
            Err(retry("the program was ended by signal 9 (SIGKILL): half".into()))
        );
        let stopped = Ended { was_stopped: true, ..ended(0, "1", "") };
        assert_eq!(outcome(stopped), Err(Failure::Stopped));
    }

    #[test]
    fn an_error_fits_into_the_history_and_has_the_end_of_standard_error() {
        let stderr = format!("{}the cause", "é".repeat(5_000));
        let Err(Failure::Retry { error, .. }) = outcome(ended(1 << 8, "", &stderr)) else {
            panic!("exit code 1 is retried");
        };
        assert_eq!(error.chars().count(), MAX_ERROR_CHARS);
        assert!(error.ends_with("éthe cause"), "{error}");
    }

    #[test]
    fn a_nul_byte_is_a_failure_for_good() {
        let mut command = Launcher::this_program().command("x");
        let error = Process::start(command.arg("a\0b")).expect_err("cannot be passed");
        assert!(matches!(not_started(&error, "x", None), Failure::Permanent { .. }), "{error}");
    }
}
