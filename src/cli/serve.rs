//! `hookbox serve`: serves REST and gRPC, and runs jobs.

mod welcome;

use std::io::Write as _;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use self::welcome::Welcome;
use super::settings::SettingFlags;
use super::{EXIT_INTERRUPTED, Failure};
use crate::app::{Program, known_handlers};
use crate::config::{Config, Database, Layers, Listening};
use crate::connections::raise_open_files;
use crate::domain::error::causes;
use crate::handlers::exec::Launcher;
use crate::telemetry::Telemetry;
use crate::worker::handler::Registry;

/// Starts logs and traces, and serves until SIGTERM or SIGINT. An error is logged if logs are JSON, so that all of
/// standard error is.
pub(super) fn serve(flags: &SettingFlags, own: &Registry) -> Result<ExitCode, Failure> {
    let layers = flags.layers()?;
    let config = Config::protected(&layers, &known_handlers(own), Listening::from_start(&layers))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(io_threads(&config.database))
        .enable_all()
        .build()?;
    let telemetry = {
        // The exporter of traces uses the runtime.
        let _in_runtime = runtime.enter();
        Telemetry::start(&config.telemetry).map_err(Box::new)?
    };
    raise_open_files();
    let welcome = telemetry.logs_for_people().then(|| Welcome::new(&config));
    let served = runtime.block_on(run(flags, own, layers, config, welcome));
    let logged = match &served {
        Err(Failure::Other(error)) if telemetry.logs_as_json() => {
            tracing::error!(error = %causes(&**error), "hookbox stops with an error");
            true
        }
        _ => false,
    };
    // Exports the last traces, on this thread: the system may refuse to start another one.
    telemetry.shutdown();
    // All parts have stopped. Calls that block and may never return, such as look-ups of names, end with the process.
    runtime.shutdown_background();
    if logged { Ok(ExitCode::FAILURE) } else { served.map(|()| ExitCode::SUCCESS) }
}

/// Serves until SIGTERM or SIGINT. Says `welcome` once the ports are bound.
async fn run(
    flags: &SettingFlags,
    own: &Registry,
    layers: Layers,
    config: Config,
    welcome: Option<Welcome>,
) -> Result<(), Failure> {
    let shutdown = shutdown_signal()?;
    let flags = flags.clone();
    let program = Program {
        own: own.clone(),
        launcher: Launcher::this_program(),
        read: Arc::new(move || flags.layers()),
        reload: reload_signal()?,
        bound: Box::new(move |http, grpc| {
            if let Some(welcome) = welcome {
                // With the lines of the log, which say the same if this cannot be written.
                let _ = std::io::stderr().write_all(welcome.text(http, grpc).as_bytes());
            }
        }),
    };
    program.serve(layers, config, shutdown).await.map_err(Box::new)?;
    Ok(())
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
