//! Serves the router on a listener, with limits on slow clients, until it is told to stop.

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

/// How long an HTTP/2 peer may be silent before it is asked whether it is alive, and to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Connections at once. More are closed, so that the store never lacks a file descriptor for them.
const MAX_CONNECTIONS: usize = 10_000;

/// How long open requests may take after the stop.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until `stopping`, then lets open requests finish.
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
        // Answers are small and written whole; a failure only costs latency.
        let _ = stream.set_nodelay(true);
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(connections = MAX_CONNECTIONS, "a connection was closed; too many are open");
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
                () = silence(&asked) => tracing::debug!("a connection that asked for nothing was closed"),
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut off");
    }
}

/// Ready if nothing was asked for in time: the limit on headers begins only once a connection
/// has shown which HTTP it speaks.
async fn silence(asked: &AtomicBool) {
    tokio::time::sleep(HEADER_TIME).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
