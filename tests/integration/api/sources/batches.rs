//! A request with several webhooks: all of them are stored, or none.

use rstest::rstest;
use serde_json::{Value, json};

use super::{PULLED, keys, metric, post, requests, sign, stored};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const ERP: &str = r#"
[sources.erp]
verify = { hmac = "sha256", header = "X-Signature" }
secrets = ["s3cret"]
split = "/items"
key = [{ outer = "/shop" }, { json = "/id" }]
event_type = { json = "/type" }
"#;

async fn send(rest: &Rest, body: &str) -> Answer {
    Answer::of(post(rest, "erp", body).header("X-Signature", sign("s3cret", body.as_bytes()))).await
}

fn ids(answer: &Answer) -> Vec<String> {
    let ids = answer.json()["ids"].as_array().unwrap().clone();
    ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[rstest]
#[tokio::test]
async fn each_item_is_a_webhook_with_its_exact_bytes(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ERP);
    let (one, two) = (r#"{ "id":"A-1","type":"order.paid", "total":1.10}"#, r#"{"id":"A-2"}"#);
    let answer = send(&hookbox.rest, &format!(r#"{{"shop":7,"items":[ {one} ,{two}]}}"#)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let ids = ids(&answer);
    assert_eq!(answer.json(), json!({ "accepted": 2, "duplicates": 0, "ids": ids }));
    for (id, (key, event_type, body)) in ids.iter().zip([("7:A-1", "order.paid", one), ("7:A-2", "erp", two)])
    {
        let webhook = hookbox.wait_for(id, "completed").await;
        assert_eq!((&webhook["idempotency_key"], &webhook["event_type"]), (&json!(key), &json!(event_type)));
        assert_eq!(
            (&webhook["verdict"], &webhook["content_type"]),
            (&json!("verified"), &json!("application/json"))
        );
        let text = hookbox.rest.get(&format!("/v1/webhooks/{id}")).await.text;
        assert!(text.contains(&format!(r#""payload":{body}"#)), "{text}");
        assert_eq!(super::header(&webhook, "x-signature"), ["***"]);
    }
    assert_eq!(metric(&hookbox.rest, &requests("erp", "verified", "")).await, Some(1.0));
    let accepted = r#"hookbox_submissions_total{source="erp",outcome="accepted"}"#;
    assert_eq!(metric(&hookbox.rest, accepted).await, Some(2.0));
}

#[rstest]
#[tokio::test]
async fn items_that_were_sent_before_are_duplicates(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[PULLED, ERP].concat());
    let batch = |items: &[u32]| {
        let items = items.iter().map(|id| format!(r#"{{"id":{id}}}"#)).collect::<Vec<_>>();
        format!(r#"{{"shop":"s","items":[{}]}}"#, items.join(","))
    };
    let first = send(&hookbox.rest, &batch(&[1, 2])).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = send(&hookbox.rest, &batch(&[1, 2])).await;
    assert_eq!((again.status, ids(&again)), (200, ids(&first)));
    assert_eq!((&again.json()["accepted"], &again.json()["duplicates"]), (&json!(0), &json!(2)));
    let mixed = send(&hookbox.rest, &batch(&[2, 3, 3])).await;
    assert_eq!(mixed.status, 202, "{}", mixed.text);
    assert_eq!((&mixed.json()["accepted"], &mixed.json()["duplicates"]), (&json!(1), &json!(2)));
    assert_eq!(ids(&mixed)[1], ids(&mixed)[2], "the second one of the batch is a duplicate of the first");
    assert_eq!(keys(&hookbox.rest, "erp").await, ["s:1", "s:2", "s:3"]);
    for (outcome, count) in [("accepted", 3.0), ("duplicate", 4.0)] {
        let sample = format!(r#"hookbox_submissions_total{{source="erp",outcome="{outcome}"}}"#);
        assert_eq!(metric(&hookbox.rest, &sample).await, Some(count), "{outcome}");
    }
}

#[rstest]
#[tokio::test]
async fn an_item_that_cannot_be_stored_is_named_and_refuses_the_batch(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[PULLED, ERP].concat());
    let rest = &hookbox.rest;
    for (body, told) in [
        (
            r#"{"shop":"s","items":[{"id":1},{"no":2}]}"#,
            "item 2 of the batch: the JSON value `/id` is missing",
        ),
        (
            r#"{"items":[{"id":1}]}"#,
            "item 1 of the batch: the JSON value `/shop` of the whole body is missing",
        ),
        (r#"{"shop":"s","items":{}}"#, "the body has no array at `/items`"),
        (r#"{"shop":"s","items":["#, "the body is not valid JSON"),
    ] {
        let problem = send(rest, body).await.problem(400, "MALFORMED_WEBHOOK");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(told) && detail.ends_with("nothing of the request is stored"), "{detail}");
    }
    assert!(stored(rest, "erp").await.is_empty());

    let first = send(rest, r#"{"shop":"s","items":[{"id":1,"total":1}]}"#).await;
    let other = send(rest, r#"{"shop":"s","items":[{"id":2},{"id":1,"total":2}]}"#).await;
    let problem = other.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert!(problem["detail"].as_str().unwrap().starts_with("item 2 of the batch: "), "{problem}");
    assert_eq!(problem["webhook_id"], first.text_of("id"));
    assert_eq!(keys(rest, "erp").await, ["s:1"], "nothing of the second batch is stored");
}

#[rstest]
#[tokio::test]
async fn an_empty_batch_is_accepted_and_one_item_is_answered_as_one_webhook(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ERP);
    let empty = send(&hookbox.rest, r#"{"items":[]}"#).await;
    assert_eq!((empty.status, empty.json()), (200, json!({ "accepted": 0, "duplicates": 0, "ids": [] })));
    assert!(stored(&hookbox.rest, "erp").await.is_empty());
    let one = send(&hookbox.rest, r#"{"shop":"s","items":[{"id":1}]}"#).await;
    assert_eq!((one.status, one.text_of("idempotency_key")), (202, "s:1".to_owned()));
}

#[rstest]
#[tokio::test]
async fn a_thousand_items_are_stored_together(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[PULLED, ERP].concat());
    let items = (0..1_000).map(|id| format!(r#"{{"id":{id},"type":"t"}}"#)).collect::<Vec<_>>();
    let body = format!(r#"{{"shop":"s","items":[{}]}}"#, items.join(","));
    let answer = send(&hookbox.rest, &body).await;
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(1_000)), "{}", answer.text);
    let ids = ids(&answer);
    assert_eq!(ids.len(), 1_000);
    for place in [0, 499, 999] {
        let webhook = hookbox.rest.webhook(&ids[place]).await;
        assert_eq!(webhook["idempotency_key"], format!("s:{place}"));
    }
    let stats = hookbox.rest.get("/v1/stats").await.json();
    assert_eq!(stats["counts"]["pending"], 1_000);
    let again = send(&hookbox.rest, &body).await;
    assert_eq!((again.status, again.json()["duplicates"].as_u64()), (200, Some(1_000)));
}

#[rstest]
#[tokio::test]
async fn more_items_than_the_limit_are_refused_before_anything_is_stored(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[PULLED, ERP].concat());
    let body = format!(r#"{{"shop":"s","items":[0{}]}}"#, ",0".repeat(4_096));
    let problem = send(&hookbox.rest, &body).await.problem(400, "MALFORMED_WEBHOOK");
    assert!(problem["detail"].as_str().unwrap().contains("more than 4096 items"), "{problem}");
    assert!(stored(&hookbox.rest, "erp").await.is_empty());
}

#[rstest]
#[tokio::test]
async fn cloudevents_come_in_all_three_modes(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, "[sources.cloudevents]\npreset = \"cloudevents\"\n");
    let event = |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/a","type":"t.{id}"}}"#);
    let send = async |content_type: &str, body: String, headers: &[(&str, &str)]| {
        let request = super::request(&hookbox.rest, reqwest::Method::POST, "cloudevents");
        let request = request.header("content-type", content_type).body(body);
        let headers = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(headers).await
    };
    let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/a"), ("ce-type", "t.1")];
    let batch = format!("[{},{}]", event("3"), event("4"));
    for (content_type, body, headers) in [
        ("text/plain", "hello".to_owned(), &binary[..]),
        ("application/cloudevents+json; charset=utf-8", event("2"), &[]),
        ("application/cloudevents-batch+json; charset=utf-8", batch, &[]),
    ] {
        let answer = send(content_type, body, headers).await;
        assert_eq!(answer.status, 202, "{content_type}: {}", answer.text);
    }
    let webhooks = stored(&hookbox.rest, "cloudevents").await;
    let text = |webhook: &Value, member: &str| webhook[member].as_str().unwrap().to_owned();
    let names = |webhook| (text(webhook, "idempotency_key"), text(webhook, "event_type"));
    let named = webhooks.iter().map(names);
    let expected = ["1", "2", "3", "4"].map(|id| (format!("/a:{id}"), format!("t.{id}")));
    assert_eq!(named.collect::<Vec<_>>(), expected);
    let first = hookbox.rest.webhook(&text(&webhooks[0], "id")).await;
    assert_eq!((&first["payload_text"], &first["verdict"]), (&json!("hello"), &json!("none")));
    assert_eq!(super::header(&first, "ce-id"), ["1"], "attributes stay in the headers");
    let second = hookbox.rest.webhook(&text(&webhooks[1], "id")).await;
    assert_eq!(second["content_type"], "application/cloudevents+json; charset=utf-8");
}

#[rstest]
#[tokio::test]
async fn every_event_of_a_cloudevents_batch_is_stored_whatever_its_headers_say(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, "[sources.cloudevents]\npreset = \"cloudevents\"\n");
    let event = |id: u8| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/a","type":"t"}}"#);
    let batch = super::request(&hookbox.rest, reqwest::Method::POST, "cloudevents")
        .header("content-type", "application/cloudevents-batch+json")
        .header("ce-id", "X")
        .header("ce-source", "/p")
        .body(format!("[{},{},{}]", event(1), event(2), event(3)));
    let answer = Answer::of(batch).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(3)), "{}", answer.text);
    assert_eq!(keys(&hookbox.rest, "cloudevents").await, ["/a:1", "/a:2", "/a:3"]);
}
