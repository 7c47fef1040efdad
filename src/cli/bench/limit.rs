//! The limit that storage is measured against: the same program, router and route, with a store
//! that keeps nothing.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::client::Target;
use crate::cli::Failure;
use crate::domain::attempt::Lease;
use crate::domain::clock::{Clock, Signal, SystemClock};
use crate::domain::error::{Error, Result};
use crate::domain::id::{Sequence, WebhookId, WebhookIds};
use crate::domain::job::Status;
use crate::domain::retention::Retention;
use crate::domain::retry::RetryPolicy;
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use crate::http;
use crate::service::Service;
use crate::store::changes::Changes;
use crate::store::{Accepted, Claims, Finish, ListQuery, Page, Probe, Purged, Store, StoreStats};

/// The body limit of the default settings.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The command that serves it.
const COMMAND: &str = "bench-limit";

/// A process that serves the route with no storage, until it is dropped.
pub(super) struct Server {
    child: Child,
    target: Target,
}

impl Server {
    /// Starts this program once more.
    pub(super) async fn start() -> std::result::Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?).arg(COMMAND).stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut url)?;
        }
        let target = url.trim().parse().map_err(|problem: String| Failure::Other(problem.into()))?;
        Ok(Self { child, target })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to lose; it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `hookbox bench-limit`: prints its URL and serves until it is killed.
pub(in crate::cli) fn serve() -> std::result::Result<ExitCode, Failure> {
    use std::io::Write as _;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Arc::new(NoStore::new(Arc::clone(&clock)));
        let retry = RetryPolicy::new(Duration::ZERO, Duration::ZERO, 1);
        let service = Service::new(store, clock, Arc::default(), retry, None);
        let stopping = CancellationToken::new();
        let router = http::router(http::Api {
            service,
            max_body_bytes: MAX_BODY_BYTES,
            bodies: http::Bodies::new(MAX_BODY_BYTES),
            stopping: stopping.clone(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout().lock(), "http://{}", listener.local_addr()?)?;
        http::server::serve(listener, router, stopping).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Accepts everything and keeps nothing.
#[derive(Debug)]
struct NoStore {
    ids: Mutex<WebhookIds<SmallRng>>,
    clock: Arc<dyn Clock>,
    changes: Changes,
}

impl NoStore {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let ids = WebhookIds::after(Sequence::from_i64(0), SmallRng::seed_from_u64(0));
        Self { ids: Mutex::new(ids), clock, changes: Changes::default() }
    }

    fn nothing<T>() -> Result<T> {
        Err(Error::store_unavailable("this is the limit of a bench; it keeps nothing", "no store"))
    }
}

#[async_trait]
impl Store for NoStore {
    async fn accept(&self, webhook: NewWebhook) -> Result<Accepted> {
        let now = self.clock.now();
        let id = self.ids.lock().unwrap_or_else(PoisonError::into_inner).next(now);
        let webhook = WebhookStatus {
            id,
            source: webhook.source,
            idempotency_key: webhook.idempotency_key,
            event_type: webhook.event_type,
            status: Status::Pending,
            attempt_count: 0,
            accepted_at: now,
            updated_at: now,
            revision: 0,
        };
        Ok(Accepted { webhook, duplicate: false })
    }

    async fn claim(&self, _limit: usize, _lease: Duration) -> Result<Claims> {
        Self::nothing()
    }

    async fn finish(&self, _finish: Finish) -> Result<bool> {
        Self::nothing()
    }

    async fn renew(&self, _leases: Vec<Lease>, _lease: Duration) -> Result<Vec<Lease>> {
        Self::nothing()
    }

    async fn take_over_expired(&self, _held: Vec<Lease>) -> Result<usize> {
        Self::nothing()
    }

    async fn retry(&self, _id: WebhookId, _attempts: u32) -> Result<WebhookStatus> {
        Self::nothing()
    }

    async fn cancel(&self, _id: WebhookId) -> Result<WebhookStatus> {
        Self::nothing()
    }

    async fn status(&self, _name: WebhookName) -> Result<WebhookStatus> {
        Self::nothing()
    }

    async fn webhook(&self, _id: WebhookId) -> Result<WebhookDetail> {
        Self::nothing()
    }

    async fn list(&self, _query: ListQuery) -> Result<Page> {
        Self::nothing()
    }

    async fn stats(&self) -> Result<StoreStats> {
        Self::nothing()
    }

    async fn purge(&self, _retention: Retention) -> Result<Purged> {
        Self::nothing()
    }

    async fn probe(&self) -> Result<Probe> {
        Self::nothing()
    }

    fn on_due(&self, _wake: Arc<Signal>) {}

    fn changes(&self) -> &Changes {
        &self.changes
    }

    async fn close(&self) {}
}
