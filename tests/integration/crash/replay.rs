//! SIGKILL in the middle of a replay, again and again.

use crate::support::replay::{WEBHOOKS, is_under_way, reckon, start};
use crate::support::server::Place;

const KILLS: usize = 3;

/// The jobs after which the process is killed again. Few, so that much of the replay is left after the last kill.
const JOBS: usize = WEBHOOKS / 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_on_after_each_kill_and_restarts_every_job_once() {
    let place = Place::new(&[
        "--simulate-min=0s",
        "--simulate-max=20ms",
        "--workers=8",
        // Every kill interrupts attempts; none shall be the last one allowed.
        "--max-attempts=1000",
    ]);
    let mut server = place.start();
    start(&server).await;
    for kill in 1..=KILLS {
        is_under_way(&server, kill * JOBS).await;
        server.kill();
        server = place.start();
    }
    reckon(&server).await;
}
