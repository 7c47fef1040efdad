//! The clock was set back while no process had the file.

mod parts;
mod shop;
mod unanswered;

use std::sync::Arc;

use jiff::SignedDuration;

use self::shop::{DAY, DELAY, HOUR, Shop};
use crate::domain::clock::Clock as _;
use crate::domain::handler::HandlerSettings;
use crate::domain::policy::Policy;
use crate::store::sqlite::fixture::{claim, job, open_in, policy, webhook};
use crate::store::{Claim, Inbox as _, JobQueue as _, Store as _, Wanted};

#[tokio::test]
async fn after_a_restart_no_job_waits_for_a_clock_that_was_ahead() {
    let shop = Shop::new().await;
    shop.clock.set_by(HOUR);
    for (key, order) in [("1", None), ("2", Some("a")), ("3", Some("a"))] {
        shop.accept(key, order).await;
    }
    let shop = shop.stop_and_set_clock_by(-HOUR).await;
    let jobs = shop.claim().await;
    let keys = jobs.iter().map(|job| job.idempotency_key.as_str()).collect::<Vec<_>>();
    assert_eq!(keys, ["1", "2"], "the third waits for the second, whose order value it has");
    shop.store.close().await;
}

#[tokio::test]
async fn after_a_restart_a_retry_waits_for_what_was_left_of_its_delay() {
    // Shorter and longer than the steps back. The last change is less long ago than the step, or longer.
    for (delay, passed) in [(DELAY, DELAY / 2), (HOUR * 5, HOUR * 2), (DAY * 3, DAY * 2)] {
        for (step, order) in [(HOUR, None), (HOUR, Some("a")), (DAY, None), (DAY, Some("a"))] {
            let shop = Shop::new().await;
            shop.accept("1", order).await;
            shop.fail(shop.claim().await, delay).await;
            shop.clock.advance(passed);
            let shop = shop.stop_and_set_clock_by(-step).await;
            let due = shop.clock.now() + (delay - passed);
            assert_eq!(shop.next().await, Some(due), "{delay:?}, {step:?}, {order:?}");
            let shop = shop.stop_and_set_clock_by(SignedDuration::ZERO).await;
            assert_eq!(shop.next().await, Some(due), "{delay:?}, {step:?}, {order:?}");
            shop.clock.advance(delay - passed);
            assert_eq!(shop.claim().await.len(), 1, "{delay:?}, {step:?}, {order:?}");
            shop.store.close().await;
        }
    }
}

#[tokio::test]
async fn after_a_crash_a_retry_waits_for_no_more_than_its_delay() {
    for step in [HOUR, DAY] {
        let shop = Shop::new().await;
        shop.accept("1", None).await;
        shop.fail(shop.claim().await, DELAY).await;
        shop.clock.advance(DELAY / 2);
        let shop = shop.crash_and_set_clock_by(-step).await;
        assert_eq!(shop.next().await, Some(shop.clock.now() + DELAY));
        shop.store.close().await;
    }
}

#[tokio::test]
async fn after_a_restart_the_lease_of_a_pulled_job_lasts_no_longer_than_it_was_to() {
    let Shop { store, clock, folder } = Shop::new().await;
    store.close().await;
    drop(store);
    let pulled = || Policy { handler: HandlerSettings::Pull, ..policy("orders") };
    let store = open_in(&folder, [pulled()], Arc::clone(&clock) as _).await;
    store.accept(webhook("1"), vec![job("orders", None)]).await.expect("accepted");
    let wanted = Wanted::Pulled([pulled().route].into());
    let pulling = Claim { wanted, ..claim(1) };
    let lease = SignedDuration::try_from(pulling.lease).expect("in range");
    assert_eq!(store.claim(pulling).await.expect("claims").jobs.len(), 1);
    store.close().await;
    drop(store);
    clock.set_by(-HOUR);
    let store = open_in(&folder, [pulled()], Arc::clone(&clock) as _).await;
    clock.advance(lease - SignedDuration::from_secs(1));
    assert_eq!(store.take_over_expired(Vec::new()).await.expect("looks"), 0, "it is held");
    clock.advance(SignedDuration::from_secs(1));
    assert_eq!(store.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    store.close().await;
}

#[tokio::test]
async fn a_restart_does_not_move_retries_that_were_moved_before_the_stop() {
    let shop = Shop::new().await;
    shop.accept("1", None).await;
    shop.fail(shop.claim().await, DELAY).await;
    shop.clock.set_by(-HOUR);
    shop.store.follow_clock().await.expect("follows");
    let shop = shop.stop_and_set_clock_by(SignedDuration::ZERO).await;
    assert_eq!(shop.next().await, Some(shop.clock.now() + DELAY));
    shop.store.close().await;
}
