//! The alert of a source of whose requests most are not verified.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::{alerts, counts, send, shop, wait_for_alerts};
use crate::api::harness::client::Rest;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// Over which time requests are counted.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// Sends so many webhooks with a token. The keys begin with `name`.
async fn send_all(rest: &Rest, name: &str, token: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for number in 0..count {
        statuses.push(send(rest, &format!("{name}-{number}"), token).await.status);
    }
    statuses
}

/// How many requests of each alert were not verified, and how many there were.
fn numbers(alerts: &[Value]) -> Vec<(u64, u64)> {
    let payloads = alerts.iter().map(|alert| &alert["payload"]);
    let numbers = payloads.map(|payload| (payload["unverified"].as_u64(), payload["requests"].as_u64()));
    numbers.map(|(unverified, requests)| (unverified.unwrap(), requests.unwrap())).collect()
}

#[rstest]
#[case::refused("", 401)]
#[case::quarantined("unverified = \"quarantine\"", 202)]
#[tokio::test]
async fn a_source_with_mostly_unverified_requests_makes_an_alert(
    #[values(Sqlite, Postgres)] store: Store,
    #[case] members: &str,
    #[case] status: u16,
) {
    let hookbox = Hookbox::with_routes(store, &shop("hookbox.verification_failing", members));
    assert_eq!(send_all(&hookbox.rest, "good", "s3cret", 3).await, [202; 3]);
    assert_eq!(send_all(&hookbox.rest, "missing", "", 4).await, [status; 4]);
    assert_eq!(send_all(&hookbox.rest, "wrong", "f0rged", 6).await, [status; 6]);
    let alert = wait_for_alerts(&hookbox.rest, 1).await.remove(0);
    assert_eq!(alert["idempotency_key"], "hookbox.verification_failing/shop/2026-03-01T12:00:00Z");
    let text = "10 of 13 requests of the source shop in the last 5m are not verified; the most frequent cause is \
                credentials_wrong";
    let expected = json!({
        "at": "2026-03-01T12:00:00.000Z",
        "count": 1,
        "text": text,
        "source": "shop",
        "cause": "credentials_wrong",
        "unverified": 10,
        "requests": 13,
        "window_seconds": 300,
    });
    assert_eq!(alert["payload"], expected);
    hookbox.wait_for(alert["id"].as_str().unwrap(), "completed").await;
}

#[rstest]
#[tokio::test]
async fn another_alert_comes_5_minutes_later_if_it_goes_on(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &shop("hookbox.verification_failing", ""));
    send_all(&hookbox.rest, "wrong", "f0rged", 30).await;
    wait_for_alerts(&hookbox.rest, 1).await;
    hookbox.advance(WINDOW - SignedDuration::from_secs(1));
    send_all(&hookbox.rest, "wrong", "f0rged", 30).await;
    hookbox.advance(SignedDuration::from_secs(1));
    send_all(&hookbox.rest, "wrong", "f0rged", 30).await;
    let alerts = wait_for_alerts(&hookbox.rest, 2).await;
    assert_eq!((counts(&alerts), numbers(&alerts)), (vec![1, 1], vec![(10, 10), (31, 31)]));
}

#[rstest]
#[tokio::test]
async fn an_alert_does_not_wait_until_a_clock_that_was_set_back_has_caught_up(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &shop("hookbox.verification_failing", ""));
    for made in 1..=2 {
        send_all(&hookbox.rest, "wrong", "f0rged", 30).await;
        wait_for_alerts(&hookbox.rest, made).await;
        hookbox.advance(WINDOW);
    }
    // The first alert was made in this minute.
    hookbox.set_clock_by(WINDOW * -2);
    send_all(&hookbox.rest, "wrong", "f0rged", 30).await;
    let alerts = wait_for_alerts(&hookbox.rest, 3).await;
    let keys = alerts.iter().map(|alert| alert["idempotency_key"].as_str().unwrap());
    let minutes = keys.map(|key| key.rsplit_once('/').unwrap().1).collect::<Vec<_>>();
    assert_eq!(minutes, ["2026-03-01T12:00:00Z", "2026-03-01T12:05:00Z", "2026-03-01T12:06:00Z"]);
    assert_eq!(alerts[2]["payload"]["at"], "2026-03-01T12:00:00.000Z");
}

#[tokio::test]
async fn a_few_requests_that_are_not_verified_make_no_alert() {
    let hookbox = Hookbox::with_routes(Sqlite, &shop("hookbox.verification_failing", ""));
    send_all(&hookbox.rest, "wrong", "f0rged", 9).await;
    hookbox.advance(WINDOW);
    send_all(&hookbox.rest, "wrong", "f0rged", 9).await;
    // 11 of 22 are half of them, and not more.
    send_all(&hookbox.rest, "good", "s3cret", 11).await;
    send_all(&hookbox.rest, "wrong", "f0rged", 2).await;
    assert_eq!(alerts(&hookbox.rest).await, Vec::<Value>::new());
    send_all(&hookbox.rest, "wrong", "f0rged", 1).await;
    assert_eq!(numbers(&wait_for_alerts(&hookbox.rest, 1).await), [(12, 23)]);
}

#[tokio::test]
async fn requests_of_a_source_that_verifies_nothing_make_no_alert() {
    let plain = "\n[sources.plain]\nverify = \"none\"\nkey = \"body\"\n";
    let hookbox = Hookbox::with_routes(Sqlite, &shop("hookbox.verification_failing", plain));
    for _ in 0..20 {
        hookbox.rest.post("/v1/sources/plain/webhooks").await;
    }
    send_all(&hookbox.rest, "wrong", "f0rged", 10).await;
    let alerts = wait_for_alerts(&hookbox.rest, 1).await;
    assert_eq!((alerts.len(), &alerts[0]["payload"]["source"]), (1, &json!("shop")));
}
