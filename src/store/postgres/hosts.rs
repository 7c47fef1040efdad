//! Connects to one of the hosts of a URL. Each host has its own timeout, so an unresponsive host does not
//! prevent the others from being tried. `tokio-postgres` also tries several hosts, but it has no timeout for
//! a host that accepts the connection and then does not respond.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use tokio_postgres::Config;
use tokio_postgres::config::{Host as Name, LoadBalanceHosts};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::domain::error::causes;
use crate::telemetry::metrics::Stopwatch;
use crate::tls::CertificateProblem;

/// How long a host may take to connect, unless the URL sets `connect_timeout`.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An attempt to connect that ends without a response after at least this long marks the host as
/// unresponsive.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// For how long an unresponsive host is tried after the others.
const LAST_FOR: Duration = Duration::from_secs(30);

/// The classes of errors for a wrong user, password or database.
const WRONG_URL: [&str; 2] = ["28", "3D"];

/// The hosts of a URL.
pub(super) struct Hosts {
    hosts: Vec<Host>,
    /// Whether each connection begins with the next host in turn (`load_balance_hosts=random`).
    balanced: bool,
    next: AtomicUsize,
}

struct Host {
    config: Config,
    timeout: Duration,
    /// When the host was last found to be unresponsive.
    silent: Mutex<Option<Stopwatch>>,
}

impl Hosts {
    /// Takes one configuration for each host. Its `connect_timeout` limits the time to connect and to set up
    /// the connection; `tokio-postgres` applies it to the TCP connection only.
    pub(super) fn new(configs: Vec<Config>) -> Self {
        let is_random = |config: &Config| config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        let balanced = configs.first().is_some_and(is_random);
        let host = |config: Config| {
            let timeout = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
            Host { config, timeout, silent: Mutex::default() }
        };
        Self { hosts: configs.into_iter().map(host).collect(), balanced, next: AtomicUsize::new(0) }
    }

    /// Connects to the first host that works, and runs `setup` on the connection. The error has the errors of
    /// all hosts.
    pub(super) async fn connect(
        &self,
        tls: &MakeRustlsConnect,
        setup: &str,
    ) -> ConnectionResult<AsyncPgConnection> {
        let mut errors = Vec::with_capacity(self.hosts.len());
        for host in self.in_turn() {
            match host.connect(tls, setup).await {
                Ok(connection) => return Ok(connection),
                Err(error) if self.hosts.len() == 1 => return Err(error),
                Err(error) => errors.push((host.name(), error)),
            }
        }
        Err(joined(errors))
    }

    /// The hosts in the order in which to try them. Hosts that were unresponsive recently come last.
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
    async fn connect(&self, tls: &MakeRustlsConnect, setup: &str) -> ConnectionResult<AsyncPgConnection> {
        let wait = Wait { silent: &self.silent, since: Stopwatch::start() };
        let connected = tokio::time::timeout(self.timeout, self.open(tls, setup)).await;
        let late = || ConnectionError::BadConnection(format!("no answer within {:?}", self.timeout));
        let connected = connected.map_err(|_| late())?;
        wait.end();
        connected
    }

    async fn open(&self, tls: &MakeRustlsConnect, setup: &str) -> ConnectionResult<AsyncPgConnection> {
        let connected = self.config.connect(tls.clone()).await;
        let (client, connection) = connected.map_err(|error| failed(&error))?;
        let mut connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
        let set_up = connection.batch_execute(setup).await;
        set_up.map_err(|error| ConnectionError::BadConnection(causes(&error)))?;
        Ok(connection)
    }

    fn was_silent_lately(&self) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.is_some_and(|since| since.elapsed() < LAST_FOR)
    }

    fn name(&self) -> String {
        addresses(&self.config).join(",")
    }
}

/// The hosts of a configuration, each with its port.
pub(super) fn addresses(config: &Config) -> Vec<String> {
    let ports = config.get_ports();
    let named = config.get_hosts().iter().map(|host| match host {
        // An IPv6 address needs brackets before the port.
        Name::Tcp(name) if name.contains(':') => format!("[{name}]"),
        Name::Tcp(name) => name.clone(),
        Name::Unix(path) => path.display().to_string(),
    });
    let with_port = |(at, name): (usize, String)| match ports.get(at).or(ports.first()) {
        Some(port) => format!("{name}:{port}"),
        None => name,
    };
    named.enumerate().map(with_port).collect()
}

/// Marks the host as unresponsive if dropped before [`Wait::end`], unless that was sooner than
/// [`SILENT_AFTER`].
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

/// How the text of an error begins that is about the URL alone, such as that it has no password. It has no code.
const CONFIGURATION: &str = "invalid configuration";

/// The error of a host. `InvalidConnectionUrl` if it says that the user, the password or the database is wrong or missing.
fn failed(error: &tokio_postgres::Error) -> ConnectionError {
    let is_wrong = |code: &SqlState| WRONG_URL.iter().any(|class| code.code().starts_with(class));
    let text = match CertificateProblem::of(error) {
        Some(problem) => format!("the certificate of the server is not accepted: {problem}"),
        None => causes(error),
    };
    match error.code() {
        Some(code) if is_wrong(code) => ConnectionError::InvalidConnectionUrl(text),
        None if text.starts_with(CONFIGURATION) => ConnectionError::InvalidConnectionUrl(text),
        _ => ConnectionError::BadConnection(text),
    }
}

/// One error of the errors of all hosts.
fn joined(errors: Vec<(String, ConnectionError)>) -> ConnectionError {
    let is_wrong = errors.iter().all(|(_, error)| matches!(error, ConnectionError::InvalidConnectionUrl(_)));
    let texts = errors.iter().map(|(host, error)| format!("{host}: {error}")).collect::<Vec<_>>();
    let text = texts.join("; ");
    if is_wrong { ConnectionError::InvalidConnectionUrl(text) } else { ConnectionError::BadConnection(text) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::store::postgres::tls::{self, Check};

    /// The request for a password: `AuthenticationCleartextPassword`.
    const ASKS_FOR_PASSWORD: &[u8] = b"R\0\0\0\x08\0\0\0\x03";

    #[tokio::test]
    async fn a_missing_password_is_a_fault_of_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("has an address");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let length = stream.read_u32().await.expect("has a length");
            let mut startup = vec![0; length as usize - 4];
            stream.read_exact(&mut startup).await.expect("is whole");
            stream.write_all(ASKS_FOR_PASSWORD).await.expect("writes");
            // Until the client leaves.
            let _ = stream.read(&mut [0]).await;
        });
        let url = format!("postgres://ann@{address}/inbox?sslmode=disable");
        let tls = tls::connector(Check::Nothing, None).expect("sets up");
        let hosts = Hosts::new(vec![url.parse().expect("parses")]);
        let error = hosts.connect(&tls, "").await.err().expect("is refused");
        let ConnectionError::InvalidConnectionUrl(text) = &error else { panic!("{error}") };
        assert!(text.contains("password missing"), "{text}");
        server.await.expect("ends");
    }
}
