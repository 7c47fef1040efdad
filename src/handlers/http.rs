//! The handler `http` sends each webhook to a URL, and takes the answer for the result.
//!
//! The thread of the attempt waits; the request itself runs in tokio's runtime, so that its connection is served by
//! the threads that serve all others.

mod answer;
mod clients;
mod escapes;
mod fault;
mod guard;
mod lookups;
mod measure;
mod request;
mod secret_url;
mod sign;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tracing::Span;
use tracing::field::Empty;

use self::answer::{Head, named};
use self::clients::Clients;
use self::fault::{Fault, PANIC};
use self::lookups::Lookups;
pub use self::lookups::Resolver;
use self::measure::{Known, Progress, WaitsFor};
use self::targets::{Target, Targets};
use crate::domain::breaker::Health;
use crate::domain::delivery::Delivery;
use crate::domain::error::causes;
use crate::domain::handler::HandlerSettings;
use crate::domain::route::OnInterrupt;
use crate::telemetry::metrics::Stopwatch;
use crate::worker::handler::{Attempt, Failure, Handler};

/// The handler `http`. The settings of a route say where its webhooks are sent.
#[derive(Debug)]
pub struct Http {
    runtime: Handle,
    targets: Targets,
}

/// Why a request got no whole answer.
enum Unanswered {
    Fault(Fault),
    /// The attempt was told to stop, not because of its timeout.
    Stopped,
}

impl Http {
    /// The name of the handler in the settings of routes.
    pub const NAME: &'static str = "http";

    /// A handler that sends its requests in this runtime.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, targets: Targets::default() }
    }

    /// The same, with another resolver than that of the system, for tests.
    pub fn with_resolver(runtime: Handle, resolver: Arc<Resolver>) -> Self {
        Self { runtime, targets: Targets::new(Lookups::new(resolver)) }
    }

    /// Sends a request and waits for the whole answer, or until the attempt has to stop.
    fn send(
        &self,
        attempt: &Attempt<'_>,
        clients: &Clients,
        request: Request,
        progress: &Arc<Progress>,
    ) -> Result<Head, Unanswered> {
        let may_resend = attempt.policy().on_interrupt == OnInterrupt::Retry;
        let exchange = exchange(clients.clone(), request, may_resend, Arc::clone(progress));
        let mut sending = self.runtime.spawn(Arc::clone(progress).measuring(exchange));
        let ended = self.runtime.block_on(async {
            tokio::select! {
                biased;
                ended = &mut sending => Some(ended),
                () = attempt.stopped() => None,
            }
        });
        match ended {
            Some(Ok(ended)) => ended.map_err(Unanswered::Fault),
            Some(Err(error)) if error.is_panic() => {
                let error = "sending the request panicked; this is a bug of hookbox, please report it";
                Err(Unanswered::Fault(Fault::new(PANIC, error)))
            }
            // The runtime is shutting down.
            Some(Err(_)) => Err(Unanswered::Stopped),
            None => {
                // Closes the connection.
                sending.abort();
                Err(unanswered_in_time(attempt, &progress.known()))
            }
        }
    }
}

impl Handler for Http {
    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure> {
        let policy = attempt.policy();
        let HandlerSettings::Http(settings) = &policy.handler else {
            let error = "the route has no settings of the handler `http`".to_owned();
            return Err(Failure::Permanent { error });
        };
        let target = self
            .targets
            .get(&policy.route, settings, policy.timeout)
            .map_err(|error| Failure::Retry { error: causes(&error), after: None })?;
        let took = Stopwatch::start();
        let span = span(&target);
        // The span ends with its last exit.
        let _entered = span.enter();
        let traceparent = attempt.traceparent();
        let request = request::request(attempt, settings, &target, &traceparent);
        let request_headers = request::kept_headers(&request, &target);
        let progress = Arc::new(Progress::to(&target.url));
        let mut sent = match guard::check_address(&target.url, &settings.allow) {
            Ok(()) => self.send(attempt, &target.clients, request, &progress),
            Err(refused) => Err(Unanswered::Fault((&refused).into())),
        };
        let Known { connect_time, first_byte_time, mut answer, is_resent, .. } = progress.known();
        let status = answer.as_ref().map(|answer| answer.status);
        if let Some(answer) = &mut answer {
            target.secret_parts.hide_in(answer);
        }
        if let Ok(head) = &mut sent {
            head.hide(&target.secret_parts);
        }
        let total_time = took.elapsed();
        attempt.keep(Delivery {
            method: "POST".to_owned(),
            url: target.public_url.to_string(),
            request_headers,
            answer,
            connect_time,
            first_byte_time,
            total_time,
        });
        if is_resent {
            span.record("http.request.resend_count", 1_i64);
        }
        record(&span, status, &sent);
        if let Some(health) = health(&sent) {
            attempt.note_health(health);
        }
        let longest_delay = settings.retry_after_cap.unwrap_or(policy.retry.cap());
        match sent {
            Ok(head) => {
                head.judge(longest_delay, attempt.now())?;
                Ok(json!({ "status": head.status.as_u16(), "total_ms": milliseconds(total_time) }))
            }
            Err(Unanswered::Fault(fault)) => Err(Failure::Retry { error: fault.error, after: None }),
            Err(Unanswered::Stopped) => Err(Failure::Stopped),
        }
    }
}

/// What a request has found out about the target; none if it did not get there, or was stopped.
fn health(sent: &Result<Head, Unanswered>) -> Option<Health> {
    match sent {
        Ok(head) => Some(head.health()),
        Err(Unanswered::Fault(fault)) => fault.health(),
        Err(Unanswered::Stopped) => None,
    }
}

/// Sends a request, and reads the answer as far as it is kept. A target can close a connection that it takes for idle in
/// the moment in which the request is sent. So if a connection that was there already ends before the answer begins, the
/// request is sent once more, on a connection of its own. One that must not be sent twice gets such a connection at first.
async fn exchange(
    clients: Clients,
    request: Request,
    may_resend: bool,
    progress: Arc<Progress>,
) -> Result<Head, Fault> {
    let took = Stopwatch::start();
    let (first, again) =
        if may_resend { (&clients.keeping, request.try_clone()) } else { (&clients.fresh, None) };
    let mut sent = execute(first, request, &progress).await;
    let was_there_already = progress.known().connect_time.is_none();
    if was_there_already
        && sent.as_ref().is_err_and(Fault::is_end_of_connection)
        && let Some(request) = again
    {
        progress.note(|known| known.is_resent = true);
        sent = execute(&clients.fresh, request, &progress).await;
    }
    let response = sent?;
    progress.note(|known| known.first_byte_time = Some(took.elapsed()));
    let head = Head::of(&response);
    answer::keep(response, &progress).await?;
    Ok(head)
}

/// Sends a request once. Returns when the answer begins.
async fn execute(client: &Client, request: Request, progress: &Progress) -> Result<Response, Fault> {
    let sent = client.execute(request).await;
    sent.map_err(|error| Fault::of_request(&error.without_url(), &progress.known()))
}

/// Why an attempt that was told to stop has no whole answer.
fn unanswered_in_time(attempt: &Attempt<'_>, known: &Known) -> Unanswered {
    let Some(timeout) = attempt.policy().timeout.filter(|_| attempt.time_left() == Some(Duration::ZERO))
    else {
        return Unanswered::Stopped;
    };
    let status = known.answer.as_ref().and_then(|answer| StatusCode::from_u16(answer.status).ok());
    let limit = format!("the timeout of {timeout:?}");
    let error = match (status, known.waits_for) {
        (None, WaitsFor::Answer) => format!("the target sent no answer within {limit}"),
        (None, _) => return Unanswered::Fault(Fault::not_connected(known, &limit)),
        (Some(status), _) => {
            format!("the target answered {}, but its answer did not end within {limit}", named(status))
        }
    };
    Unanswered::Fault(Fault::new("timeout", error))
}

/// The span of a request, with the names and attributes of the OpenTelemetry conventions for clients of HTTP
/// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span>).
fn span(target: &Target) -> Span {
    tracing::info_span!(
        "deliver",
        otel.name = "POST",
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = "POST",
        http.request.resend_count = Empty,
        url.full = target.public_url.as_str(),
        server.address = target.url.host_str(),
        server.port = target.url.port_or_known_default().map(i64::from),
        http.response.status_code = Empty,
        network.protocol.version = Empty,
        error.r#type = Empty,
        error.message = Empty,
    )
}

/// Records in the span how a request ended. The status is known also if the answer did not end.
fn record(span: &Span, status: Option<u16>, sent: &Result<Head, Unanswered>) {
    if let Some(status) = status {
        span.record("http.response.status_code", i64::from(status));
    }
    let (kind, message) = match sent {
        Ok(head) => {
            span.record("network.protocol.version", head.version);
            if !head.status.is_client_error() && !head.status.is_server_error() {
                return;
            }
            (head.status.as_str(), Some(head.answered()))
        }
        Err(Unanswered::Fault(fault)) => (fault.kind, Some(fault.error.clone())),
        Err(Unanswered::Stopped) => ("stopped", None),
    };
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
    if let Some(message) = message {
        span.record("error.message", message);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
