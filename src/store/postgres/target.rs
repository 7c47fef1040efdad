//! Parses a connection URL, and connects to the database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use diesel::ConnectionResult;
use diesel_async::AsyncPgConnection;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::OpenError;
use super::hosts::{CONNECT_TIMEOUT, Hosts, addresses};
use super::tls::{self, Check};
use crate::domain::error::causes;

/// TCP keepalive: idle time before the first probe, interval between probes, and probes without a response
/// after which the connection is closed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// `TCP_USER_TIMEOUT`: a connection is closed if sent data is not acknowledged within this time.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// The settings of every connection.
///
/// Timeouts: every statement reads a bounded number of rows by an index, so a statement that takes longer is
/// at fault.
///
/// Plans: each statement gets one generic plan, which must use an index at any table size. The planner
/// settings rule out plans that scan a whole table because it was small at planning time. For the same
/// reason statements look up rows by an array of keys, or by a lateral join with `OFFSET 0`: PostgreSQL may
/// reverse a plain join, and then scan a table that was empty at planning time. A setting that the server does
/// not know is left out. It is not looked up in `pg_settings`, which computes all settings of the server.
const SETUP: &str = "\
    SET synchronous_commit = on; \
    SET default_transaction_isolation = 'read committed'; \
    SET statement_timeout = '10s'; \
    SET lock_timeout = '5s'; \
    SET idle_in_transaction_session_timeout = '10s'; \
    SELECT set_config(name, CASE name WHEN 'plan_cache_mode' THEN 'force_generic_plan' ELSE 'off' END, false) \
    FROM unnest(ARRAY[ \
        'plan_cache_mode', 'jit', 'enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'enable_material', \
        'enable_hashjoin', 'enable_mergejoin']) AS name \
    WHERE current_setting(name, true) IS NOT NULL";

/// The schema of hookbox's tables unless the URL has `schema`.
const SCHEMA: &str = "hookbox";

/// Maximum length of a name in PostgreSQL, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// A PostgreSQL database and how to reach it.
#[derive(Clone)]
pub struct Target {
    /// One configuration for each host. All other values are equal.
    configs: Arc<[Config]>,
    check: Check,
    roots: Option<Box<Path>>,
    schema: Box<str>,
}

/// A connection URL that hookbox cannot use. The text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTarget(String);

impl FromStr for Target {
    type Err = InvalidTarget;

    /// Reads `postgres://user:password@host:port/database?parameter=value`. Several hosts are tried
    /// in turn. Parameters are those of libpq (of `sslmode`, all but `allow`), and `schema`, the schema of
    /// hookbox's tables.
    fn from_str(url: &str) -> Result<Self, InvalidTarget> {
        let invalid = |problem: &str| InvalidTarget(problem.to_owned());
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(invalid("it does not begin with postgres://"));
        }
        let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut others) = ("prefer", None, Vec::new());
        let mut schema = SCHEMA.into();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = value,
                Some(("sslrootcert", "system")) => roots = None,
                Some(("sslrootcert", path)) => roots = Some(PathBuf::from(decoded(path)).into()),
                Some(("schema", name)) => schema = schema_name(name)?,
                _ => others.push(parameter),
            }
        }
        let (ssl, check) = match mode {
            "disable" => (SslMode::Disable, Check::Nothing),
            "prefer" => (SslMode::Prefer, Check::Nothing),
            // As in libpq: with a root certificate, `require` checks the authority.
            "require" if roots.is_some() => (SslMode::Require, Check::Authority),
            "require" => (SslMode::Require, Check::Nothing),
            "verify-ca" => (SslMode::Require, Check::Authority),
            "verify-full" => (SslMode::Require, Check::Full),
            _ => {
                return Err(invalid("sslmode must be disable, prefer, require, verify-ca or verify-full"));
            }
        };
        let mut configs = Vec::new();
        for address in each_host(address) {
            let mut config = Config::from_str(&format!("{address}?{}", others.join("&")))
                .map_err(|error| InvalidTarget(causes(&error)))?;
            if config.get_hosts().is_empty() {
                return Err(invalid("it names no host"));
            }
            // Hosts are shown in logs and errors. A host with `@` contains a part of the password.
            if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
                return Err(invalid("an @ in the user or the password must be written as %40"));
            }
            config.ssl_mode(ssl);
            set_limits(&mut config);
            configs.push(config);
        }
        Ok(Self { configs: configs.into(), check, roots, schema })
    }
}

/// A name that PostgreSQL needs no quotes for.
fn schema_name(name: &str) -> Result<Box<str>, InvalidTarget> {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if begins && name.chars().all(is_allowed) && name.len() <= MAX_NAME_BYTES && !name.starts_with("pg_") {
        return Ok(name.into());
    }
    Err(InvalidTarget(format!(
        "schema must be a name of a to z, 0 to 9 and _, at most {MAX_NAME_BYTES} characters, not beginning with a digit \
         or pg_"
    )))
}

/// The URL once for each host, with only that host. The hosts are between the user and the database,
/// separated by commas.
fn each_host(address: &str) -> Vec<String> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("postgres", address));
    let (authority, database) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, hosts) = authority.split_at(authority.find('@').map_or(0, |at| at + 1));
    hosts.split(',').map(|host| format!("{scheme}://{user}{host}{database}")).collect()
}

/// Sets the timeouts that the URL does not set.
fn set_limits(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_idle(KEEPALIVE_IDLE);
        config.keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
}

impl Target {
    /// The schema of hookbox's tables. It needs no quotes.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }
}

impl fmt::Display for Target {
    /// Shows the URL without the user, the password and the parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.configs.iter().flat_map(addresses).collect::<Vec<_>>().join(",");
        let name = |config: &'_ Config| config.get_dbname().or(config.get_user()).map(str::to_owned);
        write!(f, "postgres://{hosts}/{}", self.configs.first().and_then(name).unwrap_or_default())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Connects to a [`Target`].
pub(super) struct Connector {
    hosts: Hosts,
    tls: MakeRustlsConnect,
    /// The statements that set up a connection.
    setup: String,
}

impl Connector {
    /// Reads the certificates. The server shows the connections as `hookbox <process>`, or with the
    /// `application_name` of the URL in place of the process. A transfer finds processes by the first word.
    pub(super) fn new(target: &Target, process: &str) -> Result<Arc<Self>, OpenError> {
        let tls = tls::connector(target.check, target.roots.as_deref())
            .map_err(|source| OpenError::Tls { target: target.clone(), source })?;
        let mut configs = target.configs.to_vec();
        for config in &mut configs {
            let name = config.get_application_name().unwrap_or(process);
            config.application_name(format!("hookbox {name}"));
        }
        // What the URL or the database sets comes after it, so that functions and types are still found.
        let schema = &target.schema;
        let path = format!(
            "SELECT set_config('search_path', '{schema}, ' || current_setting('search_path'), false)"
        );
        Ok(Arc::new(Self { hosts: Hosts::new(configs), tls, setup: format!("{SETUP}; {path}") }))
    }

    /// Opens a connection and sets it up.
    pub(super) async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        self.hosts.connect(&self.tls, &self.setup).await
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::TargetSessionAttrs;

    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for url in [
            "postgres://ann:s3cret@db.example:6543/inbox?sslmode=require",
            "postgres://db.example:6543/inbox?user=ann&password=s3cret",
        ] {
            let target = url.parse::<Target>().expect(url);
            assert_eq!(target.to_string(), "postgres://db.example:6543/inbox");
            assert!(!format!("{target:?}").contains("s3cret"));
        }
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        for (parameters, ssl, check) in [
            ("", SslMode::Prefer, Check::Nothing),
            ("?sslmode=disable", SslMode::Disable, Check::Nothing),
            ("?sslmode=require", SslMode::Require, Check::Nothing),
            ("?sslmode=require&sslrootcert=%2Fca.pem", SslMode::Require, Check::Authority),
            ("?sslmode=verify-ca", SslMode::Require, Check::Authority),
            ("?sslmode=verify-full", SslMode::Require, Check::Full),
        ] {
            let target = format!("postgres://h/d{parameters}").parse::<Target>().expect(parameters);
            assert_eq!((target.configs[0].get_ssl_mode(), target.check), (ssl, check), "{parameters}");
        }
    }

    #[test]
    fn several_hosts_are_read_and_nonsense_is_refused() {
        let target = "postgres://one:1,two:2/d?target_session_attrs=read-write".parse::<Target>();
        let target = target.expect("parses");
        assert_eq!(target.to_string(), "postgres://one:1,two:2/d");
        let read_write = TargetSessionAttrs::ReadWrite;
        assert!(target.configs.iter().all(|config| config.get_target_session_attrs() == read_write));
        let target = "postgres://me:p%2C@[::1]:5,two/d".parse::<Target>().expect("parses");
        assert_eq!(target.to_string(), "postgres://[::1]:5,two:5432/d");
        for bad in [
            "mysql://h/d",
            "postgres:///d",
            "postgres://h/d?sslmode=allow",
            "postgres://h/d?no_such_parameter=1",
            "postgres://h:port/d",
            "postgres://me:s3@cret@h/d",
            "postgres://h/d?schema=",
            "postgres://h/d?schema=pg_mine",
            "postgres://h/d?schema=a;b",
            "postgres://h/d?schema=Upper",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
