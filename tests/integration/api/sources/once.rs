//! A signature of Mailgun, which covers neither the body nor the id, counts with one id only.

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{keys, metric, post, requests, sign};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, START, Sqlite, eventually};

const MAIL: &str = "[sources.mail]\npreset = \"mailgun\"\nsecrets = [\"s3cret\"]\n";

/// No other sleep of hookbox is as long.
const DEADLINE: Duration = Duration::from_millis(7_777);

/// An event of Mailgun with this token and this id.
fn event(rest: &Rest, token: &str, id: &str) -> RequestBuilder {
    post(rest, "mail", &signed(token, json!({ "event-data": { "id": id, "event": "delivered" } })))
}

/// A body with the signature of Mailgun for this token.
fn signed(token: &str, mut body: Value) -> String {
    let timestamp = START.parse::<jiff::Timestamp>().unwrap().as_second().to_string();
    let signature = sign("s3cret", format!("{timestamp}{token}").as_bytes());
    body["signature"] = json!({ "timestamp": timestamp, "token": token, "signature": signature });
    body.to_string()
}

#[tokio::test]
async fn another_event_with_the_same_signature_is_refused_and_a_retry_is_a_duplicate() {
    let hookbox = Hookbox::with_routes(Sqlite, MAIL);
    let rest = &hookbox.rest;
    assert_eq!(Answer::of(event(rest, "token-1", "a")).await.status, 200);
    for _ in 0..2 {
        let other = Answer::of(event(rest, "token-1", "b")).await;
        let problem = other.problem(401, "NOT_VERIFIED");
        assert_eq!(problem["cause"], "signature_mismatch", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("with another key before"), "{problem}");
        let retry = Answer::of(event(rest, "token-1", "a")).await;
        assert_eq!((retry.status, &retry.json()["duplicate"]), (200, &json!(true)), "{}", retry.text);
        assert_eq!(rest.post("/v1/settings/reload").await.status, 200);
    }
    assert_eq!(Answer::of(event(rest, "token-2", "b")).await.status, 200);
    assert_eq!(keys(rest, "mail").await, ["a", "b"]);
    assert_eq!(metric(rest, &requests("mail", "unverified", "signature_mismatch")).await, Some(2.0));
    assert_eq!(metric(rest, &requests("mail", "verified", "")).await, Some(4.0));
}

#[tokio::test]
async fn requests_with_the_signature_of_another_event_are_unverified_and_no_sign_of_the_sender() {
    let alerts = "[[routes]]\nname = \"alerts\"\nmatch = { source = \"hookbox\" }\nhandler = \"pull\"\n";
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{alerts}{MAIL}"));
    let rest = &hookbox.rest;
    assert_eq!(Answer::of(event(rest, "token-1", "a")).await.status, 200);
    hookbox.advance(SignedDuration::from_mins(1));
    for _ in 0..10 {
        Answer::of(event(rest, "token-1", "b")).await.problem(401, "NOT_VERIFIED");
    }
    let listed = rest.get("/v1/sources").await.json();
    let mail =
        listed["sources"].as_array().unwrap().iter().find(|source| source["source"] == "mail").unwrap();
    assert_eq!(mail["last_seen"], "2026-03-01T12:00:00.000Z", "when the sender itself has sent");
    eventually("an alert", || async {
        let alerts = keys(rest, "hookbox").await;
        alerts.iter().any(|key| key.starts_with("hookbox.verification_failing/mail/")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_not_stored_does_not_use_up_its_signature() {
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{MAIL}rate_limit = \"1/m\"\n"));
    let rest = &hookbox.rest;
    assert_eq!(Answer::of(event(rest, "token-1", "a")).await.status, 200);
    for (token, retried) in [("token-2", "b"), ("token-3", "c")] {
        Answer::of(event(rest, token, "b")).await.problem(503, "RATE_LIMITED");
        hookbox.advance(SignedDuration::from_mins(1));
        assert_eq!(Answer::of(event(rest, token, retried)).await.status, 200, "{token}");
    }
    // A refused copy does not use up the limit.
    hookbox.advance(SignedDuration::from_mins(1));
    Answer::of(event(rest, "token-3", "d")).await.problem(401, "NOT_VERIFIED");
    assert_eq!(Answer::of(event(rest, "token-4", "d")).await.status, 200);
    assert_eq!(keys(rest, "mail").await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn an_empty_batch_does_not_use_up_its_signature() {
    let batches = "split = \"/items\"\nkey = { json = \"/id\" }\n";
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{MAIL}{batches}"));
    let rest = &hookbox.rest;
    for items in [json!([]), json!([{ "id": "a" }]), json!([])] {
        let answer = Answer::of(post(rest, "mail", &signed("token-1", json!({ "items": items })))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let other = signed("token-1", json!({ "items": [{ "id": "b" }] }));
    Answer::of(post(rest, "mail", &other)).await.problem(401, "NOT_VERIFIED");
    assert_eq!(keys(rest, "mail").await, ["a"]);
}

#[tokio::test]
async fn a_request_that_may_be_stored_after_its_deadline_uses_up_its_signature() {
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{MAIL}deadline = \"7777ms\"\n"));
    let rest = &hookbox.rest;
    assert_eq!(keys(rest, "mail").await, [""; 0], "the store is open");
    let lock = hookbox.lock_store();
    let sent = tokio::spawn(Answer::of(event(rest, "token-1", "a")));
    eventually("a request that waits", || async {
        (hookbox.clock.sleepers_for(DEADLINE) == 1).then_some(())
    })
    .await;
    hookbox.advance(SignedDuration::from_millis(7_777));
    sent.await.unwrap().problem(503, "STORE_UNAVAILABLE");
    Answer::of(event(rest, "token-1", "b")).await.problem(401, "NOT_VERIFIED");
    drop(lock);
    eventually("the event being stored", || async { (keys(rest, "mail").await == ["a"]).then_some(()) })
        .await;
    let retry = Answer::of(event(rest, "token-1", "a")).await;
    assert_eq!((retry.status, &retry.json()["duplicate"]), (200, &json!(true)), "{}", retry.text);
}
