//! The parts that run beside the two servers: started over an open store, and stopped in the right order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::stores::worker_name;
use super::{Environment, RunError};
use crate::access::Access;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::keys::KeyFetcher;
use crate::service::alerts::{Alerter, BacklogLevels};
use crate::service::reload::SettingsInForce;
use crate::service::replays::Replayer;
use crate::service::work::Work;
use crate::service::{Receiving, Service};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::tasks::restarted;
use crate::tls::{self, Certificates};
use crate::worker::purger::Purger;
use crate::worker::{self, Left, Pool};

/// The parts that run beside the servers.
pub(super) struct Parts {
    store: Arc<dyn Store>,
    pool: Pool,
    purger: Purger,
    alerter: Alerter,
    replayer: Replayer,
    /// Claims jobs for workers elsewhere.
    leasing: JoinHandle<()>,
    /// Keeps the history that the page shows.
    sampling: JoinHandle<()>,
    /// Reloads the settings when asked.
    reloading: JoinHandle<()>,
    /// Looks for changes of the certificates; none without TLS.
    looking: Option<JoinHandle<()>>,
}

impl Parts {
    /// Starts the parts over an open store. Returns them with the use cases, for the servers. Errors: the system could
    /// not start a thread.
    pub(super) fn start(
        config: &Config,
        environment: Environment,
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        certificates: Option<Arc<Certificates>>,
        levels: BacklogLevels,
        stopping: &CancellationToken,
    ) -> Result<(Self, Service), RunError> {
        let Environment { clock, seed, form_key: _, network, handlers, settings, reload } = environment;
        let worker = worker_name(config, seed);
        let settings = SettingsInForce::new(Arc::clone(&config.routes), settings)
            .with_sources(config.sources.map())
            .with_text(Arc::clone(&config.text))
            .with_certificates(certificates.clone());
        let settings = Arc::new(settings);
        let pool = Pool::start(
            Arc::clone(&store) as _,
            handlers,
            settings.policies(),
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
        let (work, leasing) = Work::start(
            Arc::clone(&store) as _,
            Arc::clone(&clock),
            Arc::clone(&metrics),
            seed,
            stopping.clone(),
        );
        let access = Arc::new(Access::new(Arc::clone(&config.tokens), Arc::clone(&clock)));
        let service =
            Service::new(Arc::clone(&store), settings, Arc::clone(&clock), metrics, receiving, work, access);
        let parts = Self {
            store,
            pool,
            purger,
            alerter: Alerter::start(service.clone(), levels),
            replayer: Replayer::start(service.clone()),
            leasing,
            sampling: start_sampling(service.clone()),
            reloading: start_reloading(service.clone(), reload),
            looking: certificates.map(|certificates| start_looking(certificates, clock)),
        };
        Ok((parts, service))
    }

    /// Stops the parts, and closes the store last. Gives running attempts `grace`. `served` is ready once both servers
    /// have ended.
    pub(super) async fn stop(self, grace: Duration, served: impl Future<Output = ()>) {
        let Self { store, pool, purger, alerter, replayer, leasing, sampling, reloading, looking } = self;
        reloading.abort();
        sampling.abort();
        if let Some(looking) = looking {
            looking.abort();
        }
        let stopped = async {
            purger.stop().await;
            replayer.stop().await;
            pool.shutdown(grace).await
        };
        let (left, ()) = tokio::join!(stopped, served);
        // After the last attempt and the last outcome of a worker, because they may have made dead letters.
        alerter.stop().await;
        tell(left);
        // A claim for a worker may be in progress.
        let _ = leasing.await;
        store.close().await;
    }
}

/// Logs which attempts are left.
fn tell(left: Left) {
    let Left { running, unrecorded } = left;
    if running > 0 {
        tracing::warn!(
            attempts = running,
            "some handlers did not stop; their jobs are taken over by another process"
        );
    }
    if unrecorded > 0 {
        tracing::warn!(
            attempts = unrecorded,
            "the store did not take some outcomes before the stop; jobs whose outcomes are not stored are taken over by another process"
        );
    }
}

/// Starts to keep the history.
fn start_sampling(service: Service) -> JoinHandle<()> {
    tokio::spawn(restarted("history", move || service.clone().keep_history()))
}

/// Starts to reload the settings whenever `asked` is notified.
fn start_reloading(service: Service, asked: Arc<Notify>) -> JoinHandle<()> {
    tokio::spawn(restarted("reload", move || reload_when_asked(service.clone(), Arc::clone(&asked))))
}

async fn reload_when_asked(service: Service, asked: Arc<Notify>) {
    loop {
        asked.notified().await;
        // The service logs the result.
        let _ = service.reload().await;
    }
}

/// Starts to look for changes of the certificates.
fn start_looking(certificates: Arc<Certificates>, clock: Arc<dyn Clock>) -> JoinHandle<()> {
    tokio::spawn(restarted("certificates", move || look(Arc::clone(&certificates), Arc::clone(&clock))))
}

async fn look(certificates: Arc<Certificates>, clock: Arc<dyn Clock>) {
    loop {
        clock.sleep(tls::LOOK_EVERY).await;
        let certificates = Arc::clone(&certificates);
        let looked = tokio::task::spawn_blocking(move || certificates.look()).await;
        // The certificates in force stay.
        if let Some(panic) = looked.err().and_then(|error| error.try_into_panic().ok()) {
            std::panic::resume_unwind(panic);
        }
    }
}
