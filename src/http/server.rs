//! Serves the router on a listener until the shutdown, with limits on slow clients.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::access::Client;
use super::browsers::ConnectedTo;
use super::lingering::Lingering;
use crate::connections::{
    Answer, AnswerRoom, CONNECTION_WINDOW_BYTES, Connection, Connections, Holding, STREAM_WINDOW_BYTES,
};
use crate::domain::host::Scheme;
use crate::tls::PortTls;

/// How long a request's headers may take to arrive; also closes idle connections.
const HEADER_TIME: Duration = Duration::from_secs(60);

/// The most bytes of a request's line and headers, and of what is read at once of a body.
const HEAD_BYTES: usize = 64 * 1024;

/// How long an HTTP/2 connection may be silent before the server sends a ping, and how long the client may
/// take to answer it.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The most requests of an HTTP/2 connection at once.
const MAX_STREAMS: u32 = 200;

/// How long open requests may take to finish at shutdown; after that they are cut off.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Accepts connections until `stopping` is cancelled, then gives open requests `DRAIN_TIME` to finish. Connections without
/// a request have to be closed meanwhile ([`Connections::close_idle`]).
pub async fn serve(
    listener: TcpListener,
    tls: Option<PortTls>,
    connections: Connections,
    router: Router,
    stopping: Arc<CancellationToken>,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEAD_BYTES);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS);
    let open = GracefulShutdown::new();
    let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
    loop {
        let stream = tokio::select! {
            stream = connections.accept(&listener) => stream,
            () = stopping.cancelled() => break,
        };
        let (router, connection) = (router.clone(), stream.connection().clone());
        let (until, connected_to) = (stopping.clone(), stream.local_address().map(ConnectedTo));
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(connected_to) = connected_to {
                request.extensions_mut().insert(connected_to);
            }
            request.extensions_mut().insert(scheme);
            answer(router.clone(), &connection, &until, request)
        });
        let (server, watcher) = (server.clone(), open.watcher());
        let (tls, stopping) = (tls.clone(), stopping.clone());
        tokio::spawn(async move {
            let stream = match stopping.run_until_cancelled(stream.secured(tls.as_ref())).await {
                Some(Ok(stream)) => stream,
                Some(Err(error)) => {
                    tracing::debug!(error = %error, "a connection ended before its first request");
                    return;
                }
                None => return,
            };
            let serving = watcher.watch(server.serve_connection(TokioIo::new(stream), service).into_owned());
            if let Err(error) = serving.await {
                tracing::debug!(error = %error, "a connection ended with an error");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME, open.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut off");
    }
}

/// Answers a request. The connection counts as busy until the response is written.
fn answer(
    router: Router,
    connection: &Connection,
    stopping: &Arc<CancellationToken>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
    let is_http1 = request.version() < Version::HTTP_2;
    if is_http1 {
        connection.speaks_http1();
    }
    let (in_progress, arriving) = connection.begin();
    request.extensions_mut().insert(Client(connection.client()));
    request.extensions_mut().insert(in_progress.exchange().clone());
    // The body of the request lives until it has arrived, or is not needed.
    let request = request.map(|body| {
        let (body, stopping) = (Holding::new(body, arriving), Arc::clone(stopping));
        Body::new(if is_http1 {
            Lingering::over_http1(body, stopping)
        } else {
            Lingering::over_http2(body, in_progress.exchange().clone(), stopping)
        })
    });
    async move {
        let Ok(mut response) = router.oneshot(request).await;
        let room = response.extensions_mut().remove::<Arc<AnswerRoom>>().unwrap_or_default();
        Ok(response.map(|body| Body::new(Answer::new(body, in_progress, room))))
    }
}
