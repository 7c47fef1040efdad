//! What happens over a limit: the answer says when to try again, and other clients are not affected.

use jiff::SignedDuration;
use rstest::rstest;

use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

#[rstest]
#[tokio::test]
async fn over_the_rate_limit_it_is_429_with_the_time_to_come_again(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("rate_limit", "3/m")]);
    let submit = async |key| hookbox.rest.submit(key, "t", "1").await;
    for (key, left) in [("a", "2"), ("b", "1"), ("c", "0")] {
        let answer = submit(key).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(answer.header("ratelimit-policy"), r#""default";q=3;w=60"#);
        assert_eq!(answer.header("ratelimit"), format!(r#""default";r={left};t=20"#));
    }
    let refused = submit("d").await;
    let problem = refused.problem(429, "RATE_LIMITED");
    assert!(problem["detail"].as_str().unwrap().contains("3 webhooks in 60 seconds"), "{problem}");
    assert_eq!(refused.header("retry-after"), "20");
    assert_eq!(refused.header("ratelimit"), r#""default";r=0;t=20"#);
    assert_eq!(refused.header("ratelimit-policy"), r#""default";q=3;w=60"#);
    hookbox.rest.get("/v1/status?idempotency_key=d").await.problem(404, "WEBHOOK_NOT_FOUND");
}

#[rstest]
#[tokio::test]
async fn the_rate_limit_refills_evenly_with_time(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("rate_limit", "3/m")]);
    let submit = async |number: u32| hookbox.rest.submit(&format!("evt-{number}"), "t", "1").await.status;
    assert_eq!([submit(1).await, submit(2).await, submit(3).await, submit(4).await], [202, 202, 202, 429]);
    hookbox.advance(SignedDuration::from_millis(19_999));
    assert_eq!(submit(5).await, 429);
    hookbox.advance(SignedDuration::from_millis(1));
    assert_eq!([submit(6).await, submit(7).await], [202, 429]);
    hookbox.advance(SignedDuration::from_mins(5));
    let after_a_while = [submit(8).await, submit(9).await, submit(10).await, submit(11).await];
    assert_eq!(after_a_while, [202, 202, 202, 429], "no more than the quota at once");
}

#[rstest]
#[tokio::test]
async fn a_clock_that_is_set_back_does_not_change_the_rate_limit(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("rate_limit", "3/m")]);
    let submit = async |number: u32| hookbox.rest.submit(&format!("evt-{number}"), "t", "1").await.status;
    assert_eq!([submit(1).await, submit(2).await, submit(3).await, submit(4).await], [202, 202, 202, 429]);
    hookbox.set_clock_by(-SignedDuration::from_hours(1));
    assert_eq!(submit(5).await, 429);
    hookbox.advance(SignedDuration::from_secs(20));
    assert_eq!([submit(6).await, submit(7).await], [202, 429]);
}

#[rstest]
#[tokio::test]
async fn looking_is_never_limited(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("rate_limit", "1/h")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.rest.submit("evt-002", "t", "1").await.problem(429, "RATE_LIMITED");
    for path in [
        "/v1/status?idempotency_key=evt-001",
        &format!("/v1/webhooks/{id}"),
        "/v1/webhooks",
        "/v1/stats",
        "/v1/routes",
        "/v1/sources",
        "/v1/pauses",
        "/healthz",
        "/readyz",
        "/metrics",
    ] {
        for _ in 0..3 {
            let answer = hookbox.rest.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            assert_eq!(answer.header("ratelimit"), "");
        }
    }
}

#[rstest]
#[tokio::test]
async fn without_a_rate_limit_there_are_no_headers_about_one(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let answer = hookbox.rest.submit("evt-001", "t", "1").await;
    assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), ("", ""));
}

#[rstest]
#[tokio::test]
async fn a_full_backlog_is_503_but_duplicates_are_answered(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("max_backlog", "2")]);
    let (one, two) = (hookbox.handler.will_hold(), hookbox.handler.will_hold());
    let first = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&first, "processing").await;
    hookbox.rest.accept("evt-002").await;

    let refused = hookbox.rest.submit("evt-003", "order.created", "{}").await;
    refused.problem(503, "BACKLOG_FULL");
    assert_eq!(refused.header("retry-after"), "5");
    let duplicate = hookbox.rest.submit("evt-001", "order.created", "{}").await;
    assert_eq!((duplicate.status, duplicate.json()["duplicate"] == true), (200, true));
    hookbox.rest.submit("evt-001", "order.created", "1").await.problem(422, "IDEMPOTENCY_KEY_REUSED");

    drop(one);
    hookbox.wait_for(&first, "completed").await;
    assert_eq!(hookbox.rest.submit("evt-003", "order.created", "{}").await.status, 202);
    drop(two);
}

#[rstest]
#[tokio::test]
async fn a_refused_request_leaves_its_connection_usable(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("max_body", "1KiB")]);
    for _ in 0..3 {
        let request = hookbox.rest.submission("x".repeat(10_000));
        Answer::of(request).await.problem(413, "BODY_TOO_LARGE");
        hookbox.rest.submit("", "t", "1").await.refused_field("idempotency_key");
    }
    assert_eq!(hookbox.rest.submit("evt-001", "t", "1").await.status, 202);
}
