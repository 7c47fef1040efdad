//! Builds the parts of hookbox, runs them, and stops them in the right order.

mod program;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rand::TryRng as _;
use rand::rngs::SysRng;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::program::ServeError;
pub(crate) use self::program::{Program, ReadLayers, known_handlers};
use crate::access::Access;
use crate::config::{Config, Database};
use crate::connections::{Bodies, Connections, connections_for_open_files};
use crate::domain::clock::Clock;
use crate::domain::error::causes;
use crate::domain::host::Scheme;
use crate::keys::{KeyFetcher, Network};
use crate::page::{self, Pages};
use crate::service::alerts::{Alerter, BacklogLevels};
use crate::service::reload::{ReadSettings, RoutesInForce};
use crate::service::replays::Replayer;
use crate::service::work::Work;
use crate::service::{Receiving, Service};
use crate::store::Store;
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::{self, SqliteStore};
use crate::telemetry::metrics::Metrics;
use crate::tls::{self, Certificates};
use crate::worker::handler::Registry;
use crate::worker::purger::Purger;
use crate::worker::{self, Pool};
use crate::{grpc, http};

/// How long to wait between two tries to reach the database at the start.
const CONNECT_AGAIN: Duration = Duration::from_secs(1);

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
    /// The system could not draw random numbers.
    #[error("the system has no random numbers for the forms of the page")]
    Random(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The task of the REST or gRPC server panicked.
    #[error("the REST or gRPC server failed; this is a bug of hookbox, please report it")]
    Ended(#[from] tokio::task::JoinError),
    /// gRPC could not be served.
    #[error("cannot serve gRPC")]
    Grpc(#[from] tonic::transport::Error),
}

/// Serves until `shutdown` is ready, then stops in order: takes no new requests, lets open requests finish,
/// gives running attempts `shutdown_grace`, and closes the store last. Errors: see [`RunError`].
pub async fn run(
    config: Config,
    listeners: Listeners,
    environment: Environment,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let Environment { clock, seed, network, handlers, settings, reload } = environment;
    // Not from the seed, a part of which is in the history of attempts.
    let mut form_key = [0; 32];
    SysRng.try_fill_bytes(&mut form_key).map_err(|error| RunError::Random(Box::new(error)))?;
    let metrics = Arc::new(Metrics::default());
    // Before the store is open: taking over jobs can make dead letters.
    metrics.alerts().want(config.routes.take_alerts());
    let worker = worker_name(&config, seed);
    tokio::pin!(shutdown);
    let opening = open_store(&config, &worker, &clock, &metrics, seed);
    let store = tokio::select! {
        store = opening => store?,
        () = &mut shutdown => {
            tracing::info!("stopped before the store was open");
            return Ok(());
        }
    };
    let loaded = config.tls.as_ref().and_then(|tls| tls.loaded.clone());
    let certificates = loaded.map(|loaded| Arc::new(Certificates::new(loaded)));
    let routes = RoutesInForce::new(Arc::clone(&config.routes), settings)
        .with_sources(config.sources.map())
        .with_text(Arc::clone(&config.text))
        .with_certificates(certificates.clone());
    let routes = Arc::new(routes);
    let pool = Pool::start(
        Arc::clone(&store) as _,
        handlers,
        routes.policies(),
        Arc::clone(&clock),
        Arc::clone(&metrics),
        worker::Options { workers: config.workers, worker: worker.into(), lease: config.lease, seed },
    )
    .map_err(RunError::Threads)?;
    let purger = Purger::start(
        Arc::clone(&store),
        Arc::clone(&clock),
        Arc::clone(&metrics),
        config.retention,
        config.retention_actions,
        config.purge_interval,
    );

    let keys = KeyFetcher::new(Arc::clone(&clock), network, seed);
    let receiving = Arc::new(Receiving::new(config.rate_limit, keys, seed, Arc::clone(&clock)));
    let (leaving, stopping) = (Arc::new(CancellationToken::new()), Arc::new(CancellationToken::new()));
    let (work, leasing) = Work::start(
        Arc::clone(&store) as _,
        Arc::clone(&clock),
        Arc::clone(&metrics),
        seed,
        (*stopping).clone(),
    );
    let access = Arc::new(Access::new(Arc::clone(&config.tokens), Arc::clone(&clock)));
    let service =
        Service::new(Arc::clone(&store), routes, Arc::clone(&clock), metrics, receiving, work, access);
    let levels = BacklogLevels::new(config.max_backlog, config.backlog_alert);
    let alerter = Alerter::start(service.clone(), levels);
    let replayer = Replayer::start(service.clone());
    let sampling = tokio::spawn(service.clone().keep_history());
    let connections = Connections::new(connections_for_open_files(handler_files(&config)));
    let bodies = Bodies::new(config.max_body_bytes);
    let rest = http::router(http::Api {
        service: service.clone(),
        max_body_bytes: config.max_body_bytes,
        bodies: bodies.clone(),
        allowed: Arc::new(http::Allowed {
            hosts: config.hosts.clone(),
            public_url: config.public_url.clone(),
            allow_anonymous: config.allow_anonymous,
        }),
        pages: page::router(pages(&config, &service, &clock, form_key, levels, &stopping)),
        leaving: leaving.clone(),
        stopping: stopping.clone(),
    });
    let reloading = tokio::spawn(reload_when_asked(service.clone(), reload));
    let (rest_tls, grpc_tls) =
        (certificates.as_ref().map(Certificates::rest), certificates.as_ref().map(Certificates::grpc));
    let looking = certificates.map(|certificates| tokio::spawn(look(certificates, Arc::clone(&clock))));
    let calls = grpc::Api {
        service,
        max_body_bytes: config.max_body_bytes,
        bodies,
        leaving: leaving.clone(),
        stopping: stopping.clone(),
    };
    let mut http = tokio::spawn(http::server::serve(
        listeners.http,
        rest_tls,
        connections.clone(),
        rest,
        stopping.clone(),
    ));
    let mut grpc =
        tokio::spawn(grpc::serve(listeners.grpc, grpc_tls, connections, calls, (*stopping).clone()));
    tracing::info!("hookbox is ready");

    let leaves = async {
        shutdown.await;
        leaving.cancel();
        if !config.shutdown_delay.is_zero() {
            let delay = tracing::field::debug(config.shutdown_delay);
            tracing::info!(delay, "not ready any more; shutting down after a delay");
            clock.sleep(config.shutdown_delay).await;
        }
    };
    let served = tokio::select! {
        () = leaves => Ok(()),
        ended = &mut grpc => ended.map_err(RunError::Ended).and_then(|served| served.map_err(RunError::Grpc)),
        ended = &mut http => ended.map_err(RunError::Ended),
    };
    tracing::info!("shutting down: no new requests, running attempts may finish");
    leaving.cancel();
    stopping.cancel();
    reloading.abort();
    sampling.abort();
    if let Some(looking) = looking {
        looking.abort();
    }
    let stopped = async {
        purger.stop().await;
        replayer.stop().await;
        pool.shutdown(config.shutdown_grace).await
    };
    let (left, ()) = tokio::join!(stopped, async {
        if !http.is_finished() {
            let _ = http.await;
        }
        if !grpc.is_finished() {
            let _ = grpc.await;
        }
    });
    // After the last attempt and the last outcome of a worker, because they may have made dead letters.
    alerter.stop().await;
    if left > 0 {
        tracing::warn!(
            attempts = left,
            "some handlers did not stop; their jobs are taken over by another process"
        );
    }
    // A claim for a worker may be in progress. An error means that the task panicked.
    let _ = leasing.await;
    store.close().await;
    tracing::info!("hookbox has stopped");
    served
}

/// The parts of the page.
fn pages(
    config: &Config,
    service: &Service,
    clock: &Arc<dyn Clock>,
    form_key: [u8; 32],
    backlog: BacklogLevels,
    stopping: &CancellationToken,
) -> Pages {
    let is_https = config.public_url.as_ref().is_some_and(|url| url.scheme() == Scheme::Https);
    Pages {
        service: service.clone(),
        clock: Arc::clone(clock),
        base_path: Arc::clone(&config.base_path),
        trace_url: config.trace_url.clone(),
        status_of: http::status_of,
        is_secure: config.tls.is_some() || is_https,
        form_key,
        backlog,
        stopping: stopping.clone(),
    }
}

/// Reloads the settings whenever `asked` is notified.
async fn reload_when_asked(service: Service, asked: Arc<Notify>) {
    loop {
        asked.notified().await;
        // The service logs the result.
        let _ = service.reload().await;
    }
}

/// Looks for changes of the certificates.
async fn look(certificates: Arc<Certificates>, clock: Arc<dyn Clock>) {
    loop {
        clock.sleep(tls::LOOK_EVERY).await;
        let certificates = Arc::clone(&certificates);
        // An error means that the look panicked; the certificates in force stay.
        let _ = tokio::task::spawn_blocking(move || certificates.look()).await;
    }
}

/// How many files running attempts may keep open if all of them belong to the route that needs most.
fn handler_files(config: &Config) -> usize {
    let policies = config.routes.policies();
    let of_an_attempt = policies.iter().map(|policy| policy.handler.open_files()).max().unwrap_or(0);
    config.workers.saturating_mul(of_an_attempt)
}

/// The name of this process in the history of attempts.
fn worker_name(config: &Config, seed: u64) -> String {
    match &config.database {
        Database::Sqlite(_) => config.worker.clone(),
        // Two containers can have the same host name and process id; a random suffix keeps the names apart.
        Database::Postgres(_) => format!("{}-{:08x}", config.worker, seed as u32),
    }
}

/// Opens the store that the settings name. Its background tasks run in the caller's tokio runtime.
async fn open_store(
    config: &Config,
    worker: &str,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    seed: u64,
) -> Result<Arc<dyn Store>, RunError> {
    let (max_backlog, policies) = (config.max_backlog, config.routes.policies());
    let (clock, metrics) = (Arc::clone(clock), Arc::clone(metrics));
    Ok(match &config.database {
        Database::Sqlite(path) => {
            let options = sqlite::Options { path: path.clone(), max_backlog, policies, seed };
            Arc::new(SqliteStore::open(options, clock, metrics).await?)
        }
        Database::Postgres(target) => {
            let (target, worker) = (target.clone(), worker.to_owned());
            let options = postgres::Options { target, max_backlog, policies, worker, seed };
            let opened = open_postgres(options, clock, metrics, config.startup_wait).await;
            Arc::new(opened.map_err(|error| RunError::Postgres(Box::new(error)))?)
        }
    })
}

/// Opens the store in a PostgreSQL database. Tries again for `wait` if the server cannot be reached: it may be
/// starting at the same time.
async fn open_postgres(
    options: postgres::Options,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    wait: Duration,
) -> Result<PostgresStore, postgres::OpenError> {
    let until = clock.monotonic().saturating_add(wait);
    loop {
        let opened = PostgresStore::open(options.clone(), Arc::clone(&clock), Arc::clone(&metrics)).await;
        let left = until.saturating_sub(clock.monotonic());
        match opened {
            Err(error) if error.is_temporary() && !left.is_zero() => {
                tracing::warn!(
                    error = %causes(&error),
                    left = ?Duration::from_secs(left.as_secs()),
                    "the database cannot be reached yet; trying again"
                );
                clock.sleep(CONNECT_AGAIN.min(left)).await;
            }
            opened => return opened,
        }
    }
}
