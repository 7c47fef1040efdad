//! A key that is taken by a webhook with another body: refused, or a duplicate, as the source says.

use rstest::rstest;
use serde_json::json;

use super::{SHOP, keys, metric, send, stored};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const KEEP_FIRST: &str = "on_conflict = \"keep_first\"\n";

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
    for (outcome, count) in [("accepted", 1.0), ("duplicate", 1.0), ("IDEMPOTENCY_KEY_REUSED", 0.0)] {
        let sample = format!(r#"hookbox_submissions_total{{source="shop",outcome="{outcome}"}}"#);
        assert_eq!(metric(&hookbox.rest, &sample).await, Some(count), "{outcome}");
    }
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
    let webhooks = stored(&hookbox.rest, "shop").await;
    assert_eq!(webhooks.len(), 2);
    let first = hookbox.rest.webhook(webhooks[0]["id"].as_str().unwrap()).await;
    assert_eq!(first["payload"], json!({ "id": 1, "attempt": 1 }));
}
