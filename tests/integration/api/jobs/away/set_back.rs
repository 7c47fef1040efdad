//! The time of day is set back by an hour. Nothing that a pool does at intervals waits for that hour.

use hookbox::internals::worker::Left;

use super::*;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_renewed_and_expired_ones_taken_over_as_before() {
    let mut setup = Setup::with_claims([Ok(vec![job()])]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    setup.clock.set_by(-HOUR);
    let set = setup.clock.now();
    for _ in 0..6 {
        assert_eq!(setup.asks_as_seconds_pass().await, Asked::TakeOver);
    }
    assert!(setup.clock.now().duration_since(set) < HOUR / 2);
    assert!(setup.store.renewals.load(Ordering::SeqCst) > 0);
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_claim_is_tried_again_after_a_second() {
    let mut setup = Setup::with_claims([away()]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    setup.sleeps_after_the_fault().await;
    setup.clock.set_by(-HOUR);
    setup.asks_nothing().await;
    setup.clock.advance(SignedDuration::from_secs(1));
    assert!(matches!(setup.asks().await, Asked::GiveBackUnheld { .. }));
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grace_of_a_shutdown_ends_as_before() {
    let mut setup = Setup::with_claims([Ok(vec![job()])]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    let grace = Duration::from_secs(20);
    let stopping = setup.pool.shutdown(grace);
    tokio::pin!(stopping);
    tokio::select! {
        _ = &mut stopping => panic!("the handler runs, and the grace is not over"),
        () = wait_for_sleepers(&setup.clock, 1, grace) => setup.clock.set_by(-HOUR),
    }
    setup.clock.advance(SignedDuration::from_secs(20));
    let left = tokio::time::timeout(SOON, stopping).await.expect("ends");
    assert_eq!(left, Left { running: 0, unrecorded: 0 }, "the handler was told to stop");
}
