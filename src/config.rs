//! The settings: what they are called, what they may be, and where each value came from.
//!
//! The only reader of the environment and of `hookbox.toml`. A later layer wins:
//! default, file, environment, flag. A `Config` that exists is valid.

mod layers;
mod parse;
mod settings;
mod transfer;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::layers::{Layers, Origin, without_password};
use self::parse::Reader;
pub use self::settings::{SETTINGS, Setting};
pub use self::transfer::{transfer_from, transfer_to, transfer_to_setting};
use crate::domain::retention::Retention;
use crate::domain::retry::RetryPolicy;
use crate::store::postgres::Target;
use crate::telemetry;

/// The exit code of a process that was given a wrong setting (`EX_USAGE` of `sysexits.h`).
pub const EXIT_USAGE: u8 = 64;

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where webhooks are stored.
    pub database: Database,
    /// Where REST is served.
    pub http_addr: SocketAddr,
    /// Where gRPC is served.
    pub grpc_addr: SocketAddr,
    /// Worker threads.
    pub workers: usize,
    /// The name of this process in the history of attempts: host and process id.
    pub worker: String,
    /// The `simulate` handler.
    pub simulate: Simulate,
    /// When failed jobs are tried again, and how often.
    pub retry: RetryPolicy,
    /// How long a lease lasts; it is renewed at a third of it.
    pub lease: Duration,
    /// How long finished webhooks are kept.
    pub retention: Retention,
    /// The time between two purges.
    pub purge_interval: Duration,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Jobs that may be unfinished.
    pub max_backlog: u64,
    /// What each source may send.
    pub rate_limit: Option<RateLimit>,
    /// How long running attempts may take to finish at shutdown.
    pub shutdown_grace: Duration,
    /// What is logged, and whether traces are exported.
    pub telemetry: telemetry::Options,
}

/// Where webhooks are stored.
#[derive(Clone, Debug)]
pub enum Database {
    /// In a file, by one process.
    Sqlite(PathBuf),
    /// In a database that processes share.
    Postgres(Target),
}

impl fmt::Display for Database {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(target) => target.fmt(f),
        }
    }
}

/// What the `simulate` handler does.
#[derive(Clone, Copy, Debug)]
pub struct Simulate {
    /// The shortest run.
    pub min: Duration,
    /// The longest run.
    pub max: Duration,
    /// The share of attempts that fail, 0 to 1.
    pub failure_rate: f64,
}

/// So many webhooks in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many.
    pub quota: std::num::NonZeroU32,
    /// In which time.
    pub window: Duration,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Its value is not allowed.
    #[error("{setting} = {value:?} (from {origin}) is not allowed: it must be {allowed}")]
    Value {
        /// Its name.
        setting: String,
        /// What it was set to.
        value: String,
        /// Where that came from.
        origin: Origin,
        /// What it may be.
        allowed: String,
    },
    /// The file names a setting that does not exist.
    #[error("{} has the unknown setting `{name}`; `hookbox config` lists the settings", .file.display())]
    Unknown {
        /// The file.
        file: PathBuf,
        /// The name.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read the settings in {}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{} is not valid TOML", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Checks every setting.
    pub fn new(layers: &Layers) -> Result<Self, ConfigError> {
        let read = Reader(layers);
        let simulate_min = read.duration("simulate_min", Duration::ZERO..=parse::DAY)?;
        let retention_completed = read.duration("retention_completed", parse::ANY_DURATION)?;
        let retention_dead_lettered = read.duration("retention_dead_lettered", parse::ANY_DURATION)?;
        let retry_base = read.duration("retry_base", parse::MILLISECOND..=parse::DAY)?;
        Ok(Self {
            database: read.database("database_url")?,
            http_addr: read.parsed("http_addr")?,
            grpc_addr: read.parsed("grpc_addr")?,
            workers: read.number("workers", 1..=4096)?,
            worker: layers.worker(),
            simulate: Simulate {
                min: simulate_min,
                max: read.duration("simulate_max", simulate_min..=parse::DAY)?,
                failure_rate: read.share("simulate_failure_rate")?,
            },
            retry: RetryPolicy::new(
                retry_base,
                read.duration("retry_cap", retry_base..=parse::DAY * 30)?,
                read.number("max_attempts", 1..=1000)?,
            ),
            lease: read.duration("lease", Duration::from_secs(1)..=parse::DAY)?,
            retention: Retention {
                completed: retention_completed,
                dead_lettered: retention_dead_lettered,
                keys: read.duration(
                    "retention_keys",
                    retention_completed.max(retention_dead_lettered)..=Duration::MAX,
                )?,
            },
            purge_interval: read.duration("purge_interval", parse::MILLISECOND * 100..=parse::DAY)?,
            max_body_bytes: read.bytes("max_body", 1024..=256 * 1024 * 1024)?,
            max_backlog: read.number("max_backlog", 1..=i64::MAX as u64)?,
            rate_limit: read.rate_limit("rate_limit")?,
            shutdown_grace: read.duration("shutdown_grace", Duration::ZERO..=parse::DAY)?,
            telemetry: telemetry::Options {
                log: read.log_filter("log")?,
                log_format: read.log_format("log_format")?,
                export_traces: layers.exports_traces(),
            },
        })
    }
}
