//! Builds the parts of hookbox, runs them, and stops them in the right order.

mod parts;
mod program;
mod servers;
mod stores;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::parts::Parts;
pub use self::program::ServeError;
pub(crate) use self::program::{Program, ReadLayers, known_handlers};
use self::servers::Apis;
use self::stores::open_store;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::keys::Network;
use crate::service::alerts::BacklogLevels;
use crate::service::reload::ReadSettings;
use crate::store::{postgres, sqlite};
use crate::telemetry::metrics::Metrics;
use crate::tls::Certificates;
use crate::worker::handler::Registry;

/// The listeners for requests. Tests bind port 0.
#[derive(Debug)]
pub struct Listeners {
    /// The listener for REST.
    pub http: TcpListener,
    /// The listener for gRPC.
    pub grpc: TcpListener,
}

/// What [`run`] takes as arguments so that tests can replace it: time, randomness, the network, handlers and settings.
#[derive(Clone)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The seed for ids, retry delays and the names of processes.
    pub seed: u64,
    /// The key of the tokens in forms of the page. It is not made of the seed, a part of which is in the history of
    /// attempts.
    pub form_key: [u8; 32],
    /// How the servers of senders are found, to ask them for keys.
    pub network: Network,
    /// The handlers that routes can name.
    pub handlers: Registry,
    /// Reads the settings again, for a reload.
    pub settings: Arc<ReadSettings>,
    /// Each notification starts a reload.
    pub reload: Arc<Notify>,
}

/// Why hookbox stopped with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The SQLite file could not be opened.
    #[error("cannot open the store")]
    Sqlite(#[from] sqlite::OpenError),
    /// The PostgreSQL database could not be opened.
    #[error("cannot open the store")]
    Postgres(#[source] Box<postgres::OpenError>),
    /// The system could not start a thread.
    #[error("cannot start the worker threads; raise the system's limit on threads, or set fewer `workers`")]
    Threads(#[source] std::io::Error),
    /// The task of the REST or gRPC server panicked.
    #[error("the REST or gRPC server failed; this is a bug of hookbox, please report it")]
    Ended(#[from] tokio::task::JoinError),
    /// A task without which hookbox must not go on has panicked. The log names it.
    #[error(
        "a task that hookbox needs panicked, as the log says; this is a bug of hookbox, please report it"
    )]
    VitalTask,
    /// gRPC could not be served.
    #[error("cannot serve gRPC")]
    Grpc(#[from] tonic::transport::Error),
}

/// Serves until `shutdown` is ready, then stops in order: takes no new requests, lets open requests finish,
/// gives running attempts `shutdown_grace`, and closes the store last. Stops with an error if a server or a vital task
/// fails. Errors: see [`RunError`].
pub async fn run(
    config: Config,
    listeners: Listeners,
    environment: Environment,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let clock = Arc::clone(&environment.clock);
    let form_key = environment.form_key;
    let metrics = Arc::new(Metrics::default());
    // Before the store is open: taking over jobs can make dead letters.
    metrics.alerts().want(config.routes.take_alerts());
    tokio::pin!(shutdown);
    let opening = open_store(&config, &clock, &metrics, environment.seed);
    let store = tokio::select! {
        store = opening => store?,
        () = &mut shutdown => {
            tracing::info!("stopped before the store was open");
            return Ok(());
        }
    };
    let loaded = config.tls.as_ref().map(|tls| tls.loaded.clone());
    let certificates = loaded.map(|loaded| Arc::new(Certificates::new(loaded, Arc::clone(&clock))));
    let (leaving, stopping) = (Arc::new(CancellationToken::new()), Arc::new(CancellationToken::new()));
    let backlog = BacklogLevels::new(config.max_backlog, config.backlog_alert);
    let (parts, service) = Parts::start(
        &config,
        environment,
        store,
        Arc::clone(&metrics),
        certificates.clone(),
        backlog,
        &stopping,
    )?;
    let apis = Apis {
        config: &config,
        service,
        clock: Arc::clone(&clock),
        form_key,
        backlog,
        certificates,
        leaving: Arc::clone(&leaving),
        stopping: Arc::clone(&stopping),
    };
    let mut servers = apis.serve(listeners);
    tracing::info!("hookbox is ready");

    let served = tokio::select! {
        () = leave(&config, &clock, &leaving, shutdown) => Ok(()),
        ended = servers.one_ended() => ended,
        () = metrics.vital_tasks().failed() => Err(RunError::VitalTask),
    };
    tracing::info!("shutting down: no new requests, running attempts may finish");
    leaving.cancel();
    stopping.cancel();
    parts.stop(config.shutdown_grace, servers.both_ended()).await;
    tracing::info!("hookbox has stopped");
    // A task may have panicked while hookbox stopped.
    served.and_then(|()| if metrics.vital_tasks().have_failed() { Err(RunError::VitalTask) } else { Ok(()) })
}

/// Waits until `shutdown` is ready, then for `shutdown_delay`, during which hookbox is not ready, but still serves.
async fn leave(
    config: &Config,
    clock: &Arc<dyn Clock>,
    leaving: &CancellationToken,
    shutdown: impl Future<Output = ()>,
) {
    shutdown.await;
    leaving.cancel();
    if !config.shutdown_delay.is_zero() {
        let delay = tracing::field::debug(config.shutdown_delay);
        tracing::info!(delay, "not ready any more; shutting down after a delay");
        clock.sleep(config.shutdown_delay).await;
    }
}
