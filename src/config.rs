//! The settings: their names, their allowed values, and the origin of each value.
//!
//! The only module that interprets the environment and `hookbox.toml`. A value comes from the default, the
//! file, the environment or a flag; a later one of these wins. A `Config` that exists is valid.

mod addresses;
mod backup;
mod base_path;
mod default_file;
mod file;
mod layers;
mod mistake;
mod parse;
mod protection;
mod reach;
mod routes;
mod secret;
mod settings;
mod sources;
mod tls;
mod tokens;
mod traces;
mod transfer;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::backup::sqlite_file;
pub use self::layers::{Layers, Origin};
pub use self::mistake::Mistakes;
pub(crate) use self::mistake::suggestion;
use self::parse::Reader;
pub use self::protection::Listening;
pub use self::reach::Reach;
use self::routes::{Defaults, ReadRoute};
pub(crate) use self::secret::read as read_secret;
pub use self::secret::without_password;
pub use self::settings::{
    CA_VARIABLE, CLIENT_CERT_VARIABLE, CLIENT_KEY_VARIABLE, SETTINGS, Setting, TOKEN_VARIABLE, URL_VARIABLE,
};
pub use self::sources::Sources;
pub use self::tls::Tls;
use self::tokens::ReadToken;
pub use self::tokens::{ADMIN, wrong_token_name};
pub use self::transfer::{transfer_from, transfer_to, transfer_to_setting};
use crate::access::Tokens;
use crate::domain::handler::Simulate;
use crate::domain::host::{Host, WebOrigin};
use crate::domain::retention::Retention;
use crate::domain::retry::RetryPolicy;
use crate::domain::route::Rate;
use crate::domain::trace::TraceUrl;
use crate::routes::Routes;
use crate::store::postgres::Target;
use crate::telemetry;

/// The exit code of a process that was given a wrong setting (`EX_USAGE` of `sysexits.h`).
pub const EXIT_USAGE: u8 = 64;

/// The default of `shutdown_delay` if others than this machine can send requests: load balancers need a moment to
/// notice that the process is not ready.
const SHUTDOWN_DELAY: Duration = Duration::from_secs(5);

/// The handlers that come with hookbox. The first is the default of routes that do not set `handler`. Of `pull`, workers
/// elsewhere run the jobs.
pub const HANDLERS: &[&str] = &["simulate", "http", "exec", "pull"];

/// The settings that are defaults for routes, each with the member of a route that overrides it. A reload puts
/// them in force; the others need a restart.
pub const OF_ROUTES: &[(&str, &str)] = &[
    ("max_attempts", "retry.attempts"),
    ("retry_base", "retry.base"),
    ("retry_cap", "retry.cap"),
    ("simulate_min", "simulate.min"),
    ("simulate_max", "simulate.max"),
    ("simulate_failure_rate", "simulate.failure_rate"),
];

/// The other settings that a reload puts in force.
pub const OF_ACCESS: &[&str] = &["admin_token", "metrics_open"];

/// All settings, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database that stores webhooks.
    pub database: Database,
    /// The address on which REST is served.
    pub http_addr: SocketAddr,
    /// The address on which gRPC is served.
    pub grpc_addr: SocketAddr,
    /// TLS of both ports; none if they have none.
    pub tls: Option<Tls>,
    /// Hosts for which REST answers requests, besides loopback and the address that a client connected to.
    pub hosts: Vec<Host>,
    /// The origin of `public_url`, the URL at which senders and browsers reach REST; none if it is not set.
    pub public_url: Option<WebOrigin>,
    /// The same URL with its path, without a slash at its end.
    pub public_url_text: Option<Arc<str>>,
    /// The path under which a proxy serves the page, such as `/hooks`; empty if that is the root.
    pub base_path: Arc<str>,
    /// The URL of a trace in the tool that shows traces; none if it is not set.
    pub trace_url: Option<TraceUrl>,
    /// Without tokens: whether every client on any machine may use hookbox, by any host name.
    pub allow_anonymous: bool,
    /// The tokens of the file, and `admin_token`.
    pub tokens: Arc<Tokens>,
    /// The sources.
    pub sources: Sources,
    /// How many worker threads run handlers, 1 to 4096.
    pub workers: usize,
    /// The name of this process in the history of attempts: host name and process id, with a space between them.
    pub worker: String,
    /// The compiled routes.
    pub routes: Arc<Routes>,
    /// How long a lease lasts. It is renewed after a third of that time.
    pub lease: Duration,
    /// How long finished webhooks are kept.
    pub retention: Retention,
    /// How long actions of operators are kept.
    pub retention_actions: Duration,
    /// The time between two purges.
    pub purge_interval: Duration,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How many jobs may be unfinished.
    pub max_backlog: u64,
    /// The share of `max_backlog` from which on the backlog is high, above 0 to 1.
    pub backlog_alert: f64,
    /// How many webhooks each source may send to this process; none if there is no limit.
    pub rate_limit: Option<Rate>,
    /// How long to try to reach the PostgreSQL server at the start.
    pub startup_wait: Duration,
    /// How long to go on serving at shutdown, without being ready.
    pub shutdown_delay: Duration,
    /// How long running attempts may take to finish at shutdown.
    pub shutdown_grace: Duration,
    /// The options of logs and traces.
    pub telemetry: telemetry::Options,
    /// The settings as `hookbox config` prints them, each value with its origin as a comment: without anything secret.
    pub text: Arc<str>,
    read_routes: Vec<ReadRoute>,
    read_tokens: Vec<ReadToken>,
}

/// The database that stores webhooks.
#[derive(Clone, Debug)]
pub enum Database {
    /// A SQLite file, owned by one process.
    Sqlite(PathBuf),
    /// A PostgreSQL database, shared by any number of processes.
    Postgres(Target),
}

impl fmt::Display for Database {
    /// The path, or the URL without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(target) => target.fmt(f),
        }
    }
}

impl Config {
    /// Validates all settings. Routes may name only `handlers`, and the first of them is the default.
    /// Errors: every mistake, with its place.
    ///
    /// # Panics
    /// If `handlers` is empty.
    pub fn new(layers: &Layers, handlers: &[&str]) -> Result<Self, Mistakes> {
        Self::validated(layers, handlers, None)
    }

    /// As [`new`](Self::new), for a hookbox that serves. Also an error: clients on other machines could use it without
    /// a token and a certificate, and `allow_anonymous` does not say that they may.
    ///
    /// # Panics
    /// If `handlers` is empty.
    pub fn protected(layers: &Layers, handlers: &[&str], listening: Listening<'_>) -> Result<Self, Mistakes> {
        Self::validated(layers, handlers, Some(listening))
    }

    fn validated(
        layers: &Layers,
        handlers: &[&str],
        listening: Option<Listening<'_>>,
    ) -> Result<Self, Mistakes> {
        let read = Reader::new(layers);
        let config = Self::read(layers, &read, handlers);
        let mut mistakes = read.mistakes();
        mistakes.extend(addresses::mistake(layers));
        mistakes.extend(listening.iter().flat_map(|listening| protection::mistakes(layers, listening)));
        let mut config = config.filter(|_| mistakes.is_empty()).ok_or_else(|| Mistakes::new(mistakes))?;
        config.text = config.written(layers).into();
        Ok(config)
    }

    /// Reads all settings, also after a mistake, so that all mistakes are found.
    fn read(layers: &Layers, read: &Reader<'_>, handlers: &[&str]) -> Option<Self> {
        let defaults = Defaults::new(layers, retry(read), simulate(read));
        let routes = layers.read_routes(|routes| routes::routes(read, routes, &defaults, handlers));
        let mut mistakes = Vec::new();
        let sources = Sources::collect(layers, &mut mistakes);
        mistakes.into_iter().for_each(|mistake| read.wrong(mistake));
        let tls = layers.read_tls(|tls| tls::tls(read, tls));
        let retention = retention(read);
        let retention_actions = read.duration("retention_actions", Duration::ZERO..=parse::CENTURY);
        let telemetry = telemetry(layers, read);
        let database = read.database("database_url");
        let (http_addr, grpc_addr) = (read.parsed("http_addr"), read.parsed("grpc_addr"));
        let (hosts, public_url) = (read.hosts("hosts"), read.web_origin("public_url"));
        let (base_path, trace_url) = (read.base_path("base_path"), read.trace_url("trace_url"));
        let allow_anonymous = read.parsed("allow_anonymous");
        let admin_token = tokens::admin_token(read);
        let admin = admin_token.as_ref().and_then(Option::as_ref);
        let read_tokens = layers.read_tokens(|tokens| tokens::read_tokens(read, tokens, admin));
        let metrics_open = read.parsed("metrics_open");
        let workers = read.number("workers", 1..=4096);
        let lease = read.duration("lease", Duration::from_secs(1)..=parse::DAY);
        let purge_interval = read.duration("purge_interval", parse::MILLISECOND * 100..=parse::DAY);
        let max_body_bytes = read.bytes("max_body", 1024..=256 * 1024 * 1024);
        let max_backlog = read.number("max_backlog", 1..=i64::MAX as u64);
        let backlog_alert = read.number("backlog_alert", 0.01..=1.0);
        let rate_limit = read.rate_limit("rate_limit");
        let startup_wait = read.duration("startup_wait", Duration::ZERO..=parse::DAY);
        let shutdown_delay = read.optional_duration("shutdown_delay", Duration::ZERO..=parse::HOUR);
        let shutdown_grace = read.duration("shutdown_grace", Duration::ZERO..=parse::DAY);
        let (routes, read_routes) = routes?;
        let (http_addr, grpc_addr): (SocketAddr, SocketAddr) = (http_addr?, grpc_addr?);
        let is_local = [http_addr, grpc_addr].into_iter().all(protection::is_loopback);
        Some(Self {
            database: database?,
            http_addr,
            grpc_addr,
            tls: tls?,
            hosts: hosts?,
            public_url: public_url?,
            public_url_text: sources::public_url(layers),
            base_path: base_path?,
            trace_url: trace_url?,
            allow_anonymous: allow_anonymous?,
            tokens: Arc::new(tokens::compiled(&read_tokens, admin, metrics_open?)),
            sources,
            workers: workers?,
            worker: layers.worker(),
            routes,
            lease: lease?,
            retention: retention?,
            retention_actions: retention_actions?,
            purge_interval: purge_interval?,
            max_body_bytes: max_body_bytes?,
            max_backlog: max_backlog?,
            backlog_alert: backlog_alert?,
            rate_limit: rate_limit?,
            startup_wait: startup_wait?,
            shutdown_delay: shutdown_delay?.unwrap_or(if is_local { Duration::ZERO } else { SHUTDOWN_DELAY }),
            shutdown_grace: shutdown_grace?,
            telemetry: telemetry?,
            text: Arc::default(),
            read_routes,
            read_tokens,
        })
    }

    /// The settings in the form of the settings file. `layers` are those that they were read from.
    fn written(&self, layers: &Layers) -> String {
        let tls = self.tls.as_ref().map(ToString::to_string).unwrap_or_default();
        let (tokens, sources, routes) = (self.tokens_text(), self.sources.text(), self.routes_text());
        format!("{layers}{tls}{tokens}{sources}{routes}")
    }

    /// The tokens in the form of the settings file, without anything secret.
    pub fn tokens_text(&self) -> String {
        self.read_tokens.iter().map(ToString::to_string).collect()
    }

    /// The routes in the form of the settings file, each value with its origin as a comment.
    pub fn routes_text(&self) -> String {
        self.read_routes.iter().map(ToString::to_string).collect()
    }
}

/// The default retry policy of routes. Replaces a setting that is wrong by any valid value: the mistake is
/// reported, and the policy is not used.
fn retry(read: &Reader<'_>) -> RetryPolicy {
    let base = read.duration("retry_base", parse::MILLISECOND..=parse::DAY);
    let cap = read.duration_from("retry_cap", ("retry_base", base), parse::DAY * 30);
    let attempts = read.number("max_attempts", 1..=1000);
    RetryPolicy::new(base.unwrap_or_default(), cap.unwrap_or_default(), attempts.unwrap_or(1))
}

fn simulate(read: &Reader<'_>) -> Simulate {
    let min = read.duration("simulate_min", Duration::ZERO..=parse::DAY);
    let max = read.duration_from("simulate_max", ("simulate_min", min), parse::DAY);
    Simulate {
        min: min.unwrap_or_default(),
        max: max.unwrap_or_default(),
        failure_rate: read.share("simulate_failure_rate").unwrap_or_default(),
    }
}

fn retention(read: &Reader<'_>) -> Option<Retention> {
    let completed = read.duration("retention_completed", Duration::ZERO..=parse::CENTURY);
    let dead_lettered = read.duration("retention_dead_lettered", Duration::ZERO..=parse::CENTURY);
    let longest = if completed > dead_lettered { "retention_completed" } else { "retention_dead_lettered" };
    let keys = read.duration_from("retention_keys", (longest, completed.max(dead_lettered)), parse::CENTURY);
    let quarantined = read.duration("retention_quarantined", Duration::ZERO..=parse::CENTURY);
    Some(Retention {
        completed: completed?,
        dead_lettered: dead_lettered?,
        keys: keys?,
        quarantined: quarantined?,
    })
}

fn telemetry(layers: &Layers, read: &Reader<'_>) -> Option<telemetry::Options> {
    let (log, log_format) = (read.log_filter("log"), read.log_format("log_format"));
    Some(telemetry::Options { log: log?, log_format: log_format?, traces: layers.traces() })
}
