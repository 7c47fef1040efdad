//! The hosts that a URL names, each connected to on its own: one that is silent, as a machine is
//! that died, does not keep the others from being tried.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use tokio_postgres::Config;
use tokio_postgres::config::{Host as Name, LoadBalanceHosts};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::telemetry::metrics::Stopwatch;

/// A host is silent if it was waited for at least this long, and in vain.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// For how long a host that was silent is tried after the others.
const LAST_FOR: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Hosts {
    hosts: Vec<Host>,
    /// Whether to begin with another one each time, and with which.
    balanced: bool,
    next: AtomicUsize,
}

struct Host {
    config: Config,
    timeout: Duration,
    silent: Mutex<Option<Stopwatch>>,
}

impl Hosts {
    /// `timeout` is how long one may take to connect and to be set up.
    pub(super) fn new(config: &Config, timeout: Duration) -> Self {
        let count = config.get_hosts().len().max(config.get_hostaddrs().len());
        let host = |at| Host { config: of_one_host(config, at), timeout, silent: Mutex::default() };
        Self {
            hosts: (0..count).map(host).collect(),
            balanced: config.get_load_balance_hosts() == LoadBalanceHosts::Random,
            next: AtomicUsize::new(0),
        }
    }

    /// Connects to the first that can be used, and sets the connection up. The error is what each
    /// of them said.
    pub(super) async fn connect(
        &self,
        tls: &MakeRustlsConnect,
        setup: &str,
    ) -> Result<AsyncPgConnection, String> {
        let mut problems = Vec::with_capacity(self.hosts.len());
        for host in self.in_turn() {
            match host.connect(tls, setup).await {
                Ok(connection) => return Ok(connection),
                Err(problem) if self.hosts.len() == 1 => return Err(problem),
                Err(problem) => problems.push(format!("{}: {problem}", host.name())),
            }
        }
        Err(problems.join("; "))
    }

    /// As the URL has them, but those last that were silent lately.
    fn in_turn(&self) -> Vec<&Host> {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        if self.balanced {
            let first = self.next.fetch_add(1, Ordering::Relaxed) % hosts.len().max(1);
            hosts.rotate_left(first);
        }
        hosts.sort_by_key(|host| host.was_silent_lately());
        hosts
    }
}

impl Host {
    async fn connect(&self, tls: &MakeRustlsConnect, setup: &str) -> Result<AsyncPgConnection, String> {
        let wait = Wait { silent: &self.silent, since: Stopwatch::start() };
        let connected = tokio::time::timeout(self.timeout, self.open(tls, setup)).await;
        let Ok(connected) = connected else { return Err(format!("no answer within {:?}", self.timeout)) };
        wait.end();
        connected
    }

    async fn open(&self, tls: &MakeRustlsConnect, setup: &str) -> Result<AsyncPgConnection, String> {
        let (client, connection) = self.config.connect(tls.clone()).await.map_err(|error| said(&error))?;
        let connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await;
        let mut connection = connection.map_err(|error| said(&error))?;
        connection.batch_execute(setup).await.map_err(|error| said(&error))?;
        Ok(connection)
    }

    fn was_silent_lately(&self) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.is_some_and(|since| since.elapsed() < LAST_FOR)
    }

    fn name(&self) -> String {
        let port = self.config.get_ports().first().unwrap_or(&5432);
        match (self.config.get_hosts().first(), self.config.get_hostaddrs().first()) {
            (Some(Name::Tcp(name)), _) => format!("{name}:{port}"),
            (Some(Name::Unix(path)), _) => format!("{}:{port}", path.display()),
            (None, Some(address)) => format!("{address}:{port}"),
            (None, None) => String::new(),
        }
    }
}

/// A wait for a host. Dropped before its end, it was in vain, whoever gave it up.
struct Wait<'a> {
    silent: &'a Mutex<Option<Stopwatch>>,
    since: Stopwatch,
}

impl Wait<'_> {
    fn end(self) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = None;
        std::mem::forget(self);
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() >= SILENT_AFTER {
            *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stopwatch::start());
        }
    }
}

/// The same configuration with one of its hosts.
fn of_one_host(all: &Config, at: usize) -> Config {
    let mut one = Config::new();
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(database) = all.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    match all.get_hosts().get(at) {
        Some(Name::Tcp(name)) => drop(one.host(name)),
        Some(Name::Unix(path)) => drop(one.host_path(path)),
        None => {}
    }
    if let Some(address) = all.get_hostaddrs().get(at) {
        one.hostaddr(*address);
    }
    if let Some(port) = all.get_ports().get(at).or(all.get_ports().first()) {
        one.port(*port);
    }
    if let Some(timeout) = all.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(all.get_keepalives()).keepalives_idle(all.get_keepalives_idle());
    one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
    one.target_session_attrs(all.get_target_session_attrs()).channel_binding(all.get_channel_binding());
    one
}

/// An error with its causes; it and its causes never have the password.
pub(super) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
