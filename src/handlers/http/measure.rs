//! What is known of a request while it is under way: how long it took to connect, and what was answered so far.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tower::{Layer, Service};

use crate::domain::delivery::Answer;
use crate::telemetry::metrics::Stopwatch;

tokio::task_local! {
    /// The request that the current task sends.
    static CURRENT: Arc<Progress>;
}

/// The state of one request. It outlives the task that sends the request, so that it is known what was answered
/// before the task was stopped.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Known>);

/// What is known of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// How long it took to connect; none if the connection was there already, or no connection was made.
    pub(super) connect_time: Option<Duration>,
    /// How long it took until the head of the answer was here; none if no answer began.
    pub(super) first_byte_time: Option<Duration>,
    /// What was answered so far; none if no answer began.
    pub(super) answer: Option<Answer>,
}

impl Progress {
    /// What is known now.
    pub(super) fn known(&self) -> Known {
        self.lock().clone()
    }

    /// Changes what is known.
    pub(super) fn note(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.lock());
    }

    /// Runs a future that sends the request of which this is the state. Connections that it makes are measured.
    pub(super) fn measuring<F: Future>(self: Arc<Self>, sending: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, sending)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures how long a connector takes: to look up the name, to connect, and for the handshake of TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeasureConnections;

impl<S> Layer<S> for MeasureConnections {
    type Service = Measured<S>;

    fn layer(&self, connector: S) -> Measured<S> {
        Measured(connector)
    }
}

/// A connector that is measured.
#[derive(Clone, Debug)]
pub(super) struct Measured<S>(S);

impl<S, T> Service<T> for Measured<S>
where
    S: Service<T>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        // None if the connection is made for no request in particular.
        let progress = CURRENT.try_with(Arc::clone).ok();
        let took = Stopwatch::start();
        self.0
            .call(target)
            .inspect(move |connected| {
                if let (Ok(_), Some(progress)) = (connected, progress) {
                    progress.note(|known| known.connect_time = Some(took.elapsed()));
                }
            })
            .boxed()
    }
}
