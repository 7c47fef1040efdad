//! The launcher: hookbox itself, as the first program of each process that the handler `exec` starts. It tells the
//! system to kill the process when hookbox dies, keeps open files from it, and is then replaced by the program of the
//! route.
//!
//! The standard library has no safe way to run code between fork and exec, so this code runs after an exec.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

use super::output::Tail;

/// The first argument of the launcher. The next are the process id of hookbox, the program, and its arguments.
const ARGUMENT: &str = "__exec";

/// The exit code of a launcher that could not run the program. Programs may use it too, so [`NOT_RUN`] has to be all
/// of standard error besides.
const EXIT_NOT_RUN: u8 = 126;

/// Precedes the number of the system's error on the standard error of a launcher that could not run the program.
const NOT_RUN: &str = "hookbox __exec: os error ";

/// The most digits that this number can have.
const MAX_DIGITS: usize = 10;

/// The exit code of a launcher that was started with wrong arguments (`EX_USAGE` of `sysexits.h`).
const EXIT_USAGE: u8 = 64;

/// The first descriptor after standard input, output and error.
const FIRST_DESCRIPTOR: i32 = 3;

/// How the programs of routes are started.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program that calls [`launch`]; none: programs are started without a launcher.
    program: Option<PathBuf>,
}

impl Launcher {
    /// Starts programs with the program that runs now. Its `main` has to call [`launch`], or `HookboxBuilder::run`,
    /// before anything else. Only Linux needs a launcher: other systems do not kill a process when its parent dies.
    pub fn this_program() -> Self {
        // Not the path of the file, which an upgrade may have replaced since the start.
        Self { program: cfg!(target_os = "linux").then(|| "/proc/self/exe".into()) }
    }

    /// Starts programs with another program that calls [`launch`], such as an installed hookbox.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: Some(program.into()) }
    }

    /// Starts programs without a launcher, for a program whose `main` does not call [`launch`]. They go on if hookbox
    /// is killed.
    pub fn none() -> Self {
        Self { program: None }
    }

    /// A command that runs a program. Its further arguments are those of the program.
    pub(super) fn command(&self, program: &str) -> Command {
        let Some(launcher) = &self.program else { return Command::new(program) };
        let mut command = Command::new(launcher);
        command.arg(ARGUMENT).arg(std::process::id().to_string()).arg(program);
        command
    }
}

/// Runs the program of a route if this process was started as a launcher; it then returns only if that failed. None if
/// the process was started for anything else. Call it before all else: it has to be fast, and starts no threads.
pub fn launch() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == ARGUMENT).then(|| run(arguments))
}

fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = arguments.next().and_then(|parent| parent.to_str()?.parse::<u32>().ok());
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        return ExitCode::from(EXIT_USAGE);
    };
    if let Err(error) = die_with_parent() {
        return report(&error);
    }
    // If hookbox died before the line above, no signal comes, and no process reads the exit code.
    if parent_id() != parent {
        return ExitCode::FAILURE;
    }
    // hookbox opens all of its files so that programs do not get them; this is for those that it was started with.
    close_fds::set_fds_cloexec(FIRST_DESCRIPTOR, &[]);
    // Resets SIGPIPE, which Rust ignores, and the mask of signals.
    report(&Command::new(program).args(arguments).exec())
}

/// Has this process killed when the thread that started it ends: that of the attempt, which waits for the program, or
/// with all of hookbox. The program inherits this; the processes that it starts do not.
#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// Tells the handler why the program could not be run.
fn report(error: &io::Error) -> ExitCode {
    let number = error.raw_os_error().unwrap_or_default();
    // If this cannot be written, the exit code remains.
    let _ = writeln!(io::stderr(), "{NOT_RUN}{number}");
    ExitCode::from(EXIT_NOT_RUN)
}

/// Why the launcher could not run the program; none if it ran it, also if the program failed.
pub(super) fn reported_error(status: ExitStatus, stderr: &Tail) -> Option<io::Error> {
    if status.code() != Some(i32::from(EXIT_NOT_RUN)) {
        return None;
    }
    let text = stderr.text(NOT_RUN.len() + MAX_DIGITS);
    let number = text.strip_prefix(NOT_RUN)?.parse().ok()?;
    Some(io::Error::from_raw_os_error(number))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn reported(code: i32, stderr: &str) -> Option<i32> {
        let mut tail = Tail::default();
        tail.add(stderr.as_bytes());
        reported_error(ExitStatus::from_raw(code << 8), &tail).and_then(|error| error.raw_os_error())
    }

    #[test]
    fn only_the_launcher_reports_that_a_program_could_not_be_run() {
        assert_eq!(reported(126, "hookbox __exec: os error 13\n"), Some(13));
        assert_eq!(reported(1, "hookbox __exec: os error 13\n"), None, "another exit code");
        assert_eq!(reported(126, "sh: x: Permission denied\n"), None);
        assert_eq!(reported(126, "said before\nhookbox __exec: os error 13\n"), None);
        assert_eq!(reported(126, ""), None);
    }

    #[test]
    fn a_command_has_the_arguments_of_the_launcher_first() {
        let mut command = Launcher::at("/bin/hookbox").command("deploy");
        command.arg("now");
        assert_eq!(command.get_program(), "/bin/hookbox");
        let id = std::process::id().to_string();
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["__exec", &id, "deploy", "now"]);
    }
}
