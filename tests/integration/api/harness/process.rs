//! The program itself, in a folder and an environment of its own.

use std::fs::File;
use std::io::{PipeWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::sqlite::SqliteConnection;
use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::Channel;

use super::client::Rest;
use super::{Store, eventually};
use crate::support::inbox_database::inbox_database_for;
use crate::support::ports::free_port;
use crate::support::postgres::{Database, Session, server};
use crate::support::terminal::Terminal;

/// A terminal in which no line is cut.
const WIDE: u16 = 200;

/// A folder to run the program in, its addresses, and its environment.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    http: u16,
    grpc: u16,
    environment: Vec<(String, String)>,
    /// With PostgreSQL.
    database: Option<Database>,
}

/// A program at work. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    pub(crate) rest: Rest,
}

impl Place {
    /// With a short-lived `simulate` handler, the file `hookbox.db`, and these variables besides.
    pub(crate) fn new(environment: &[(&str, &str)]) -> Self {
        Self::on(Store::Sqlite, environment)
    }

    /// The same, on either store. The tables of PostgreSQL may be there, without rows.
    pub(crate) fn on(store: Store, environment: &[(&str, &str)]) -> Self {
        Self::with((store == Store::Postgres).then(|| inbox_database_for(1)), environment)
    }

    /// The same with a new database, for tests that change its tables, or look at how they are made.
    pub(crate) fn on_new(store: Store, environment: &[(&str, &str)]) -> Self {
        Self::with((store == Store::Postgres).then(|| server().database()), environment)
    }

    fn with(database: Option<Database>, environment: &[(&str, &str)]) -> Self {
        let (http, grpc) = (free_port(), free_port());
        let standard = [
            ("HOOKBOX_HTTP_ADDR", format!("127.0.0.1:{http}")),
            ("HOOKBOX_GRPC_ADDR", format!("127.0.0.1:{grpc}")),
            ("HOOKBOX_WORKERS", "4".to_owned()),
            ("HOOKBOX_SIMULATE_MIN", "0s".to_owned()),
            ("HOOKBOX_SIMULATE_MAX", "0s".to_owned()),
        ];
        let url = database.iter().map(|database| ("HOOKBOX_DATABASE_URL", database.url()));
        let given = environment.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let all = standard.into_iter().chain(url).chain(given);
        let environment = all.map(|(name, value)| (name.to_owned(), value)).collect();
        Self { folder: TempDir::new().unwrap(), http, grpc, environment, database }
    }

    /// The same place, with a variable set otherwise.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The name of the file, or of the database.
    pub(crate) fn database(&self) -> String {
        self.database.as_ref().map_or("hookbox.db", Database::name).to_owned()
    }

    /// Runs SQL in the file, or in the database, as another program would.
    pub(crate) fn execute(&self, sql: &str) {
        match &self.database {
            Some(database) => drop(Session::open(&database.url()).unwrap().ask(sql).unwrap()),
            None => {
                let path = self.path("hookbox.db");
                let mut shell = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
                shell.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
                shell.batch_execute(sql).unwrap();
            }
        }
    }

    pub(crate) fn http_port(&self) -> u16 {
        self.http
    }

    pub(crate) fn grpc_port(&self) -> u16 {
        self.grpc
    }

    /// A client of the contract.
    pub(crate) async fn grpc(&self) -> WebhookServiceClient<Channel> {
        WebhookServiceClient::new(self.channel().await)
    }

    /// A connection for calls.
    pub(crate) async fn channel(&self) -> Channel {
        let address = format!("http://127.0.0.1:{}", self.grpc);
        Channel::from_shared(address).unwrap().connect().await.unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command to its end. Its standard output is a pipe without a reader.
    pub(crate) fn run_into_closed_pipe(&self, arguments: &[&str]) -> Output {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        self.command(arguments).stdout(writer).output().unwrap()
    }

    /// Starts serving, and waits until it is ready.
    pub(crate) async fn serve(&self) -> Process {
        let mut process = self.start();
        let rest = process.rest.clone();
        let ready = async || {
            let answer = rest.request(reqwest::Method::GET, "/readyz").send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        };
        eventually("hookbox being ready", || async { ready().await.then_some(()) }).await;
        assert!(process.child.try_wait().unwrap().is_none(), "{}", process.log());
        process
    }

    /// Starts serving.
    pub(crate) fn start(&self) -> Process {
        self.start_command(&["serve"])
    }

    /// Starts serving. The log goes into this pipe.
    pub(crate) fn start_with_log_into(&self, pipe: PipeWriter) -> Process {
        self.spawn(&["serve"], |log| [Stdio::null(), appended(log), pipe.into()])
    }

    /// Starts a command; all that it says is logged.
    pub(crate) fn start_command(&self, arguments: &[&str]) -> Process {
        self.spawn(arguments, |log| [Stdio::null(), appended(log), appended(log)])
    }

    /// Starts a command whose standard input and standard error are a terminal.
    pub(crate) fn start_on_terminal(&self, arguments: &[&str]) -> (Process, Terminal) {
        self.start_on_terminal_of(WIDE, arguments)
    }

    /// The same on a terminal of this width.
    pub(crate) fn start_on_terminal_of(&self, columns: u16, arguments: &[&str]) -> (Process, Terminal) {
        let (terminal, end) = Terminal::open(columns);
        let input = end.try_clone().unwrap().into();
        (self.spawn(arguments, |log| [input, appended(log), end.into()]), terminal)
    }

    /// Starts a command that has only a terminal. Nothing of what it says is logged.
    pub(crate) fn start_wholly_on_terminal(&self, arguments: &[&str]) -> (Process, Terminal) {
        let (terminal, end) = Terminal::open(WIDE);
        let stdio = || Stdio::from(end.try_clone().unwrap());
        (self.spawn(arguments, |_| [stdio(), stdio(), stdio()]), terminal)
    }

    /// Runs a command to its end on a terminal of this width. Answers its exit code, and all that it has written.
    pub(crate) async fn run_on_terminal(&self, columns: u16, arguments: &[&str]) -> (Option<i32>, String) {
        /// Written after the command has ended. Commands escape it.
        const END: char = '\u{4}';
        let (terminal, end) = Terminal::open(columns);
        let stdio = || Stdio::from(end.try_clone().unwrap());
        let mut command = self.command(arguments);
        let status = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).status().unwrap();
        write!(File::from(end), "{END}").unwrap();
        let written = || async { terminal.text().strip_suffix(END).map(ToOwned::to_owned) };
        (status.code(), eventually("the end of the output", written).await)
    }

    /// Starts a command. `stdio` gets the path of its log, and returns its standard input, output and error.
    fn spawn(&self, arguments: &[&str], stdio: impl FnOnce(&Path) -> [Stdio; 3]) -> Process {
        static STARTED: AtomicU16 = AtomicU16::new(0);
        let log = self.path(&format!("log-{}", STARTED.fetch_add(1, Ordering::SeqCst)));
        File::create(&log).unwrap();
        let [input, output, error] = stdio(&log);
        let child = self.command(arguments).stdin(input).stdout(output).stderr(error).spawn().unwrap();
        let address = format!("127.0.0.1:{}", self.http).parse().unwrap();
        Process { child, log, rest: Rest::new(address) }
    }

    /// Runs a command that can write no file of more than `kib` KiB. The shell ignores SIGXFSZ for it: a write beyond
    /// the limit then fails, and does not end the process.
    pub(crate) fn run_with_small_files(&self, kib: u32, arguments: &[&str]) -> Output {
        let mut shell = Command::new("/bin/sh");
        // In blocks of 512 bytes.
        let script = format!(r#"trap '' XFSZ; ulimit -f {}; exec "$0" "$@""#, 2 * kib);
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_hookbox")]).args(arguments);
        self.at_home(&mut shell).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookbox"));
        self.at_home(command.args(arguments));
        command
    }

    /// In the folder and the environment of the place.
    fn at_home<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.current_dir(self.folder.path()).stdin(Stdio::null()).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)))
    }
}

impl Process {
    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has logged something.
    pub(crate) async fn wait_for_log(&self, text: &str) {
        eventually(text, || async { self.log().contains(text).then_some(()) }).await;
    }

    /// Waits until a webhook has a status, and answers all of the webhook.
    pub(crate) async fn wait_for(&self, id: &str, status: &str) -> Value {
        eventually(&format!("webhook {id} becoming {status}"), || async {
            let webhook = self.rest.webhook(id).await;
            (webhook["status"] == status).then_some(webhook)
        })
        .await
    }

    /// Waits until a worker holds a job.
    pub(crate) async fn wait_until_busy(&self) {
        eventually("a busy worker", || async {
            let stats = self.rest.get("/v1/stats").await.json();
            (stats["workers"]["busy"] == 1).then_some(())
        })
        .await;
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process_id().cast_signed()), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = std::cell::RefCell::new(&mut self.child);
        eventually("the end of the process", || async { child.borrow_mut().try_wait().unwrap() }).await
    }

    /// Asks it to stop and waits for its exit code.
    pub(crate) async fn terminate(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.ended().await.code()
    }
}

/// The end of a log. Both outputs are appended, or one would be written over the other.
fn appended(log: &Path) -> Stdio {
    File::options().append(true).open(log).unwrap().into()
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
