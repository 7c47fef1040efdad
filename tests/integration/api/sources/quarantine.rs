//! A source with `unverified = "quarantine"` stores what is not verified, and runs nothing of it.

use rstest::rstest;
use serde_json::{Value, json};

use super::{SHOP, keys, metric, post, requests, send, signed_with, stored};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const QUARANTINE: &str = "unverified = \"quarantine\"\n";

#[rstest]
#[tokio::test]
async fn what_is_not_verified_is_stored_without_a_job_and_does_not_take_its_key(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, QUARANTINE].concat());
    let rest = &hookbox.rest;
    let forged = Answer::of(signed_with(rest, "other", "evt-001", r#"{"total":1}"#)).await;
    assert_eq!((forged.status, forged.text_of("status")), (202, "quarantined".to_owned()));
    let webhook = rest.webhook(&forged.text_of("id")).await;
    assert_eq!(
        (&webhook["status"], &webhook["verdict"], &webhook["cause"], &webhook["jobs"]),
        (&json!("quarantined"), &json!("unverified"), &json!("signature_mismatch"), &json!([]))
    );
    assert_eq!(super::header(&webhook, "x-signature"), ["***"]);

    let genuine = send(rest, "evt-001", r#"{"total":2}"#).await;
    assert_eq!(genuine.status, 202, "{}", genuine.text);
    hookbox.wait_for(&genuine.text_of("id"), "completed").await;
    let payloads = hookbox.handler.runs().into_iter().map(|run| run.payload).collect::<Vec<_>>();
    assert_eq!(payloads, [r#"{"total":2}"#], "nothing ran of the forged one");
    assert_eq!(keys(rest, "shop").await, ["evt-001", "evt-001"]);
    let quarantined = rest.get("/v1/webhooks?status=quarantined").await.json();
    assert_eq!(quarantined["webhooks"].as_array().map(Vec::len), Some(1));

    for (sample, count) in [
        (requests("shop", "unverified", "signature_mismatch"), 1.0),
        (requests("shop", "verified", ""), 1.0),
        (r#"hookbox_quarantine_total{source="shop",action="stored"}"#.to_owned(), 1.0),
        (r#"hookbox_submissions_total{source="shop",outcome="accepted"}"#.to_owned(), 1.0),
    ] {
        assert_eq!(metric(rest, &sample).await, Some(count), "{sample}");
    }
}

#[rstest]
#[tokio::test]
async fn every_item_of_a_batch_is_quarantined(#[values(Sqlite, Postgres)] store: Store) {
    let batches = SHOP.replace("header = \"X-Id\"", "json = \"\"");
    let hookbox = Hookbox::with_routes(store, &format!("{batches}split = \"\"\n{QUARANTINE}"));
    let answer = Answer::of(post(&hookbox.rest, "shop", "[1,2]")).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(2)), "{}", answer.text);
    for webhook in stored(&hookbox.rest, "shop").await {
        assert_eq!(webhook["status"], "quarantined");
    }
}

#[tokio::test]
async fn an_empty_batch_is_refused_if_it_is_not_verified() {
    let batches = SHOP.replace("header = \"X-Id\"", "json = \"\"");
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{batches}split = \"\"\n{QUARANTINE}"));
    let forged = Answer::of(signed_with(&hookbox.rest, "other", "", "[]")).await;
    assert_eq!(forged.problem(401, "NOT_VERIFIED")["cause"], "signature_mismatch");
    let sample = requests("shop", "unverified", "signature_mismatch");
    assert_eq!(metric(&hookbox.rest, &sample).await, Some(1.0));
    assert_eq!(send(&hookbox.rest, "", "[]").await.status, 200);
}

#[rstest]
#[tokio::test]
async fn what_can_neither_be_verified_nor_read_is_refused(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, QUARANTINE].concat());
    let without_key = Answer::of(post(&hookbox.rest, "shop", "{}")).await;
    assert_eq!(without_key.problem(401, "NOT_VERIFIED")["cause"], "signature_missing");
    assert_eq!(stored(&hookbox.rest, "shop").await, Vec::<Value>::new());
}
