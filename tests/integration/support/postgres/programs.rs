//! The programs of PostgreSQL on this machine, and the account they run as.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::unistd::{User, geteuid};

use super::install::install;
use super::{OLDEST_VERSION, environment};

/// What is needed of an installation.
const NEEDED: [&str; 5] = ["initdb", "postgres", "pg_basebackup", "pg_dump", "pg_restore"];

/// Where installations are that `PATH` does not know: a folder, and how the names of its folders
/// that hold one begin.
const USUAL_PLACES: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/usr/local", "pgsql"),
    ("/opt/homebrew/opt", "postgresql"),
    ("/usr/local/opt", "postgresql"),
];

/// The account that PostgreSQL runs as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) user: u32,
    pub(super) group: u32,
}

/// An installation.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    /// None where it is who runs the tests.
    account: Option<Account>,
}

impl Programs {
    /// Those that this process uses; installed first, if there are none and that is possible.
    pub(super) fn get() -> Result<&'static Self, String> {
        static NEW: OnceLock<Result<Programs, String>> = OnceLock::new();
        let fault = match Self::installed() {
            Ok(programs) => return Ok(programs),
            Err(fault) => fault,
        };
        let programs = NEW.get_or_init(|| {
            install().map_err(|not_installed| format!("{fault}; {not_installed}"))?;
            Self::find(&[], &usual_folders())
        });
        programs.as_ref().map_err(Clone::clone)
    }

    /// Those that were there before the tests.
    pub(super) fn installed() -> Result<&'static Self, String> {
        static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
        let programs = PROGRAMS.get_or_init(|| Self::find(&folders_in_path(), &usual_folders()));
        programs.as_ref().map_err(Clone::clone)
    }

    /// The first of the preferred that can be used, else the newest of the others.
    fn find(preferred: &[PathBuf], others: &[PathBuf]) -> Result<Self, String> {
        let account = account();
        let mut faults = Vec::new();
        let mut look = |folder: &PathBuf| {
            let programs = Self { folder: folder.clone(), account };
            match programs.version() {
                Ok(version) => Some((version, programs)),
                Err(fault) => {
                    faults.push(format!("{}: {fault}", folder.display()));
                    None
                }
            }
        };
        let found = preferred.iter().find_map(&mut look);
        let found = found.or_else(|| others.iter().filter_map(&mut look).max_by_key(|(version, _)| *version));
        match found {
            Some((_, programs)) => Ok(programs),
            None if faults.is_empty() => Err("no installation was found".to_owned()),
            None => Err(faults.join("; ")),
        }
    }

    /// The version of all of the programs, if they run and it is new enough.
    fn version(&self) -> Result<u32, String> {
        let versions: Result<Vec<_>, _> = NEEDED.iter().map(|program| self.version_of(program)).collect();
        let mut versions = versions?;
        versions.dedup();
        match versions[..] {
            [version] if version >= OLDEST_VERSION => Ok(version),
            [version] => Err(format!("it is PostgreSQL {version}, and tests need {OLDEST_VERSION} or newer")),
            _ => Err("it mixes versions".to_owned()),
        }
    }

    fn version_of(&self, program: &str) -> Result<u32, String> {
        let output = self.command(program, Path::new("/")).arg("--version").stdout(Stdio::piped()).output();
        let output = output.map_err(|error| format!("{program} cannot be run: {error}"))?;
        // "initdb (PostgreSQL) 15.4 (Debian 15.4-1)", "postgres (PostgreSQL) 18beta1"
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_once("(PostgreSQL) ").map_or("", |(_, version)| version);
        let digits = version.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(version.len());
        version[..digits].parse().map_err(|_| format!("{program} does not tell its version"))
    }

    /// The owner of the files that the programs work on, if it is not the user of the tests.
    pub(super) fn account(&self) -> Option<Account> {
        self.account
    }

    /// A program, to be run in a folder. It reads nothing, and what it writes is dropped.
    pub(super) fn command(&self, program: &str, folder: &Path) -> Command {
        self.set_up(Command::new(self.folder.join(program)), folder)
    }

    /// Copies the folder of a server that does not run. The copy has the same owner.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> Result<(), String> {
        run(self.set_up(Command::new("cp"), Path::new("/")).arg("-R").arg(from).arg(to))
    }

    fn set_up(&self, mut command: Command, folder: &Path) -> Command {
        command.current_dir(folder).env("HOME", folder).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(Account { user, group }) = self.account {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Runs a program to its end. The error is what it complained about.
pub(super) fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    let folder =
        command.get_current_dir().map_or(String::new(), |folder| format!(" in {}", folder.display()));
    let output = command.stderr(Stdio::piped()).output();
    let output = output.map_err(|error| format!("{name} cannot be run{folder}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// PostgreSQL refuses to run as root.
fn account() -> Option<Account> {
    if !geteuid().is_root() {
        return None;
    }
    let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten())?;
    Some(Account { user: user.uid.as_raw(), group: user.gid.as_raw() })
}

/// The folders of `PATH` with an `initdb`, each followed by the one that this is a link into.
fn folders_in_path() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in std::env::split_paths(&environment("PATH").unwrap_or_default()) {
        let Ok(program) = folder.join("initdb").canonicalize() else { continue };
        folders.push(folder);
        folders.extend(program.parent().map(Path::to_owned));
    }
    folders.dedup();
    folders
}

fn usual_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (place, prefix) in USUAL_PLACES {
        let Ok(entries) = Path::new(place).read_dir() else { continue };
        let named = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        folders.extend(named.map(|entry| entry.path().join("bin")));
    }
    folders.retain(|folder| folder.join("initdb").exists());
    folders
}
