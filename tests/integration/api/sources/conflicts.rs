//! A key that is taken by a webhook with another body: refused, or a duplicate, as the source says.

use rstest::rstest;
use serde_json::{Value, json};

use super::{SHOP, keys, metric, send, stored};
use crate::api::harness::client::Rest;
use crate::api::harness::process::Place;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const KEEP_FIRST: &str = "on_conflict = \"keep_first\"\n";

/// The line of the log about duplicates with another content begins so.
const LOGGED: &str = "webhooks of a source have the key of an earlier one but another body or event type";

/// How many webhooks of the source `shop` have these outcomes: `accepted`, `duplicate`, `duplicate_other_content`, and the
/// reason of a conflict that is refused.
async fn counts(rest: &Rest) -> [Option<f64>; 4] {
    let mut counts = [None; 4];
    let outcomes = ["accepted", "duplicate", "duplicate_other_content", "IDEMPOTENCY_KEY_REUSED"];
    for (count, outcome) in counts.iter_mut().zip(outcomes) {
        let sample = format!(r#"hookbox_submissions_total{{source="shop",outcome="{outcome}"}}"#);
        *count = metric(rest, &sample).await;
    }
    counts
}

#[rstest]
#[tokio::test]
async fn another_body_for_a_key_is_refused_unless_the_source_keeps_the_first(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let first = send(&hookbox.rest, "evt-001", r#"{"attempt":1}"#).await;
    let other = send(&hookbox.rest, "evt-001", r#"{"attempt":2}"#).await;
    let problem = other.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(problem["webhook_id"], first.text_of("id"));
    assert_eq!(keys(&hookbox.rest, "shop").await, ["evt-001"]);
}

#[rstest]
#[tokio::test]
async fn a_source_that_keeps_the_first_takes_the_others_as_duplicates(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, KEEP_FIRST].concat());
    let first = send(&hookbox.rest, "evt-001", r#"{"attempt":1}"#).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let id = first.text_of("id");
    hookbox.wait_for(&id, "completed").await;
    let other = send(&hookbox.rest, "evt-001", r#"{"attempt":2}"#).await;
    assert_eq!((other.status, other.text_of("id")), (200, id.clone()));
    assert_eq!((&other.json()["status"], &other.json()["duplicate"]), (&json!("completed"), &json!(true)));
    assert_eq!(hookbox.rest.webhook(&id).await["payload"], json!({ "attempt": 1 }));
    assert_eq!(hookbox.handler.runs().len(), 1);
    assert_eq!(counts(&hookbox.rest).await, [1.0, 0.0, 1.0, 0.0].map(Some));
    assert_eq!(send(&hookbox.rest, "evt-001", r#"{"attempt":1}"#).await.status, 200);
    assert_eq!(counts(&hookbox.rest).await, [1.0, 1.0, 1.0, 0.0].map(Some));
}

#[tokio::test]
async fn duplicates_with_another_content_are_counted_from_0() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    assert_eq!(counts(&hookbox.rest).await, [Some(0.0); 4]);
}

#[rstest]
#[tokio::test]
async fn duplicates_with_another_content_are_logged_once_a_minute_as_no_fault(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let place = Place::on(store, &[]);
    std::fs::write(place.path("hookbox.toml"), [SHOP, KEEP_FIRST].concat()).unwrap();
    let process = place.serve().await;
    let id = send(&process.rest, "evt-001", r#"{"attempt":1}"#).await.text_of("id");
    assert_eq!(send(&process.rest, "evt-001", r#"{"attempt":1}"#).await.status, 200);
    assert!(!process.log().contains(LOGGED), "the content is the same: {}", process.log());
    for attempt in 2..5 {
        let body = format!(r#"{{"attempt":{attempt}}}"#);
        assert_eq!(send(&process.rest, "evt-001", &body).await.status, 200);
    }
    process.wait_for_log(LOGGED).await;
    let log = process.log();
    let lines = log.lines().filter(|line| line.contains(LOGGED)).collect::<Vec<_>>();
    let [line] = lines[..] else { panic!("{lines:#?}") };
    let line = serde_json::from_str::<Value>(line).unwrap();
    assert_eq!((&line["level"], &line["times"]), (&json!("INFO"), &json!(1)), "{line}");
    assert_eq!((&line["source"], &line["webhook_id"]), (&json!("shop"), &json!(id)), "{line}");
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
}

#[rstest]
#[tokio::test]
async fn a_batch_of_a_source_that_keeps_the_first_stores_what_is_new(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let batches = SHOP.replace("header = \"X-Id\"", "json = \"/id\"");
    let hookbox = Hookbox::with_routes(store, &format!("{batches}split = \"\"\n{KEEP_FIRST}"));
    assert_eq!(send(&hookbox.rest, "", r#"[{"id":1,"attempt":1}]"#).await.status, 202);
    let batch = send(&hookbox.rest, "", r#"[{"id":1,"attempt":2},{"id":2,"attempt":1}]"#).await;
    assert_eq!(batch.status, 202, "{}", batch.text);
    assert_eq!((&batch.json()["accepted"], &batch.json()["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!(counts(&hookbox.rest).await, [2.0, 0.0, 1.0, 0.0].map(Some));
    let webhooks = stored(&hookbox.rest, "shop").await;
    assert_eq!(webhooks.len(), 2);
    let first = hookbox.rest.webhook(webhooks[0]["id"].as_str().unwrap()).await;
    assert_eq!(first["payload"], json!({ "id": 1, "attempt": 1 }));
}
