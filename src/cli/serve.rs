//! `hookbox serve`: serves REST and gRPC, and runs jobs.

use std::net::SocketAddr;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::Failure;
use super::settings::SettingFlags;
use crate::app::{self, Environment, Listeners};
use crate::clock::SystemClock;
use crate::config::{Config, Database, HANDLERS, Layers, OF_ROUTES};
use crate::connections::raise_open_files;
use crate::domain::error::causes;
use crate::handlers::exec::{Exec, Launcher};
use crate::handlers::http::Http;
use crate::handlers::simulate::Simulate;
use crate::service::reload::{ReadSettings, Reloaded};
use crate::telemetry::Telemetry;
use crate::worker::handler::Registry;

/// The exit code of a process that a second signal has ended: 128 + SIGINT, as in shells.
pub(super) const EXIT_INTERRUPTED: u8 = 130;

/// Starts logs and traces, and serves until SIGTERM or SIGINT. An error is logged if logs are JSON, so that all of
/// standard error is.
pub(super) fn serve(flags: &SettingFlags) -> Result<ExitCode, Failure> {
    let layers = flags.layers()?;
    let config = Config::new(&layers, HANDLERS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(io_threads(&config.database))
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let telemetry = Telemetry::start(&config.telemetry).map_err(Box::new)?;
        raise_open_files();
        let served = run(flags, layers, config).await;
        let logged = match &served {
            Err(Failure::Other(error)) if telemetry.logs_as_json() => {
                tracing::error!(error = %causes(&**error), "hookbox stops with an error");
                true
            }
            _ => false,
        };
        // The shutdown blocks while it exports the last traces.
        let flushed = tokio::task::spawn_blocking(|| telemetry.shutdown());
        let _ = flushed.await;
        if logged { Ok(ExitCode::FAILURE) } else { served.map(|()| ExitCode::SUCCESS) }
    })
}

/// Binds the ports and serves until SIGTERM or SIGINT.
#[expect(clippy::disallowed_methods, reason = "the seed of all randomness is drawn here")]
async fn run(flags: &SettingFlags, layers: Layers, config: Config) -> Result<(), Failure> {
    layers.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let listeners = Listeners { http: bind(config.http_addr).await?, grpc: bind(config.grpc_addr).await? };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        http.address = %listeners.http.local_addr()?,
        grpc.address = %listeners.grpc.local_addr()?,
        database = %config.database,
        workers = config.workers,
        "hookbox starts"
    );
    let shutdown = shutdown_signal()?;
    let seed = rand::random();
    let environment = Environment {
        clock: Arc::new(SystemClock),
        seed,
        handlers: handlers(seed),
        settings: settings_reader(flags.clone(), layers),
        reload: reload_signal()?,
    };
    app::run(config, listeners, environment, shutdown).await.map_err(Box::new)?;
    Ok(())
}

/// The handlers that come with hookbox. Called in the runtime that sends their requests.
fn handlers(seed: u64) -> Registry {
    Registry::default()
        .with(Simulate::new(seed))
        .with(Http::new(Handle::current()))
        .with(Exec::new(Launcher::this_program()))
}

/// A function that reads the settings again, for a reload. It also compares them with those at the start, to
/// find settings that need a restart.
fn settings_reader(flags: SettingFlags, at_start: Layers) -> Arc<ReadSettings> {
    Arc::new(move || {
        let layers = flags.layers().map_err(|mistakes| mistakes.to_string())?;
        let config = Config::new(&layers, HANDLERS).map_err(|mistakes| mistakes.to_string())?;
        let is_of_routes = |name: &str| OF_ROUTES.iter().any(|(setting, _)| *setting == name);
        let changed = layers.changed(&at_start).into_iter().filter(|name| !is_of_routes(name));
        let needs_restart = changed.map(ToOwned::to_owned).collect();
        Ok(Reloaded { routes: config.routes, needs_restart })
    })
}

/// A `Notify` that every SIGHUP notifies.
fn reload_signal() -> std::io::Result<Arc<Notify>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let reload = Arc::new(Notify::new());
    let asked = Arc::clone(&reload);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            asked.notify_one();
        }
    });
    Ok(reload)
}

/// How many threads tokio's runtime has. On SQLite, one for each core. On PostgreSQL, half as many, rounded
/// up, because the database may run on the same machine and also needs cores. With more threads than cores,
/// throughput was lower.
fn io_threads(database: &Database) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    match database {
        Database::Sqlite(_) => cores,
        Database::Postgres(_) => cores.div_ceil(2),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::Other(
            format!(
                "cannot listen on {address}: {error}; stop the program that uses it, or set another address"
            )
            .into(),
        )
    })
}

/// Ready at the first SIGTERM or SIGINT. The second signal ends the process at once, with exit code 130.
pub(super) fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            tracing::warn!(
                "stopped at once by a second signal; unfinished jobs are taken over by another process"
            );
            std::process::exit(EXIT_INTERRUPTED.into());
        });
    })
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
