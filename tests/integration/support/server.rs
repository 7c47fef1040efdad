//! Hookbox processes over a database that outlives them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::client::eventually;
use crate::support::ports::free_port;

/// How long a start may take, with much to do beside it.
const START_TIME: Duration = Duration::from_secs(30);

/// Starts that may fail because another program took a port meanwhile.
const STARTS: usize = 5;

/// Lines of the log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// A folder to run in, and how the processes there are started.
#[derive(Debug)]
pub(crate) struct Place {
    folder: Arc<TempDir>,
    settings: Vec<String>,
    open_files: Option<u32>,
    environment: Vec<(String, String)>,
}

/// A running process. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    http: SocketAddr,
    grpc: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    #[expect(dead_code, reason = "held for as long as the process has files in it")]
    folder: Arc<TempDir>,
}

impl Place {
    /// The settings are flags. Without one that names a database, that is a file of the folder.
    pub(crate) fn new(settings: &[&str]) -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().expect("a folder")),
            settings: settings.iter().map(ToString::to_string).collect(),
            open_files: None,
            environment: Vec::new(),
        }
    }

    /// With a variable in the environment, which is empty otherwise.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets a process open no more than this many files.
    pub(crate) fn with_open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// The database, or a file beside it.
    pub(crate) fn file(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("hookbox.db{suffix}"))
    }

    /// Runs a command to its end, with the settings of the place.
    pub(crate) async fn run(&self, command: &str) -> Output {
        let mut child = self.command(command).stdout(Stdio::piped()).spawn().expect("starts");
        // What it says fits into the pipes.
        ended(&mut child, command).await;
        child.wait_with_output().expect("has ended")
    }

    /// Starts a process and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Server {
        for _ in 0..STARTS {
            if let Some(server) = self.try_start() {
                return server;
            }
        }
        panic!("no start in {STARTS} found its ports free");
    }

    fn try_start(&self) -> Option<Server> {
        let [http, grpc] = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut command = self.command("serve");
        command.arg(format!("--http-addr={http}")).arg(format!("--grpc-addr={grpc}"));
        let mut child = command.spawn().expect("starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().expect("is piped"));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if line.contains("hookbox is ready") {
                    // The receiver is gone after the first time.
                    let _ = ready.send(());
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut server = Server { child, http, grpc, log, folder: Arc::clone(&self.folder) };
        match is_ready.recv_timeout(START_TIME) {
            Ok(()) => Some(server),
            Err(RecvTimeoutError::Timeout) => panic!("not ready after {START_TIME:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let ended = server.child.wait().expect("ends");
                assert!(server.has_logged("cannot listen"), "did not start: {ended}");
                None
            }
        }
    }

    /// The shell ignores SIGXFSZ for the program that takes its place: a write beyond the limit on
    /// file sizes then fails, as a write to a full disk does, instead of ending the process.
    fn command(&self, command: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        let limit = self.open_files.map(|limit| format!("ulimit -n {limit}; ")).unwrap_or_default();
        let script = format!(r#"trap '' XFSZ; {limit}exec "$0" "$@""#);
        shell
            .args(["-c", &script, env!("CARGO_BIN_EXE_hookbox"), command])
            .args(&self.settings)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        shell
    }
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(crate) fn http_address(&self) -> SocketAddr {
        self.http
    }

    pub(crate) fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    pub(crate) fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Whether a line of the log has this text.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.times_logged(text) > 0
    }

    /// Waits until a line of the log has this text.
    pub(crate) async fn says(&self, text: &str) {
        eventually(text, async || self.has_logged(text).then_some(())).await;
    }

    /// In how many lines it has logged something so far.
    pub(crate) fn times_logged(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    /// SIGSTOP: the process does nothing more, and loses nothing.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT: it goes on where it was.
    pub(crate) fn wake(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGTERM: asks it to stop, and waits until it has.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.stop().await
    }

    /// As [`terminate`](Self::terminate). Also waits until a line of the log has this text.
    pub(crate) async fn terminate_saying(mut self, text: &str) -> ExitStatus {
        let status = self.stop().await;
        self.says(text).await;
        status
    }

    /// SIGKILL: the process has no chance to do anything more.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        ended(&mut self.child, "the stopped process").await
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
    }

    fn end(&mut self) {
        // It fails if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn log(&self) -> MutexGuard<'_, Vec<String>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "what the process said is shown when a test fails")]
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = self.log();
            let shown = log.len().saturating_sub(LOG_LINES_SHOWN);
            eprintln!("the last lines of the log of {}:\n{}", self.child.id(), log[shown..].join("\n"));
        }
    }
}

async fn ended(child: &mut Child, what: &str) -> ExitStatus {
    let child = std::cell::RefCell::new(child);
    eventually(&format!("{what} ends"), async || child.borrow_mut().try_wait().expect("can be asked")).await
}

/// The size of a file in bytes; 0 if it is not there.
pub(crate) fn size_of(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}
