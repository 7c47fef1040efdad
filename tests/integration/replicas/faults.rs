//! What can befall the server, or the way to it, under load: requests are answered with 503
//! meanwhile, and all goes on by itself.

mod backends;
mod locked;
mod silence;
mod stopped;
mod unanswered;

use crate::support::server::{Place, Server};

/// Starts a replica whose handlers are quick. A claim that is made only after it was given up takes until
/// its lease expires, so that is short.
pub(crate) async fn replica(url: &str) -> (Place, Server) {
    let place = Place::new(&[
        &format!("--database-url={url}"),
        "--lease=2s",
        "--shutdown-grace=1s",
        "--workers=16",
        "--simulate-min=0s",
        "--simulate-max=50ms",
        // Attempts are interrupted again and again; none shall be the last one allowed.
        "--max-attempts=1000",
    ]);
    // Elsewhere, for other scenarios go on meanwhile.
    let started = tokio::task::spawn_blocking(move || {
        let server = place.start();
        (place, server)
    });
    started.await.expect("starts")
}
