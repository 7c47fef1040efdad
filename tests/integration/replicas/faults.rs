//! Failures of the server, or of the network to it, under load. During a failure, requests get 503; afterwards, the
//! replica recovers by itself.

mod backends;
mod locked;
mod silence;
mod stopped;
mod unanswered;

use crate::support::server::{Place, Server};

/// Starts a replica with short handlers. The lease is short, too: a claim that is committed after the replica gave up
/// waiting for it delays its jobs until the lease expires.
pub(crate) async fn replica(url: &str) -> (Place, Server) {
    let place = Place::new(&[
        &format!("--database-url={url}"),
        "--lease=2s",
        "--shutdown-grace=1s",
        "--workers=16",
        "--simulate-min=0s",
        "--simulate-max=50ms",
        // Attempts are interrupted repeatedly. The limit is high so that no job runs out of attempts.
        "--max-attempts=1000",
    ]);
    // On another thread, so that concurrent scenarios are not blocked.
    let started = tokio::task::spawn_blocking(move || {
        let server = place.start();
        (place, server)
    });
    started.await.expect("starts")
}
