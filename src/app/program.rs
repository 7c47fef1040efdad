//! Serves by the settings of a program, with the handlers that the program adds to those that come with hookbox. What
//! `hookbox serve` and hookbox as a library have in common.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::{Environment, Listeners, RunError, run};
use crate::clock::SystemClock;
use crate::config::{Config, HANDLERS, Layers, Listening, Mistakes, OF_ACCESS, OF_ROUTES};
use crate::handlers::exec::{Exec, Launcher};
use crate::handlers::http::Http;
use crate::handlers::simulate::Simulate;
use crate::keys::Network;
use crate::service::reload::{ReadSettings, Reloaded};
use crate::worker::handler::Registry;

/// Reads the file and the environment. Blocks.
pub(crate) type ReadLayers = dyn Fn() -> Result<Layers, Mistakes> + Send + Sync;

/// How many connections the system may hold for a port until they are accepted. Beyond it a client tries again after a
/// second, however honest it is. The system itself may set a lower limit.
const WAITING_CONNECTIONS: u32 = 4096;

/// Gets the addresses of REST and gRPC once both ports are bound.
pub(crate) type Bound = Box<dyn FnOnce(SocketAddr, SocketAddr) + Send>;

/// The parts that a program adds.
pub(crate) struct Program {
    /// The handlers that the program adds.
    pub(crate) own: Registry,
    /// How the handler `exec` starts programs.
    pub(crate) launcher: Launcher,
    /// Reads the settings again, for a reload.
    pub(crate) read: Arc<ReadLayers>,
    /// Each notification starts a reload.
    pub(crate) reload: Arc<Notify>,
    /// Called when both ports are bound.
    pub(crate) bound: Bound,
}

/// Why [`Hookbox::serve`](crate::Hookbox::serve) stopped with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The settings have mistakes. The text has a line for each, with its place.
    #[error("the settings have mistakes:\n{0}")]
    Settings(Mistakes),
    /// The system does not let hookbox listen on an address of the settings.
    #[error("cannot listen on {address}: {error}; stop the program that uses it, or set another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why it cannot be used.
        error: io::Error,
    },
    /// The SQLite file or the PostgreSQL database could not be opened.
    #[error("cannot open the store")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else: the system refuses threads, or a part of hookbox failed.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl From<RunError> for ServeError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Sqlite(error) => Self::Store(Box::new(error)),
            RunError::Postgres(error) => Self::Store(error),
            error => Self::Other(Box::new(error)),
        }
    }
}

impl Program {
    /// Binds the ports and serves until `shutdown` is ready. Call it in the runtime that is to serve.
    #[expect(clippy::disallowed_methods, reason = "the randomness of the server is drawn here")]
    pub(crate) async fn serve(
        self,
        layers: Layers,
        config: Config,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let Self { own, launcher, read, reload, bound } = self;
        layers.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        let listeners = Listeners { http: bind(config.http_addr)?, grpc: bind(config.grpc_addr)? };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            http.address = listeners.http.local_addr().ok().map(display),
            grpc.address = listeners.grpc.local_addr().ok().map(display),
            database = %config.database,
            workers = config.workers,
            "hookbox starts"
        );
        if let (Ok(http), Ok(grpc)) = (listeners.http.local_addr(), listeners.grpc.local_addr()) {
            bound(http, grpc);
        }
        let seed = rand::random();
        let environment = Environment {
            clock: Arc::new(SystemClock),
            seed,
            form_key: rand::random(),
            network: Network::system(),
            handlers: own
                .clone()
                .with(Simulate::NAME, Simulate::new(seed))
                .with(Http::NAME, Http::new(Handle::current()))
                .with(Exec::NAME, Exec::new(launcher)),
            settings: settings_reader(read, own, layers, &config),
            reload,
        };
        run(config, listeners, environment, shutdown).await.map_err(ServeError::from)
    }
}

/// The names of the handlers that routes can name. Those that come with hookbox are the first: the first of all is the
/// default.
pub(crate) fn known_handlers(own: &Registry) -> Vec<&str> {
    HANDLERS.iter().copied().chain(own.names()).collect()
}

/// A function that reads the settings again, for a reload. It also compares them with those at the start, to
/// find settings that need a restart: among them, whether there is TLS. `config` is that of the start. Errors: also if
/// the settings file that was read before does not exist.
fn settings_reader(
    read: Arc<ReadLayers>,
    own: Registry,
    at_start: Layers,
    config: &Config,
) -> Arc<ReadSettings> {
    let has_tls = config.tls.is_some();
    // Whether all settings since the start have needed certificates. Connections that were opened without a certificate of
    // the client stay open.
    let always_needed_certificates = AtomicBool::new(config.needs_certificates());
    // The settings file that was read last. It keeps its path, because it is named by a flag or has the default name.
    let known_file = at_start.file().map_or_else(OnceLock::new, |file| OnceLock::from(file.to_owned()));
    Arc::new(move || {
        let layers = read().map_err(|mistakes| mistakes.to_string())?;
        if let Some(file) = known_file.get().filter(|_| layers.file().is_none()) {
            let file = file.display();
            return Err(format!(
                "the settings file {file} is not there any more, and without it there are no routes, sources and tokens; put \
                 it back and reload, or restart hookbox to go on without it"
            ));
        }
        // Hookbox still listens on the addresses of the start.
        let listening = Listening {
            at: &at_start,
            needs_certificates: always_needed_certificates.load(Ordering::SeqCst),
            has_started: true,
        };
        let config = Config::protected(&layers, &known_handlers(&own), listening)
            .map_err(|mistakes| mistakes.to_string())?;
        // Also if the store then refuses these settings: whether it does is not known here.
        always_needed_certificates.fetch_and(config.needs_certificates(), Ordering::SeqCst);
        if let Some(file) = layers.file() {
            known_file.get_or_init(|| file.to_owned());
        }
        let is_reloaded =
            |name: &str| OF_ROUTES.iter().any(|(setting, _)| *setting == name) || OF_ACCESS.contains(&name);
        let changed = layers.changed(&at_start).into_iter().filter(|name| !is_reloaded(name));
        let tls = (config.tls.is_some() != has_tls).then_some("tls");
        let needs_restart = changed.chain(tls).map(ToOwned::to_owned).collect::<Vec<_>>();
        let text = match &*needs_restart {
            [] => config.text,
            names => {
                format!("# Not in force before a restart: {}\n\n{}", names.join(", "), config.text).into()
            }
        };
        let (sources, tls) = (config.sources.map(), config.tls.map(|tls| tls.loaded));
        Ok(Reloaded { routes: config.routes, sources, tokens: config.tokens, tls, text, needs_restart })
    })
}

fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // So that the port can be bound again right after a stop.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(WAITING_CONNECTIONS)
    };
    listen().map_err(|error| ServeError::Listen { address, error })
}
