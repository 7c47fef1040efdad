//! The circuit breaker: a target that is down is left alone, and jobs use up no attempts meanwhile.

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use super::answer;
use super::target::{Does, OK, Target};
use crate::api::harness::process::Place;
use crate::api::harness::{HOUR, Hookbox, Postgres, START, Sqlite, Store, eventually};

/// Opens after 3 failures in a row, for 10 s, then 20 s, then 40 s. One request at a time.
const BREAKER: &str =
    "concurrency = 1\nretry = { attempts = 9 }\nbreaker = { failures = 3, base = \"10s\", cap = \"40s\" }";

/// The line of the log when a breaker opens.
const OPENED: &str = "the target of a route is down";

fn unavailable() -> Does {
    answer("503 Service Unavailable")
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// The breaker that `GET /v1/routes` shows of the only route.
async fn breaker(hookbox: &Hookbox) -> Value {
    hookbox.rest.get("/v1/routes").await.json()["routes"][0]["breaker"].clone()
}

/// Waits until the breaker is open so many times in a row, until this many seconds after the start.
async fn becomes_open(hookbox: &Hookbox, trips: u32, until: i64) {
    let until = START.parse::<Timestamp>().unwrap() + seconds(until);
    let expected = json!({ "state": "open", "open_until": format!("{until:.3}"), "trips": trips });
    eventually(&format!("the breaker {expected}"), || async {
        (breaker(hookbox).await == expected).then_some(())
    })
    .await;
}

async fn accept_many(hookbox: &Hookbox, many: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..many {
        ids.push(hookbox.rest.accept(&format!("evt-{number}")).await);
    }
    ids
}

/// How many attempts of these webhooks have started.
async fn attempts(hookbox: &Hookbox, ids: &[String]) -> u64 {
    let mut attempts = 0;
    for id in ids {
        attempts += hookbox.rest.webhook(id).await["attempt_count"].as_u64().unwrap();
    }
    attempts
}

#[rstest]
#[tokio::test]
async fn a_target_that_is_down_is_left_alone_until_it_is_up_again(#[values(Sqlite, Postgres)] store: Store) {
    let down = [unavailable(), unavailable(), unavailable(), unavailable(), OK];
    let target = Target::start(down).await;
    let hookbox = Hookbox::with_routes(store, &target.route(BREAKER));
    let closed = json!({ "state": "closed", "open_until": null, "trips": 0 });
    assert_eq!(breaker(&hookbox).await, closed);
    let policy = hookbox.rest.get("/v1/routes").await.json()["routes"][0]["policy"].clone();
    assert_eq!(
        (&policy["breaker_failures"], &policy["breaker_base"], &policy["breaker_cap"]),
        (&json!(3), &json!("10s"), &json!("40s"))
    );
    metrics_show(&hookbox, 0, 0).await;

    let ids = accept_many(&hookbox, 6).await;
    becomes_open(&hookbox, 1, 10).await;
    metrics_show(&hookbox, 2, 1).await;
    hookbox.advance(seconds(9));
    assert_eq!((attempts(&hookbox, &ids).await, target.received().len()), (3, 3), "the others are held");
    hookbox.advance(seconds(1));
    becomes_open(&hookbox, 2, 30).await;
    assert_eq!((attempts(&hookbox, &ids).await, target.received().len()), (4, 4), "one probe");
    hookbox.advance(seconds(20));
    for id in &ids {
        hookbox.wait_for(id, "completed").await;
    }
    assert_eq!(target.received().len(), 4 + 6);
    assert_eq!(breaker(&hookbox).await, closed);
    metrics_show(&hookbox, 0, 2).await;
}

/// Waits until metrics show this state of the breaker, as a number, and how often it has opened: an opening is counted
/// a moment after it can be seen.
async fn metrics_show(hookbox: &Hookbox, state: u32, openings: u32) {
    let lines = [
        format!("hookbox_breaker_state{{route=\"out\"}} {state}\n"),
        format!("hookbox_breaker_openings_total{{route=\"out\"}} {openings}\n"),
    ];
    eventually(&format!("{lines:?}"), || async {
        let metrics = hookbox.rest.get("/metrics").await.text;
        lines.iter().all(|line| metrics.contains(line)).then_some(())
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_half_open_breaker_sends_one_request_at_a_time(#[values(Sqlite, Postgres)] store: Store) {
    let target = Target::start([unavailable(), Does::Hang, OK]).await;
    let more = "timeout = \"5s\"\nretry = { attempts = 9 }\nbreaker = { failures = 1, base = \"10s\" }";
    let hookbox = Hookbox::with_routes(store, &target.route(more));
    let first = hookbox.rest.accept("evt-001").await;
    becomes_open(&hookbox, 1, 10).await;
    let second = hookbox.rest.accept("evt-002").await;
    hookbox.advance(seconds(10));
    target.wait_for_requests(2).await;
    let shown = json!({ "state": "half_open", "open_until": null, "trips": 1 });
    assert_eq!(breaker(&hookbox).await, shown);
    let third = hookbox.rest.accept("evt-003").await;
    // The probe hangs until its timeout.
    hookbox.advance(seconds(5));
    becomes_open(&hookbox, 2, 35).await;
    assert_eq!(target.received().len(), 2);
    hookbox.advance(seconds(20));
    for id in [first, second, third] {
        hookbox.wait_for(&id, "completed").await;
    }
}

#[rstest]
#[case::resets(Does::ResetAfter(""))]
#[case::closes(Does::CloseAfter(""))]
#[case::asks_for_time(answer("429 Too Many Requests"))]
#[tokio::test]
async fn a_target_that_does_not_serve_opens_the_breaker(#[case] does: Does) {
    let target = Target::start([does]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(BREAKER));
    let ids = accept_many(&hookbox, 5).await;
    becomes_open(&hookbox, 1, 10).await;
    assert_eq!(attempts(&hookbox, &ids).await, 3);
}

#[tokio::test]
async fn answers_that_refuse_webhooks_do_not_open_the_breaker() {
    let target = Target::start([answer("404 Not Found")]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(BREAKER));
    for id in accept_many(&hookbox, 10).await {
        hookbox.wait_for(&id, "dead_lettered").await;
    }
    assert_eq!(breaker(&hookbox).await["state"], "closed");
    assert_eq!(target.received().len(), 10);
}

#[rstest]
#[tokio::test]
async fn resuming_the_route_closes_its_breaker(#[values(Sqlite, Postgres)] store: Store) {
    let target = Target::start([unavailable(), unavailable(), unavailable(), OK]).await;
    let hookbox = Hookbox::with_routes(store, &target.route(BREAKER));
    accept_many(&hookbox, 6).await;
    becomes_open(&hookbox, 1, 10).await;
    let resumed = hookbox.rest.post("/v1/resume?route=out").await;
    assert_eq!(resumed.json(), json!({ "was_paused": false }));
    assert_eq!(breaker(&hookbox).await["state"], "closed");
    target.wait_for_requests(6).await;
}

#[tokio::test]
async fn a_route_without_a_breaker_goes_on_and_shows_none() {
    let target = Target::start([unavailable()]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route("breaker = { failures = 0 }"));
    let ids = accept_many(&hookbox, 4).await;
    for (attempts, status) in [(1, "retrying"), (2, "retrying"), (3, "dead_lettered")] {
        for id in &ids {
            eventually("the end of an attempt", || async {
                let webhook = hookbox.rest.webhook(id).await;
                (webhook["status"] == status && webhook["attempt_count"] == attempts).then_some(())
            })
            .await;
        }
        hookbox.advance(HOUR);
    }
    assert_eq!(breaker(&hookbox).await, Value::Null);
    assert_eq!(target.received().len(), 12);
}

#[rstest]
#[tokio::test]
async fn a_breaker_that_opens_is_logged_with_the_last_error(#[values(Sqlite, Postgres)] store: Store) {
    let target = Target::start([unavailable()]).await;
    let place = Place::on(store, &[]);
    let breaker = "concurrency = 1\nbreaker = { failures = 2, base = \"1h\", cap = \"1h\" }";
    std::fs::write(place.path("hookbox.toml"), target.route(breaker)).unwrap();
    let process = place.serve().await;
    for key in ["evt-001", "evt-002", "evt-003"] {
        process.rest.accept(key).await;
    }
    process.wait_for_log(OPENED).await;
    let log = process.log();
    let line = log.lines().find(|line| line.contains(OPENED)).unwrap();
    let line = serde_json::from_str::<Value>(line).unwrap();
    let shown = json!([line["level"], line["route"], line["failures"], line["trips"], line["error"]]);
    assert_eq!(shown, json!(["WARN", "out", 2, 1, "the target answered 503 Service Unavailable"]), "{line}");
    assert!(line["open_until"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");

    assert_eq!(process.rest.post("/v1/resume?route=out").await.status, 200);
    process.wait_for_log("the breaker of a route is closed, because the route was resumed").await;
}
