//! What is known of a request while it is under way: what it waits for, how long it took to connect, and what was
//! answered so far.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tower::{Layer, Service};
use url::Url;

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

/// What a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The end of another look-up, because too many run.
    Turn,
    /// The addresses of the target.
    Name,
    /// A connection: TCP, and the handshake of TLS.
    Connection,
    /// The answer. Also before the request needs a connection.
    #[default]
    Answer,
}

/// What is known of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) waits_for: WaitsFor,
    /// Whether connecting includes the handshake of TLS.
    pub(super) over_tls: bool,
    /// Whether the request was sent again, because the target closed the connection that was there already.
    pub(super) is_resent: bool,
    /// How long it took to connect; none if the connection was there already, or no connection was made.
    pub(super) connect_time: Option<Duration>,
    /// How long it took until the head of the answer was here; none if no answer began.
    pub(super) first_byte_time: Option<Duration>,
    /// What was answered so far; none if no answer began.
    pub(super) answer: Option<Answer>,
}

impl Progress {
    /// The state of a request to this URL before it is sent.
    pub(super) fn to(url: &Url) -> Self {
        Self(Mutex::new(Known { over_tls: url.scheme() == "https", ..Known::default() }))
    }

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

/// The request for which a connection is made; none if it is made for no request in particular.
#[derive(Debug)]
pub(super) struct Connecting(Option<Arc<Progress>>);

impl Connecting {
    /// The connection that the current task makes.
    pub(super) fn of_current_task() -> Self {
        Self(CURRENT.try_with(Arc::clone).ok())
    }

    /// Notes what the request waits for, unless it has a connection already.
    pub(super) fn waits_for(&self, what: WaitsFor) {
        self.note(|known| {
            if known.waits_for != WaitsFor::Answer {
                known.waits_for = what;
            }
        });
    }

    fn begin(&self) {
        self.note(|known| known.waits_for = WaitsFor::Connection);
    }

    /// Forgets the request if the current task is not that of the request: the request got another connection, and the
    /// client makes this one ready for later requests.
    fn leave_if_in_background(&mut self) {
        if self.0.is_some() && CURRENT.try_with(|_| ()).is_err() {
            self.note(|known| known.waits_for = WaitsFor::Answer);
            self.0 = None;
        }
    }

    fn end(&self, took: Duration) {
        self.note(|known| {
            known.waits_for = WaitsFor::Answer;
            known.connect_time = Some(took);
        });
    }

    fn note(&self, change: impl FnOnce(&mut Known)) {
        if let Some(progress) = &self.0 {
            progress.note(change);
        }
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
        let mut request = Connecting::of_current_task();
        request.begin();
        let took = Stopwatch::start();
        let mut connecting = Box::pin(self.0.call(target));
        let measured = poll_fn(move |context| {
            request.leave_if_in_background();
            let connected = ready!(connecting.as_mut().poll(context));
            if connected.is_ok() {
                request.end(took.elapsed());
            }
            Poll::Ready(connected)
        });
        measured.boxed()
    }
}
