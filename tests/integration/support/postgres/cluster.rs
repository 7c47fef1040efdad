//! A server of a test's own, for tests that stop it, kill it, or promote its standby.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::{DURABLE, Process, SHARED, Settings};
use super::programs::{Programs, run};
use super::scratch::Scratch;
use super::session::Session;
use crate::support::ports::free_port;
use crate::support::wait::wait_until;

/// Starts that may fail because another program took the port meanwhile.
const STARTS: usize = 3;

/// How long a standby may take to be in step with its primary.
const STANDBY_TIME: Duration = Duration::from_secs(60);

/// How long it may take to read its settings anew.
const RELOAD_TIME: Duration = Duration::from_secs(30);

/// A server in a folder of its own at a port of its own. Its superuser is postgres, without a
/// password. It is killed and its folder removed when this is dropped, or the test process ends.
#[derive(Debug)]
pub(crate) struct Cluster {
    port: u16,
    /// None while it is down. It has to end before the folder goes.
    process: Option<Process>,
    scratch: Scratch,
    programs: &'static Programs,
    settings: Settings,
}

impl Cluster {
    /// Starts a new one, with nothing in it but the database `postgres`.
    pub(crate) fn start() -> Self {
        Self::try_start(DURABLE).unwrap_or_else(|fault| panic!("cannot start a PostgreSQL server: {fault}"))
    }

    /// Starts a new one for the databases of many tests. It is neither stopped nor killed before they end.
    pub(super) fn try_start_shared() -> Result<Self, String> {
        Self::try_start(SHARED)
    }

    fn try_start(settings: Settings) -> Result<Self, String> {
        let (programs, new) = (Programs::get()?, new_files()?);
        Self::create(programs, settings, |programs, scratch| programs.copy(&new.data(), &scratch.data()))
    }

    /// Makes the files of a server, and starts it at a port that is free.
    fn create(
        programs: &'static Programs,
        settings: Settings,
        fill: impl FnOnce(&Programs, &Scratch) -> Result<(), String>,
    ) -> Result<Self, String> {
        let scratch =
            Scratch::new(programs.account()).map_err(|error| format!("no folder for it: {error}"))?;
        fill(programs, &scratch)?;
        let mut started = Err(String::new());
        for _ in 0..STARTS {
            let port = free_port();
            started = Process::start(programs, &scratch, port, settings).map(|process| (port, process));
            // Only another port can help, and only if it was taken.
            if !started.as_ref().is_err_and(|fault| fault.contains("could not bind")) {
                break;
            }
        }
        let (port, process) = started?;
        Ok(Self { port, process: Some(process), scratch, programs, settings })
    }

    /// The URL of one of its databases. It stays the same while the server is down.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops it as an operator does: connections are closed, everything is written to disk.
    pub(crate) fn stop_fast(&mut self) {
        self.stop(Signal::SIGINT);
    }

    /// Kills all of its processes in the middle of what they do: nothing is written any more, and
    /// the next start recovers from the log.
    pub(crate) fn kill_hard(&mut self) {
        self.stop(Signal::SIGQUIT);
    }

    fn stop(&mut self, signal: Signal) {
        let Some(mut process) = self.process.take() else { panic!("a server that is down is not stopped") };
        assert!(process.end(signal), "postgres does not stop on {signal}");
    }

    /// Starts it where it was, after it was stopped or killed.
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "a server that runs is not started");
        let process = Process::start(self.programs, &self.scratch, self.port, self.settings);
        self.process = Some(process.unwrap_or_else(|fault| panic!("{fault}")));
    }

    /// Stops it and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop_fast();
        self.start_again();
    }

    /// Copies one of its databases into a file, which goes with the server.
    pub(crate) fn dump(&self, database: &str) -> PathBuf {
        let dump = self.scratch.path().join(format!("{database}.dump"));
        let mut command = self.programs.command("pg_dump", self.scratch.path());
        command.arg("--format=custom").arg("--file").arg(&dump).arg(self.url(database));
        run(&mut command).unwrap_or_else(|fault| panic!("cannot dump {database}: {fault}"));
        dump
    }

    /// Creates a database of a file that `dump` has made.
    pub(crate) fn restore(&self, dump: &Path, database: &str) {
        self.ask(&format!("CREATE DATABASE {database}"));
        let mut command = self.programs.command("pg_restore", self.scratch.path());
        command.arg("--exit-on-error").arg("--dbname").arg(self.url(database)).arg(dump);
        run(&mut command).unwrap_or_else(|fault| panic!("cannot restore {database}: {fault}"));
    }

    /// Starts a server of a copy of all files of this one, which goes on.
    pub(crate) fn base_backup(&self) -> Self {
        let copy = Self::create(self.programs, self.settings, |programs, scratch| {
            let mut copy = programs.command("pg_basebackup", scratch.path());
            copy.args(["--no-sync", "--checkpoint=fast", "--wal-method=stream"]);
            let primary = format!("host=127.0.0.1 port={} user=postgres sslmode=disable", self.port);
            copy.arg("--dbname").arg(primary);
            run(copy.arg("-D").arg(scratch.data()))
        });
        copy.unwrap_or_else(|fault| panic!("cannot start a copy: {fault}"))
    }

    /// Starts a copy that follows this one, and for which no commit waits.
    pub(crate) fn asynchronous_standby(&self) -> Self {
        self.follow(&standby_name())
    }

    /// Starts a copy without which nothing is committed any more: from now on every commit waits
    /// until it is on the copy's disk, too.
    pub(crate) fn synchronous_standby(&self) -> Self {
        let name = standby_name();
        let standby = self.follow(&name);
        self.ask(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
        self.ask("SELECT pg_reload_conf()");
        self.wait_for_standby(&name, "sync_state = 'sync'");
        standby
    }

    /// Makes a standby a server that is written to, which it is when this returns. Its primary is
    /// stopped or killed before: they would both go on, each for itself.
    pub(crate) fn promote(&self) {
        assert_eq!(self.ask("SELECT pg_promote()"), ["t"], "a standby is promoted in time");
    }

    /// Encrypts connections, from now on, with a certificate and its key, both in PEM.
    pub(crate) fn use_certificate(&self, certificate: &str, key: &str) {
        for (file, text) in [("server.crt", certificate), ("server.key", key)] {
            self.scratch.write(file, text).unwrap_or_else(|error| panic!("cannot write {file}: {error}"));
        }
        self.ask("ALTER SYSTEM SET ssl = on");
        self.ask("SELECT pg_reload_conf()");
        let encrypts = wait_until(RELOAD_TIME, || self.ask("SHOW ssl") == ["on"]);
        assert!(encrypts, "connections are not encrypted after {RELOAD_TIME:?}");
    }

    fn follow(&self, name: &str) -> Self {
        let standby = Self::create(self.programs, self.settings, |programs, scratch| {
            let mut copy = programs.command("pg_basebackup", scratch.path());
            copy.args(["--no-sync", "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf"]);
            // The standby finds its primary with what the copy was made with.
            let primary = format!("host=127.0.0.1 port={} user=postgres sslmode=disable", self.port);
            copy.arg("--dbname").arg(format!("{primary} application_name={name}"));
            run(copy.arg("-D").arg(scratch.data()))
        });
        let standby = standby.unwrap_or_else(|fault| panic!("cannot start a standby: {fault}"));
        self.wait_for_standby(name, "state = 'streaming'");
        standby
    }

    fn wait_for_standby(&self, name: &str, condition: &str) {
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_replication \
             WHERE application_name = '{name}' AND {condition})"
        );
        let reached = wait_until(STANDBY_TIME, || self.ask(&sql) == ["t"]);
        assert!(reached, "{condition} is not reached by the standby after {STANDBY_TIME:?}");
    }

    fn ask(&self, sql: &str) -> Vec<String> {
        let session = Session::open(&self.url("postgres"));
        let answer = session.and_then(|session| session.ask(sql));
        answer.unwrap_or_else(|fault| panic!("{sql}: {fault}"))
    }
}

/// The files of a server that was never started. Made once in a process: to copy them takes a fraction of the time.
fn new_files() -> Result<&'static Scratch, String> {
    static FILES: OnceLock<Result<Scratch, String>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let programs = Programs::get()?;
        let scratch =
            Scratch::new(programs.account()).map_err(|error| format!("no folder for it: {error}"))?;
        let mut initdb = programs.command("initdb", scratch.path());
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres"]);
        run(initdb.args(["--encoding=UTF8", "--locale=C", "-D"]).arg(scratch.data()))?;
        Ok(scratch)
    });
    files.as_ref().map_err(Clone::clone)
}

fn standby_name() -> String {
    static STARTED: AtomicU16 = AtomicU16::new(0);
    format!("standby_{}", STARTED.fetch_add(1, Ordering::Relaxed))
}
