//! A hookbox process over a file that outlives it.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

/// How long a start may take, with much to do beside it.
const START_TIME: Duration = Duration::from_secs(30);

/// Starts that may fail because another program took a port meanwhile.
const STARTS: usize = 5;

/// Lines of the log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// Where the file is, and how the processes over it are started.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    settings: Vec<String>,
}

/// A running process. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    http: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Place {
    pub(crate) fn new(settings: &[&str]) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            settings: settings.iter().map(ToString::to_string).collect(),
        }
    }

    /// The database, or a file beside it.
    pub(crate) fn file(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("inbox.db{suffix}"))
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
        let [http, grpc] = free_addresses();
        let mut child = self.command(http, grpc).spawn().expect("starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().expect("is piped"));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if line.contains("hookbox is ready") {
                    // Nobody waits any more after the first time.
                    let _ = ready.send(());
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut server = Server { child, http, log };
        match is_ready.recv_timeout(START_TIME) {
            Ok(()) => Some(server),
            Err(RecvTimeoutError::Timeout) => panic!("not ready after {START_TIME:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let ended = server.child.wait().expect("ends");
                let log = server.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
                assert!(log.contains("cannot listen"), "did not start: {ended}\n{log}");
                None
            }
        }
    }

    /// The shell ignores SIGXFSZ for the program that takes its place: a write beyond the limit on
    /// file sizes then fails, as a write to a full disk does, instead of ending the process.
    fn command(&self, http: SocketAddr, grpc: SocketAddr) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#, env!("CARGO_BIN_EXE_hookbox"), "serve"])
            .arg(format!("--database-url=sqlite://{}", self.file("").display()))
            .arg(format!("--http-addr={http}"))
            .arg(format!("--grpc-addr={grpc}"))
            .args(&self.settings)
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: the process has no chance to do anything more.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It fails if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "what the process said is shown when a test fails")]
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let shown = log.len().saturating_sub(LOG_LINES_SHOWN);
            eprintln!("the last lines of the log:\n{}", log[shown..].join("\n"));
        }
    }
}

/// Two ports that nothing listens on, and that no test of this program was given before.
fn free_addresses() -> [SocketAddr; 2] {
    static GIVEN: Mutex<Option<HashSet<SocketAddr>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    // Held until two are found, so that the system names others.
    let mut held = Vec::new();
    let mut found = Vec::new();
    while found.len() < 2 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("has an address");
        held.push(listener);
        if given.insert(address) {
            found.push(address);
        }
    }
    [found[0], found[1]]
}

/// The size of a file in bytes; 0 if it is not there.
#[cfg(target_os = "linux")]
pub(crate) fn size_of(file: &std::path::Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}
