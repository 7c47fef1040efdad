//! Due times move in parts, and something happens between two of them.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use jiff::SignedDuration;

use super::shop::{DELAY, HOUR, Shop};
use crate::domain::clock::Clock as _;
use crate::store::sqlite::Export;
use crate::store::sqlite::time_of_day::TimeOfDay;
use crate::store::{JobQueue as _, Store as _};

#[tokio::test]
async fn a_crash_between_two_parts_moves_no_job_twice_and_leaves_none_out() {
    let steps = [SignedDuration::ZERO, HOUR];
    for (order, step) in steps.into_iter().flat_map(|step| [(None, step), (Some("a"), step)]) {
        let shop = Shop::new().await;
        let mut ids = Vec::new();
        for (key, order) in [("1", order), ("2", None), ("3", None)] {
            ids.push(shop.accept(key, order).await);
        }
        shop.fail(shop.claim().await, HOUR * 5).await;
        // The first three were changed longer ago than the step back.
        shop.clock.advance(HOUR * 2);
        for key in ["4", "5"] {
            ids.push(shop.accept(key, None).await);
        }
        shop.fail(shop.claim().await, HOUR * 5).await;
        shop.go_back(HOUR).await;
        assert!(shop.move_some().await, "three jobs are left");
        assert_eq!(
            shop.due_in(&ids).await,
            [4, 4, 4, 5, 5].map(SignedDuration::from_hours),
            "the newest move first"
        );

        let shop = shop.crash_and_set_clock_by(-step).await;
        assert_eq!(shop.due_in(&ids).await, [3, 3, 3, 5, 5].map(SignedDuration::from_hours));
        assert_eq!(shop.next().await, Some(shop.clock.now() + HOUR * 3));
        shop.store.close().await;
    }
}

#[tokio::test]
async fn jobs_that_change_between_two_parts_are_due_by_the_new_time() {
    for order in [None, Some("a")] {
        let (shop, old, running) = Shop::with_one_running_and_two_retrying(order).await;
        shop.go_back(HOUR).await;
        assert!(shop.move_some().await, "the running job is left");
        shop.fail(running, DELAY).await;
        let new = shop.accept("new", None).await;
        let ids = shop.claim().await.into_iter().map(|job| job.lease.job.webhook).collect::<Vec<_>>();
        assert_eq!(ids, [new], "jobs start between two parts");

        assert!(!shop.move_some().await, "that was the rest");
        assert_eq!(shop.due_in(&[old]).await, [DELAY]);
        assert_eq!(shop.next().await, Some(shop.clock.now() + DELAY), "a retry keeps its delay");
        shop.store.close().await;
    }
}

#[tokio::test]
async fn a_retry_keeps_its_delay_if_the_walk_takes_longer_than_the_step() {
    let step = SignedDuration::from_secs(10);
    for order in [None, Some("a")] {
        let (shop, old, running) = Shop::with_one_running_and_two_retrying(order).await;
        shop.go_back(step).await;
        assert!(shop.move_some().await, "the running job is left");
        shop.clock.advance(step * 6);
        shop.fail(running, DELAY).await;
        assert!(!shop.move_some().await, "that was the rest");
        assert_eq!(shop.due_in(&[old]).await, [DELAY]);
        assert_eq!(shop.next().await, Some(shop.clock.now() + DELAY));
        shop.store.close().await;
    }
}

#[tokio::test]
async fn all_jobs_follow_a_clock_that_is_set_back_again_between_two_parts() {
    for order in [None, Some("a")] {
        let (shop, old, running) = Shop::with_one_running_and_two_retrying(order).await;
        shop.go_back(HOUR).await;
        assert!(shop.move_some().await, "the running job is left");
        shop.go_back(HOUR).await;
        shop.fail(running, DELAY).await;
        let new = shop.accept("new", None).await;
        shop.fail(shop.claim().await, DELAY).await;
        while shop.move_some().await {}
        assert_eq!(shop.due_in(&[old, new]).await, [DELAY, DELAY]);
        assert_eq!(shop.next().await, Some(shop.clock.now() + DELAY));
        shop.store.close().await;
    }
}

#[tokio::test]
async fn leases_follow_a_clock_that_is_set_back_again_between_two_parts() {
    let (shop, ..) = Shop::with_one_running_and_two_retrying(None).await;
    shop.go_back(HOUR).await;
    assert!(shop.move_some().await, "the running job is left");
    shop.go_back(HOUR).await;
    shop.clock.advance(SignedDuration::from_secs(29));
    assert_eq!(shop.store.take_over_expired(Vec::new()).await.expect("looks"), 0, "it is held");
    shop.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(shop.store.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    shop.store.close().await;
}

#[tokio::test]
async fn finished_jobs_are_left_out_if_few_jobs_wait() {
    let shop = Shop::new().await;
    let old = shop.accept("old", None).await;
    shop.fail(shop.claim().await, DELAY).await;
    for key in ["1", "2", "3", "4", "5", "6"] {
        shop.accept(key, None).await;
    }
    shop.complete(shop.claim().await).await;
    shop.go_back(HOUR).await;
    assert!(shop.move_some().await, "only looks at finished jobs");
    assert!(!shop.move_some().await, "goes on at the waiting job");
    assert_eq!(shop.due_in(&[old]).await, [DELAY]);

    shop.clock.advance(DELAY);
    shop.complete(shop.claim().await).await;
    shop.go_back(HOUR).await;
    assert!(!shop.move_some().await, "no job waits");
    shop.store.close().await;
}

#[tokio::test]
async fn a_transfer_moves_the_jobs_that_are_left_before_it_reads_any() {
    let (shop, ..) = Shop::with_one_running_and_two_retrying(None).await;
    shop.go_back(HOUR).await;
    let Shop { store, clock, folder } = shop;
    assert!(store.committed.is_moving());
    store.close().await;
    drop(store);

    let path = folder.path().join("inbox.db");
    let export = Export::open(&path, clock).await.expect("opens");
    let mut reader = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
    assert!(!TimeOfDay::load(&mut reader).expect("reads").is_moving());
    export.close().await;
}
