//! The alert of a source that has sent nothing for too long.

use hookbox::internals::domain::clock::Clock as _;
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::{alerts, counts, send, shop, wait_for_alerts};
use crate::api::harness::{Hookbox, Postgres, START, Sqlite, Store, eventually};
use crate::api::page::Browser;

/// The source `shop` is silent after 5 minutes. What is not verified goes into quarantine.
const SILENT_AFTER: &str = "silent_after = \"5m\"\nunverified = \"quarantine\"";

/// How long after a look the clock of a test stands. No other sleep of hookbox ends at the next look then.
const AFTER_LOOK: SignedDuration = SignedDuration::from_millis(400);

fn start(store: Store) -> Hookbox {
    Hookbox::with_routes(store, &shop("hookbox.source_silent", SILENT_AFTER))
}

/// The time until the next look, which is in the fifth second of a minute.
fn until_look(hookbox: &Hookbox) -> SignedDuration {
    let since = (hookbox.clock.now().as_millisecond() - 5_000).rem_euclid(60_000);
    SignedDuration::from_millis(60_000 - since)
}

async fn wait_for_sleep(hookbox: &Hookbox) {
    let until = until_look(hookbox).unsigned_abs();
    eventually("the next look", || async { (hookbox.clock.sleepers_for(until) > 0).then_some(()) }).await;
}

/// Lets hookbox look at its sources so many times.
pub(super) async fn look(hookbox: &Hookbox, times: usize) {
    wait_for_sleep(hookbox).await;
    for _ in 0..times {
        hookbox.advance(until_look(hookbox) + AFTER_LOOK);
        wait_for_sleep(hookbox).await;
    }
}

/// Stores a webhook of the source without a verified request to this process, as those that another process has
/// stored: it is released from quarantine.
async fn store_elsewhere(hookbox: &Hookbox, key: &str) {
    let id = send(&hookbox.rest, key, "of a stranger").await.text_of("id");
    let released = hookbox.rest.post(&format!("/v1/webhooks/{id}/release")).await;
    assert_eq!(released.status, 200, "{}", released.text);
}

/// When the source of each alert was last seen, and when the alert was made.
fn times(alerts: &[Value]) -> Vec<(&str, &str)> {
    let payloads = alerts.iter().map(|alert| &alert["payload"]);
    let times = payloads.map(|payload| (&payload["last_seen"], &payload["at"]));
    times.map(|(last_seen, at)| (last_seen.as_str().unwrap_or("never"), at.as_str().unwrap())).collect()
}

#[rstest]
#[tokio::test]
async fn a_source_that_falls_silent_makes_one_alert_until_it_sends_again(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = start(store);
    assert_eq!(send(&hookbox.rest, "evt-001", "s3cret").await.status, 202);
    look(&hookbox, 6).await;
    let alert = wait_for_alerts(&hookbox.rest, 1).await.remove(0);
    assert_eq!(alert["idempotency_key"], "hookbox.source_silent/shop/2026-03-01T12:05:00Z");
    let text =
        "Nothing has come from the source shop since 2026-03-01T12:00:00.000Z; it counts as silent after 5m";
    let expected = json!({
        "at": "2026-03-01T12:05:05.400Z",
        "count": 1,
        "text": text,
        "source": "shop",
        "last_seen": "2026-03-01T12:00:00.000Z",
        "silent_seconds": 305,
        "silent_after_seconds": 300,
    });
    assert_eq!(alert["payload"], expected);
    hookbox.wait_for(alert["id"].as_str().unwrap(), "completed").await;

    look(&hookbox, 12).await;
    assert_eq!(send(&hookbox.rest, "evt-002", "s3cret").await.status, 202);
    look(&hookbox, 5).await;
    let alerts = wait_for_alerts(&hookbox.rest, 2).await;
    assert_eq!(counts(&alerts), [1, 1]);
    assert_eq!(times(&alerts)[1], ("2026-03-01T12:17:05.400Z", "2026-03-01T12:22:05.400Z"));
}

#[rstest]
#[tokio::test]
async fn a_duplicate_and_what_cannot_be_read_end_a_silence_and_what_is_not_verified_does_not(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = start(store);
    assert_eq!(send(&hookbox.rest, "evt-001", "s3cret").await.status, 202);
    look(&hookbox, 3).await;
    assert_eq!(send(&hookbox.rest, "evt-001", "s3cret").await.status, 200);
    look(&hookbox, 3).await;
    assert_eq!(send(&hookbox.rest, "", "s3cret").await.status, 400);
    look(&hookbox, 3).await;
    assert_eq!(send(&hookbox.rest, "evt-002", "f0rged").await.status, 202);
    look(&hookbox, 2).await;
    let alerts = wait_for_alerts(&hookbox.rest, 1).await;
    assert_eq!(times(&alerts), [("2026-03-01T12:05:05.400Z", "2026-03-01T12:10:05.400Z")]);
}

#[rstest]
#[case::soon("2026-03-01T12:04:00Z", 2, "2026-03-01T12:05:05.400Z")]
#[case::late("2026-03-02T12:00:00Z", 1, "2026-03-02T12:00:05.400Z")]
#[tokio::test]
async fn a_restart_neither_hides_silence_nor_fakes_it(
    #[values(Sqlite, Postgres)] store: Store,
    #[case] started: &str,
    #[case] looks: usize,
    #[case] at: &str,
) {
    let hookbox = start(store);
    assert_eq!(send(&hookbox.rest, "evt-001", "s3cret").await.status, 202);
    look(&hookbox, 1).await;
    assert_eq!(send(&hookbox.rest, "evt-002", "f0rged").await.status, 202);

    let successor = Hookbox::at(hookbox.stop(), started, &[]);
    assert_eq!(alerts(&successor.rest).await, Vec::<Value>::new());
    look(&successor, looks).await;
    let alerts = wait_for_alerts(&successor.rest, 1).await;
    assert_eq!(times(&alerts), [("2026-03-01T12:00:00.000Z", at)]);
}

#[rstest]
#[tokio::test]
async fn a_source_that_another_process_has_seen_is_not_silent(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = start(store);
    assert_eq!(send(&hookbox.rest, "evt-001", "s3cret").await.status, 202);
    look(&hookbox, 3).await;
    store_elsewhere(&hookbox, "evt-002").await;
    look(&hookbox, 5).await;
    let first = ("2026-03-01T12:02:05.400Z", "2026-03-01T12:07:05.400Z");
    assert_eq!(times(&wait_for_alerts(&hookbox.rest, 1).await), [first]);
    let overview = async || Browser::of(&hookbox).get("/").await.text;
    let silent = "Nothing has come from the source shop for 5 min.";
    let page = overview().await;
    assert!(page.contains(silent), "{page}");

    // The source comes and goes elsewhere.
    store_elsewhere(&hookbox, "evt-003").await;
    look(&hookbox, 1).await;
    let page = overview().await;
    assert!(!page.contains("Nothing has come from the source shop"), "{page}");
    look(&hookbox, 4).await;
    let second = ("2026-03-01T12:07:05.400Z", "2026-03-01T12:12:05.400Z");
    assert_eq!(times(&wait_for_alerts(&hookbox.rest, 2).await), [first, second]);
}

#[rstest]
#[tokio::test]
async fn a_source_that_has_never_sent_anything_is_silent_since_the_start(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = start(store);
    assert_eq!(alerts(&hookbox.rest).await, Vec::<Value>::new());
    look(&hookbox, 6).await;
    let alerts = wait_for_alerts(&hookbox.rest, 1).await;
    assert_eq!(times(&alerts), [("never", "2026-03-01T12:05:05.400Z")]);
    let payload = &alerts[0]["payload"];
    assert_eq!((&payload["last_seen"], &payload["silent_seconds"]), (&Value::Null, &json!(305)));
    let text = "Nothing has come from the source shop since hookbox started; it counts as silent after 5m";
    assert_eq!(payload["text"], text);
}

#[tokio::test]
async fn a_source_is_watched_from_the_reload_on_that_asks_for_it() {
    let hookbox = Hookbox::with_routes(Sqlite, &shop("hookbox.source_silent", ""));
    assert_eq!(send(&hookbox.rest, "evt-001", "s3cret").await.status, 202);
    look(&hookbox, 10).await;
    hookbox.set_routes(&shop("hookbox.source_silent", SILENT_AFTER));
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    look(&hookbox, 1).await;
    let alerts = wait_for_alerts(&hookbox.rest, 1).await;
    assert_eq!(times(&alerts), [("2026-03-01T12:00:00.000Z", "2026-03-01T12:10:05.400Z")]);
}

#[rstest]
#[case::forward(SignedDuration::from_hours(2), "2026-03-01T14:05:05.400Z")]
#[case::back(SignedDuration::from_hours(-2), "2026-03-01T10:05:05.400Z")]
#[tokio::test]
async fn setting_the_clock_neither_hides_silence_nor_fakes_it(
    #[case] by: SignedDuration,
    #[case] at: &str,
    #[values(0, 1)] looks_before: usize,
) {
    let hookbox = start(Sqlite);
    assert_eq!(send(&hookbox.rest, "evt-001", "s3cret").await.status, 202);
    look(&hookbox, looks_before).await;
    hookbox.set_clock_by(by);
    look(&hookbox, 6 - looks_before).await;
    let alerts = wait_for_alerts(&hookbox.rest, 1).await;
    assert_eq!(times(&alerts), [(&*START.replace('Z', ".000Z"), at)]);
    assert_eq!(alerts[0]["payload"]["silent_seconds"], 305);
}
