//! What happens over a limit: each sender is told in the way that it understands.

use jiff::SignedDuration;
use rstest::rstest;

use super::{PULLED, SHOP, keys, metric, post, send, sign, signed_with};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

#[rstest]
#[tokio::test]
async fn the_rate_limit_of_a_source_wins_over_that_of_all(#[values(Sqlite, Postgres)] store: Store) {
    let settings = format!("rate_limit = \"1/m\"\n{SHOP}rate_limit = \"2/m\"\n");
    let hookbox = Hookbox::with_routes(store, &settings);
    for (key, left) in [("a", 1), ("b", 0)] {
        let answer = send(&hookbox.rest, key, "{}").await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(answer.header("ratelimit-policy"), r#""shop";q=2;w=60"#);
        assert_eq!(answer.header("ratelimit"), format!(r#""shop";r={left};t=30"#));
    }
    let refused = send(&hookbox.rest, "c", "{}").await;
    let problem = refused.problem(503, "RATE_LIMITED");
    assert!(problem["detail"].as_str().unwrap().contains("2 webhooks in 60 seconds"), "{problem}");
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), ("30", r#""shop";r=0;t=30"#));
    let sample = r#"hookbox_submissions_total{source="shop",outcome="RATE_LIMITED"}"#;
    assert_eq!(metric(&hookbox.rest, sample).await, Some(1.0));
    // Other sources have limits of their own.
    assert_eq!(hookbox.rest.submit("a", "t", "1").await.status, 202);
    hookbox.rest.submit("b", "t", "1").await.problem(429, "RATE_LIMITED");
    hookbox.advance(SignedDuration::from_secs(30));
    assert_eq!(send(&hookbox.rest, "c", "{}").await.status, 202);
    assert_eq!(keys(&hookbox.rest, "shop").await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_source_without_a_limit_of_its_own_has_that_of_all() {
    let hookbox = Hookbox::with_routes(Sqlite, &format!("rate_limit = \"1/m\"\n{SHOP}"));
    assert_eq!(send(&hookbox.rest, "a", "{}").await.status, 202);
    send(&hookbox.rest, "b", "{}").await.problem(503, "RATE_LIMITED");
}

#[rstest]
#[tokio::test]
async fn a_batch_counts_its_items(#[values(Sqlite, Postgres)] store: Store) {
    let batches = SHOP.replace("header = \"X-Id\"", "json = \"\"");
    let hookbox = Hookbox::with_routes(store, &format!("{batches}split = \"\"\nrate_limit = \"10/m\"\n"));
    let accepted = send(&hookbox.rest, "", "[1,2,3,4,5,6]").await;
    assert_eq!((accepted.status, accepted.header("ratelimit")), (202, r#""shop";r=4;t=6"#));
    let refused = send(&hookbox.rest, "", "[7,8,9,10,11]").await;
    let problem = refused.problem(503, "RATE_LIMITED");
    assert!(problem["detail"].as_str().unwrap().contains("has 4 left of its limit of 10"), "{problem}");
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), ("6", r#""shop";r=4;t=6"#));
    assert_eq!(keys(&hookbox.rest, "shop").await.len(), 6, "none of the second batch");
    assert_eq!(send(&hookbox.rest, "", "[7,8,9,10]").await.status, 202);
    hookbox.advance(SignedDuration::from_mins(1));
    let large = (100..150).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(
        send(&hookbox.rest, "", &format!("[{large}]")).await.status,
        202,
        "more than the limit, alone"
    );
    send(&hookbox.rest, "", "[12]").await.problem(503, "RATE_LIMITED");
}

#[rstest]
#[tokio::test]
async fn what_is_not_verified_does_not_use_up_the_limit(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &format!("{SHOP}rate_limit = \"1/m\"\n"));
    for _ in 0..3 {
        let forged = Answer::of(signed_with(&hookbox.rest, "other", "evt-001", "{}")).await;
        assert_eq!((forged.status, forged.header("ratelimit")), (401, ""));
    }
    assert_eq!(send(&hookbox.rest, "evt-001", "{}").await.status, 202);
}

#[rstest]
#[tokio::test]
async fn overload_is_told_by_the_status_that_the_sender_understands(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let late = r#"
        [sources.late]
        verify = { hmac = "sha256", header = "X-Signature" }
        secrets = ["s3cret"]
        key = "body"
        answer = { overload = 429 }
    "#;
    let settings = format!("max_backlog = 1\n{PULLED}{SHOP}{late}");
    let hookbox = Hookbox::with_routes(store, &settings);
    assert_eq!(send(&hookbox.rest, "evt-001", "{}").await.status, 202);
    let refused = send(&hookbox.rest, "evt-002", "{}").await;
    refused.problem(503, "BACKLOG_FULL");
    assert_eq!(refused.header("retry-after"), "5");
    let late = post(&hookbox.rest, "late", "{}").header("X-Signature", sign("s3cret", b"{}"));
    let refused = Answer::of(late).await;
    refused.problem(429, "BACKLOG_FULL");
    assert_eq!(refused.header("retry-after"), "5");
    let duplicate = send(&hookbox.rest, "evt-001", "{}").await;
    assert_eq!((duplicate.status, duplicate.json()["duplicate"] == true), (200, true));
}
