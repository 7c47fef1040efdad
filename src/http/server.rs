//! Serves the router on a listener until the shutdown, with limits on slow clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long a request's headers may take to arrive; also closes idle connections.
const HEADER_TIME: Duration = Duration::from_secs(60);

/// How long an HTTP/2 connection may be silent before the server sends a ping, and how long the client may
/// take to answer it.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The most connections at once. Further connections are closed, so that file descriptors are left for the
/// store.
const MAX_CONNECTIONS: usize = 10_000;

/// How long open requests may take to finish at shutdown; after that they are cut off.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How long to wait after a connection could not be accepted, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until `stopping` is cancelled, then gives open requests `DRAIN_TIME` to finish.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Responses are small and written at once; if this fails, they only arrive later.
        let _ = stream.set_nodelay(true);
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(connections = MAX_CONNECTIONS, "connection limit reached; closing the connection");
            continue;
        };
        let asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&asked);
        let service =
            TowerToHyperService::new(router.clone().map_request(move |request: Request<Incoming>| {
                asks.store(true, Ordering::Relaxed);
                request
            }));
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(error = %error, "a connection ended with an error");
                    }
                }
                () = silence(&asked) => tracing::debug!("closed a connection that sent no request"),
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut off");
    }
}

/// Ready if the connection has sent no request within [`HEADER_TIME`]. hyper's own limit on headers begins
/// only once the client has sent enough to tell HTTP/1 from HTTP/2.
async fn silence(asked: &AtomicBool) {
    tokio::time::sleep(HEADER_TIME).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
