//! The servers of both APIs: built over the use cases, and started.

use std::sync::Arc;

use axum::Router;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Listeners, RunError};
use crate::config::Config;
use crate::connections::{Bodies, Connections, connections_for_open_files};
use crate::domain::clock::Clock;
use crate::domain::host::Scheme;
use crate::page::{self, Pages};
use crate::service::Service;
use crate::service::alerts::BacklogLevels;
use crate::telemetry::tasks::restarted;
use crate::tls::Certificates;
use crate::{grpc, http};

/// What the servers are made of.
pub(super) struct Apis<'a> {
    pub(super) config: &'a Config,
    pub(super) service: Service,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) form_key: [u8; 32],
    pub(super) backlog: BacklogLevels,
    /// None without TLS.
    pub(super) certificates: Option<Arc<Certificates>>,
    /// Cancelled when the process is about to stop: it is no longer ready, but still serves.
    pub(super) leaving: Arc<CancellationToken>,
    /// Cancelled when the process begins to stop.
    pub(super) stopping: Arc<CancellationToken>,
}

/// Both servers. They run until `stopping` is cancelled.
pub(super) struct Servers {
    http: JoinHandle<()>,
    grpc: JoinHandle<Result<(), tonic::transport::Error>>,
    /// What both need for slow and idle clients.
    _clients: [AbortOnDropHandle<()>; 3],
}

impl Apis<'_> {
    /// Starts both servers.
    pub(super) fn serve(self, listeners: Listeners) -> Servers {
        let handler_files = self.config.routes.policies().open_files(self.config.workers);
        let connections = Connections::new(connections_for_open_files(handler_files));
        let clients = watch_clients(&connections, &self.stopping);
        let bodies = Bodies::new(self.config.max_body_bytes);
        let (rest, calls) = (self.rest(&bodies), self.calls(&bodies));
        let (rest_tls, grpc_tls) = (
            self.certificates.as_ref().map(Certificates::rest),
            self.certificates.as_ref().map(Certificates::grpc),
        );
        let http = tokio::spawn(http::server::serve(
            listeners.http,
            rest_tls,
            connections.clone(),
            rest,
            Arc::clone(&self.stopping),
        ));
        let stopping = (*self.stopping).clone();
        let grpc = tokio::spawn(grpc::serve(listeners.grpc, grpc_tls, connections, calls, stopping));
        Servers { http, grpc, _clients: clients }
    }

    /// REST and the page.
    fn rest(&self, bodies: &Bodies) -> Router {
        let config = self.config;
        http::router(http::Api {
            service: self.service.clone(),
            max_body_bytes: config.max_body_bytes,
            bodies: bodies.clone(),
            allowed: Arc::new(http::Allowed {
                hosts: config.hosts.clone(),
                public_url: config.public_url.clone(),
                allow_anonymous: config.allow_anonymous,
            }),
            pages: page::router(self.pages(bodies)),
            overview: page::OVERVIEW,
            leaving: Arc::clone(&self.leaving),
            stopping: Arc::clone(&self.stopping),
        })
    }

    /// gRPC.
    fn calls(&self, bodies: &Bodies) -> grpc::Api {
        grpc::Api {
            service: self.service.clone(),
            max_body_bytes: self.config.max_body_bytes,
            bodies: bodies.clone(),
            leaving: Arc::clone(&self.leaving),
            stopping: Arc::clone(&self.stopping),
        }
    }

    /// The parts of the page.
    fn pages(&self, bodies: &Bodies) -> Pages {
        let config = self.config;
        let is_https = config.public_url.as_ref().is_some_and(|url| url.scheme() == Scheme::Https);
        Pages {
            service: self.service.clone(),
            clock: Arc::clone(&self.clock),
            bodies: bodies.clone(),
            base_path: Arc::clone(&config.base_path),
            trace_url: config.trace_url.clone(),
            status_of: http::status_of,
            public_url: config.public_url_text.clone(),
            is_secure: config.tls.is_some() || is_https,
            form_key: self.form_key,
            backlog: self.backlog,
            stopping: (*self.stopping).clone(),
        }
    }
}

/// Starts the tasks that keep slow clients from costing the others too much, and idle ones from holding up the stop.
fn watch_clients(connections: &Connections, stopping: &Arc<CancellationToken>) -> [AbortOnDropHandle<()>; 3] {
    let (limited, woken, closed) = (connections.clone(), connections.clone(), connections.clone());
    let stopping = Arc::clone(stopping);
    let limiting = tokio::spawn(restarted("limit-waiting", move || limited.clone().limit_waiting()));
    let waking = tokio::spawn(restarted("slow-lane", move || woken.clone().wake_slow()));
    let close = move || closed.clone().close_idle(Arc::clone(&stopping));
    let closing = tokio::spawn(restarted("close-idle", close));
    [limiting, waking, closing].map(AbortOnDropHandle::new)
}

impl Servers {
    /// Waits until one of the servers has ended. Errors: it has failed.
    pub(super) async fn one_ended(&mut self) -> Result<(), RunError> {
        tokio::select! {
            ended = &mut self.grpc => {
                ended.map_err(RunError::Ended).and_then(|served| served.map_err(RunError::Grpc))
            }
            ended = &mut self.http => ended.map_err(RunError::Ended),
        }
    }

    /// Waits until both servers have ended.
    pub(super) async fn both_ended(self) {
        if !self.http.is_finished() {
            let _ = self.http.await;
        }
        if !self.grpc.is_finished() {
            let _ = self.grpc.await;
        }
    }
}
