//! The command line, with one file for each command.

mod ask;
mod backup;
mod bar;
mod bench;
mod client;
mod config;
mod health;
mod output;
mod presets;
mod reload;
mod serve;
mod settings;
mod token;
mod transfer;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use console::Term;

use self::output::print;
use self::settings::SettingFlags;
use crate::app::{ReadLayers, known_handlers};
use crate::config::{Config, Database, EXIT_USAGE, Mistakes, without_password};
use crate::store::{postgres, sqlite};
use crate::worker::handler::Registry;

/// The exit code of a process that a signal has stopped: 128 and the number of SIGINT, as in shells.
const EXIT_INTERRUPTED: u8 = 130;

/// The longest lines of the help: longer ones are hard to read.
const HELP_COLUMNS: usize = 120;

/// The width by which clap does not wrap the help.
const NOT_WRAPPED: usize = 0;

/// A durable inbox for webhooks: stores each webhook before it answers, runs the handler of every
/// matching route, and reports the results
#[derive(Debug, Parser)]
#[command(name = "hookbox", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve REST and gRPC and run jobs, until SIGTERM or SIGINT
    Serve(SettingFlags),
    /// Create the tables of the database or bring them up to date, then exit
    Migrate(SettingFlags),
    /// Move all webhooks from a SQLite file to a PostgreSQL database
    Transfer(transfer::Transfer),
    /// Copy the SQLite file of database_url to a new file, also while it is served, and check the copy
    Backup(backup::Backup),
    /// Copy a backup to a SQLite file that does not exist yet, and check it. Stop hookbox first
    Restore(backup::Restore),
    /// Print the settings in force, each with its origin, or check them
    Config(config::Show),
    /// List the presets of sources, or print one as TOML
    Presets(presets::List),
    /// Have the hookbox at http_addr reload its settings: routes and their defaults, sources, tokens and certificates
    /// take effect, or none of them
    Reload(reload::Reload),
    /// Make a token, and print it with the lines of the settings file for it
    Token(token::Make),
    /// Print the OpenAPI document
    Openapi,
    /// Print the script by which a shell completes commands, flags, and the names of sources and routes
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Client(Box<client::ClientCommand>),
    /// Ask the hookbox at http_addr whether it is ready (with --live: alive); exit code 0 if it is, else 1
    Health(health::Health),
    /// Send distinct webhooks to a running hookbox, and print how many it accepts per second
    Bench(bench::Bench),
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// The settings have mistakes; exit code 64.
    Usage(Mistakes),
    /// An error with an exit code of its own.
    Coded(u8, Box<dyn std::error::Error + Send + Sync>),
    /// Any other error; exit code 1.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Mistakes> for Failure {
    fn from(error: Mistakes) -> Self {
        Self::Usage(error)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<Box<E>> for Failure {
    fn from(error: Box<E>) -> Self {
        Self::Other(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Reads the command line, runs the command, and returns the exit code of the process. `own` are the handlers that the
/// program adds.
pub(crate) fn main(own: &Registry) -> ExitCode {
    if let Some(code) = client::complete(Cli::command) {
        return code;
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(mut error) => {
            hide_passwords(&mut error);
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            // If the text cannot be written, there is no other way to report it.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(cli.command, own) {
        Ok(code) => code,
        Err(Failure::Usage(error)) => {
            complain(&error);
            ExitCode::from(EXIT_USAGE)
        }
        Err(Failure::Coded(code, error)) => {
            complain(&*error);
            ExitCode::from(code)
        }
        Err(Failure::Other(error)) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line. The help fits the terminal; on a pipe, each of its texts is one line.
fn parse() -> Result<Cli, clap::Error> {
    let columns = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns).min(HELP_COLUMNS));
    let mut command = Cli::command().term_width(columns.unwrap_or(NOT_WRAPPED));
    let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Reads the settings from a file, or from `hookbox.toml` if it exists, and the environment.
pub(crate) fn settings_reader(file: Option<PathBuf>) -> Arc<ReadLayers> {
    let flags = SettingFlags::of_file(file);
    Arc::new(move || flags.layers())
}

/// Hides the password of a URL in an error of the command line, because the error may be logged.
fn hide_passwords(error: &mut clap::Error) {
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue] {
        if let Some(ContextValue::String(given)) = error.get(kind) {
            let shown = without_password(given);
            error.insert(kind, ContextValue::String(shown));
        }
    }
}

fn run(command: Command, own: &Registry) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(flags) => serve::serve(&flags, own),
        Command::Migrate(flags) => migrate(Config::new(&flags.layers()?, &known_handlers(own))?),
        Command::Transfer(transfer) => transfer.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Config(config) => config.run(own),
        Command::Presets(presets) => presets.run(),
        Command::Reload(reload) => reload.run(),
        Command::Token(token) => token.run(),
        Command::Openapi => print_openapi(),
        Command::Completions { shell } => print_completions(shell),
        Command::Health(health) => health.run(),
        Command::Bench(bench) => bench.run(),
        Command::Client(command) => command.run(),
    }
}

fn migrate(config: Config) -> Result<ExitCode, Failure> {
    let (applied, database) = match config.database {
        Database::Sqlite(path) => (sqlite::migrate(&path).map_err(Box::new)?, path.display().to_string()),
        Database::Postgres(target) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            (runtime.block_on(postgres::migrate(&target)).map_err(Box::new)?, target.to_string())
        }
    };
    let applied = applied.iter().map(|migration| format!("applied {migration}\n")).collect::<String>();
    print(format_args!("{applied}{database} is up to date\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn print_openapi() -> Result<ExitCode, Failure> {
    let document = crate::http::openapi().to_pretty_json().map_err(Box::new)?;
    print(format_args!("{document}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn print_completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let script = client::registration(shell)?;
    print(String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints an error and all of its causes to standard error.
pub(crate) fn complain(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    // Of several mistakes, each line already begins with its place.
    if !text.contains('\n') {
        text.insert_str(0, "hookbox: ");
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    // If standard error is closed, there is no other way to report the error.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says what happens, to standard error.
fn note(text: &str) {
    // If standard error is closed, the note is not needed.
    let _ = writeln!(io::stderr(), "hookbox: {text}");
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::worker::handler::{self, Attempt};

    #[test]
    fn a_command_formatted_with_debug_shows_no_password() {
        for command in [
            "serve --database-url",
            "config --database-url",
            "config check --database-url",
            "health --live --database-url",
            "backup --to copy.db --database-url",
            "restore --from copy.db --database-url",
            "transfer --from sqlite://hookbox.db --to",
        ] {
            let url = "postgres://me:s3cret@db/box";
            let arguments = ["hookbox"].into_iter().chain(command.split(' ')).chain([url]);
            let shown = format!("{:?}", Cli::try_parse_from(arguments).expect("parses"));
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    /// Checks a settings file whose route has the handler `resize`.
    fn config_check(own: &Registry) -> Result<ExitCode, Failure> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hookbox.toml");
        std::fs::write(&file, "[[routes]]\nname = \"images\"\nhandler = \"resize\"\n").expect("writes");
        let file = file.display().to_string();
        let arguments = ["hookbox", "config", "check", "--config", &file];
        run(Cli::try_parse_from(arguments).expect("parses").command, own)
    }

    #[test]
    fn config_check_knows_the_handlers_that_the_program_adds() {
        let resize = |_: &Attempt<'_>| -> Result<Value, handler::Failure> { Ok(Value::Null) };
        let checked = config_check(&Registry::default().with("resize", resize));
        assert!(checked.is_ok(), "{checked:?}");
        let Err(Failure::Usage(mistakes)) = config_check(&Registry::default()) else {
            panic!("`resize` does not come with hookbox");
        };
        assert!(mistakes.to_string().contains("it must be one of simulate, http, exec"), "{mistakes}");
    }
}
