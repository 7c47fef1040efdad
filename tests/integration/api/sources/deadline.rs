//! A sender that waits for a short time is answered in it.

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::Method;

use super::{SHOP, keys, metric, send, sign, signed_with};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Sqlite, eventually};

/// No other sleep of hookbox is as long.
const DEADLINE: Duration = Duration::from_millis(7_777);

#[tokio::test]
async fn a_webhook_that_is_not_stored_by_the_deadline_is_answered_in_time_and_stored_later() {
    for (answer, status) in [("", 503), ("answer = { overload = 429 }\n", 429)] {
        let hookbox = Hookbox::with_routes(Sqlite, &format!("{SHOP}deadline = \"7777ms\"\n{answer}"));
        assert_eq!(send(&hookbox.rest, "evt-000", "{}").await.status, 202, "the store is fast enough");
        let lock = hookbox.lock_store();
        let sent = tokio::spawn(Answer::of(signed_with(&hookbox.rest, "s3cret", "evt-001", "{}")));
        eventually("a request that waits", || async {
            (hookbox.clock.sleepers_for(DEADLINE) == 1).then_some(())
        })
        .await;
        hookbox.advance(SignedDuration::from_millis(7_776));
        assert!(!sent.is_finished(), "there is a millisecond left");
        hookbox.advance(SignedDuration::from_millis(1));
        let late = sent.await.unwrap();
        let problem = late.problem(status, "STORE_UNAVAILABLE");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("7.777s") && detail.contains("may be stored later"), "{detail}");
        assert_eq!(late.header("retry-after"), "1");

        drop(lock);
        eventually("the webhook being stored", || async {
            (keys(&hookbox.rest, "shop").await == ["evt-000", "evt-001"]).then_some(())
        })
        .await;
        let sample = r#"hookbox_submissions_total{source="shop",outcome="accepted"}"#;
        eventually("the webhook being counted", || async {
            (metric(&hookbox.rest, sample).await == Some(2.0)).then_some(())
        })
        .await;
        assert_eq!(send(&hookbox.rest, "evt-001", "{}").await.status, 200, "it is known");
    }
}

#[tokio::test]
async fn a_batch_that_is_not_stored_by_the_deadline_is_stored_whole() {
    let batches = SHOP.replace("header = \"X-Id\"", "json = \"\"");
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{batches}split = \"\"\ndeadline = \"7777ms\"\n"));
    assert_eq!(keys(&hookbox.rest, "shop").await, [""; 0], "the store is open");
    let lock = hookbox.lock_store();
    let request = super::request(&hookbox.rest, Method::POST, "shop").body("[1,2]");
    let sent = tokio::spawn(Answer::of(request.header("X-Signature", sign("s3cret", b"[1,2]"))));
    eventually("a request that waits", || async {
        (hookbox.clock.sleepers_for(DEADLINE) == 1).then_some(())
    })
    .await;
    hookbox.advance(SignedDuration::from_millis(7_777));
    sent.await.unwrap().problem(503, "STORE_UNAVAILABLE");
    drop(lock);
    eventually("the batch being stored", || async {
        (keys(&hookbox.rest, "shop").await == ["1", "2"]).then_some(())
    })
    .await;
}
