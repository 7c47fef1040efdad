//! Counts the calls of each connection, limits the memory for answers, and ends calls at their deadlines.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::server::Connected;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span};

use super::answer::{Uncounted, count, counted_method};
use super::deadline::time_of;
use super::messages::{Messages, Takes};
use super::proto::webhook_service_server::SERVICE_NAME;
use super::span::{record_answer, span_of};
use super::status::{cut_off, deadline_passed, status, trace_id_of};
use super::{Api, MESSAGE_OVERHEAD_BYTES};
use crate::access::operation_of_call;
use crate::connections::{Answer, Connection, Holding, InProgress, Peeked, Stream, Turn};
use crate::domain::error::{Error, Reason};
use crate::service::work::Unsent;

impl Connected for Stream {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection().clone()
    }
}

/// Makes [`Calls`] of a service.
#[derive(Clone, Debug)]
pub(super) struct CallsLayer(pub(super) Api);

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, api: self.0.clone() }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Calls<S> {
    inner: S,
    api: Api,
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = span_of(&request);
        let (time, method) = (time_of(request.headers()), counted_method(request.uri().path()));
        let mut answering = span.in_scope(|| self.answer(request));
        if let Some(time) = time {
            answering = self.in_time(time, method, answering);
        }
        if span.is_disabled() {
            return answering;
        }
        let recorded = async move {
            let answer = answering.await;
            if let Ok(answer) = &answer {
                record_answer(&Span::current(), answer);
            }
            answer
        };
        recorded.instrument(span).boxed()
    }
}

impl<S> Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
{
    /// The answer to a call, or the status that says that there is none after this time.
    fn in_time(
        &self,
        time: Duration,
        method: Option<&'static str>,
        answering: BoxFuture<'static, Result<Response<Body>, S::Error>>,
    ) -> BoxFuture<'static, Result<Response<Body>, S::Error>> {
        // The time runs from here, not from the first poll, so that it is over before tonic's.
        let answering = timeout(time, answering);
        let service = self.api.service.clone();
        async move {
            if let Ok(answer) = answering.await {
                return answer;
            }
            let status = deadline_passed();
            if let Some(method) = method {
                count(&service, method, status.code());
            }
            Ok(status.into_http())
        }
        .boxed()
    }

    fn answer(&mut self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, S::Error>> {
        let Some(connection) = request.extensions().get::<Connection>() else {
            return self.inner.call(request).boxed();
        };
        let (in_progress, arriving) = connection.begin();
        let is_operation = operation_of_call(request.uri().path()).is_some();
        let method = counted_method(request.uri().path());
        let call = method.map(|method| Call { service: self.api.service.clone(), method });
        let turn = match turn_of(connection, request.uri().path()) {
            Ok(turn) => turn,
            Err(error) => {
                let answer = refused(&error).into_http::<Body>();
                return async move { Ok(keep(answer, in_progress, Turn::default(), None).await) }.boxed();
            }
        };
        // Health and reflection need no token, and may last: their connection may give way until they are answered.
        let gives_way = (!is_operation).then(|| in_progress.exchange().wait());
        let (takes, arrival) = (Takes::of(request.uri().path()), self.api.bodies.arrival());
        let request = request.map(|body| Body::new(Messages::new(body, takes, arrival, arriving)));
        if is_large(request.uri().path()) {
            let next = self.inner.clone();
            let ready = std::mem::replace(&mut self.inner, next);
            return answer_in_turn(ready, request, in_progress, call).boxed();
        }
        let answering = self.inner.call(request);
        async move {
            let answer = keep(answering.await?, in_progress, turn, call).await;
            Ok(answer.map(|body| Body::new(Holding::new(body, gives_way))))
        }
        .boxed()
    }
}

/// A call of a method that is counted.
struct Call {
    service: crate::service::Service,
    method: &'static str,
}

/// The turn of a call that does not wait for one. Errors: `StoreUnavailable` for a call of reflection, if there are too
/// many of them.
fn turn_of(connection: &Connection, path: &str) -> Result<Turn, Error> {
    if path.starts_with("/grpc.reflection.") { connection.open_turn() } else { Ok(Turn::default()) }
}

/// Whether the answer to a call can have a payload or a page of webhooks.
fn is_large(path: &str) -> bool {
    let method = path.strip_prefix('/').and_then(|call| call.strip_prefix(SERVICE_NAME));
    matches!(method, Some("/GetWebhook" | "/ListWebhooks"))
}

/// Answers a call whose answer may be large. It waits for its turn once its message has arrived.
async fn answer_in_turn<S>(
    mut inner: S,
    request: Request<Body>,
    in_progress: InProgress,
    call: Option<Call>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let (head, body) = request.into_parts();
    let waiting = async {
        let message = message_of(body).await?;
        let turn = in_progress.exchange().turn().await.map_err(|error| refused(&error))?;
        Ok::<_, Status>((message, turn))
    };
    let (message, turn) = match waiting.await {
        Ok(ready) => ready,
        Err(status) => {
            let uncounted = Uncounted(status.code());
            let mut answer = status.into_http::<Body>();
            answer.extensions_mut().insert(uncounted);
            return Ok(keep(answer, in_progress, Turn::default(), call).await);
        }
    };
    let answering = inner.call(Request::from_parts(head, message));
    Ok(keep(answering.await?, in_progress, turn, call).await)
}

/// The message of a call, which names webhooks and has no payload.
async fn message_of(body: Body) -> Result<Body, Status> {
    match Limited::new(body, MESSAGE_OVERHEAD_BYTES).collect().await {
        Ok(message) => Ok(Body::new(message)),
        Err(error) => Err(error.downcast::<Status>().map_or_else(
            |_| {
                let detail = "the message is too large; send a smaller one";
                refused(&Error::new(Reason::BodyTooLarge, detail))
            },
            |status| if status.code() == Code::Unknown { cut_off() } else { *status },
        )),
    }
}

/// The answer, with its memory, until it is written. If there is no memory for it, the status that says so; jobs that were
/// leased for it are given back then. Counts the call if it was not counted yet.
async fn keep(
    mut answer: Response<Body>,
    in_progress: InProgress,
    turn: Turn,
    call: Option<Call>,
) -> Response<Body> {
    let uncounted = answer.extensions_mut().remove::<Uncounted>();
    // Dropped if the caller goes away during the wait.
    let unsent = answer.extensions_mut().remove::<Arc<Unsent>>().and_then(Arc::into_inner);
    let unsent = unsent.unwrap_or_default();
    let answer = answer.map(Peeked::new);
    let bytes = answer.body().size_hint().lower();
    let (answer, refused_with) = match in_progress.connection().room(bytes, turn).await {
        Ok(room) => {
            unsent.sent();
            (answer.map(|body| Body::new(Answer::new(body, in_progress, Arc::new(room)))), None)
        }
        Err(error) => {
            unsent.give_back().await;
            let status = refused(&error);
            let (code, answer) = (status.code(), status.into_http::<Body>());
            (answer.map(|body| Body::new(Answer::new(body, in_progress, Arc::default()))), Some(code))
        }
    };
    if let (Some(Call { service, method }), Some(Uncounted(code))) = (call, uncounted) {
        count(&service, method, refused_with.unwrap_or(code));
    }
    answer
}

fn refused(error: &Error) -> Status {
    status(error, &trace_id_of(None))
}
