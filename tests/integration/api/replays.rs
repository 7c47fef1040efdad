//! Replays: finished jobs of many webhooks run again, over both APIs.

mod callers;
mod calls;
mod one;
mod refused;

use jiff::SignedDuration;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

/// Asks for a replay.
async fn start(rest: &Rest, body: &Value) -> Answer {
    let request = rest.request(Method::POST, "/v1/replays").header(CONTENT_TYPE, "application/json");
    Answer::of(request.body(body.to_string())).await
}

/// Starts a replay; answers its number.
async fn started(rest: &Rest, body: &Value) -> u64 {
    let answer = start(rest, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["number"].as_u64().expect("has a number")
}

async fn replay(rest: &Rest, number: u64) -> Value {
    let answer = rest.get(&format!("/v1/replays/{number}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// Waits until a replay is completed, and answers it.
async fn completed(rest: &Rest, number: u64) -> Value {
    eventually("the end of the replay", || async {
        let replay = replay(rest, number).await;
        (replay["state"] == "completed").then_some(replay)
    })
    .await
}

/// Waits until a replay has restarted so many jobs.
async fn has_restarted(rest: &Rest, number: u64, jobs: u64) -> Value {
    eventually("jobs that run again", || async {
        let replay = replay(rest, number).await;
        (replay["counts"]["jobs"] == jobs).then_some(replay)
    })
    .await
}

async fn cancel(rest: &Rest, number: u64) -> Answer {
    rest.post(&format!("/v1/replays/{number}/cancel")).await
}

/// Accepts webhooks with these keys, and waits until they are completed. Answers their ids.
async fn accept(hookbox: &Hookbox, keys: &[&str]) -> Vec<String> {
    let mut ids = Vec::new();
    for key in keys {
        let id = hookbox.rest.accept(key).await;
        hookbox.wait_for(&id, "completed").await;
        // So that each is accepted at its own time.
        hookbox.advance(SignedDuration::from_millis(1));
        ids.push(id);
    }
    ids
}

/// The number of the run of the only job of a webhook.
async fn run(rest: &Rest, id: &str) -> Value {
    rest.webhook(id).await["jobs"][0]["run"].clone()
}

/// Everything of the source `default`.
fn everything() -> Value {
    json!({ "filter": { "source": "default" } })
}

#[rstest]
#[tokio::test]
async fn a_replay_runs_finished_jobs_again_in_new_runs(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::FailForGood("no such order")]);
    let dead = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&dead, "dead_lettered").await;
    let done = accept(&hookbox, &["evt-002", "evt-003"]).await;
    let gate = hookbox.handler.will_hold();
    let busy = hookbox.rest.accept("evt-004").await;
    hookbox.wait_for_runs(4).await;

    let filter = json!({ "source": "default", "event_type": "order.created" });
    let asked = json!({ "filter": filter, "reason": "the shop lost its orders" });
    let answer = start(&hookbox.rest, &asked).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let mut ended = completed(&hookbox.rest, 1).await;
    assert!(ended["looked_to"].is_string(), "{ended}");
    ended["looked_to"] = Value::Null;
    let now = "2026-03-01T12:00:00.002Z";
    let expected = json!({
        "number": 1, "state": "completed", "filter": filter, "reason": "the shop lost its orders",
        "actor": "anonymous", "rate": null, "dry_run": false, "progress": 1.0, "looked_to": null,
        "counts": {
            "webhooks": 4, "jobs": 3, "unfinished": 1, "payload_gone": 0, "route_gone": 0, "without_jobs": 0,
        },
        "waiting_for": null, "started_at": now, "updated_at": now, "ended_at": now,
    });
    assert_eq!(ended, expected);
    drop(gate);
    for id in done.iter().chain([&dead]) {
        let webhook = hookbox.wait_for(id, "completed").await;
        assert_eq!((&webhook["jobs"][0]["run"], &webhook["attempt_count"]), (&json!(2), &json!(2)));
        assert_eq!(webhook["jobs"][0]["replay"], 1);
    }
    let busy = hookbox.wait_for(&busy, "completed").await;
    assert_eq!((&busy["jobs"][0]["run"], &busy["attempt_count"]), (&json!(1), &json!(1)));
    assert_eq!(busy["jobs"][0]["replay"], Value::Null);
}

#[rstest]
#[tokio::test]
async fn the_statuses_and_the_route_of_the_filter_choose_jobs(#[values(Sqlite, Postgres)] store: Store) {
    let route = |name| format!("[[routes]]\nname = \"{name}\"\nhandler = \"simulate\"\n");
    let hookbox = Hookbox::with_routes(store, &["orders", "audit"].map(route).concat());
    let id = accept(&hookbox, &["evt-001"]).await.remove(0);
    let runs = async || {
        let jobs = hookbox.wait_for(&id, "completed").await["jobs"].clone();
        [jobs[0]["run"].clone(), jobs[1]["run"].clone()]
    };
    for (filter, jobs, expected) in [
        (json!({ "status": ["dead_lettered", "cancelled"] }), 0, [1, 1]),
        (json!({ "status": ["completed"], "route": "audit" }), 1, [1, 2]),
        (json!({ "route": "orders" }), 1, [2, 2]),
        (json!({ "accepted_before": "2026-03-01T12:00:00Z" }), 0, [2, 2]),
        (json!({ "accepted_after": "2026-03-01T12:00:00Z", "status": ["completed"] }), 2, [3, 3]),
    ] {
        let number = started(&hookbox.rest, &json!({ "filter": filter })).await;
        let ended = completed(&hookbox.rest, number).await;
        assert_eq!((&ended["filter"], &ended["counts"]["jobs"]), (&shown(&filter), &json!(jobs)));
        assert_eq!(runs().await, expected, "{filter}");
    }
}

/// A filter as it is shown: times have milliseconds.
fn shown(filter: &Value) -> Value {
    let mut shown = filter.clone();
    for time in shown.as_object_mut().unwrap().values_mut().filter(|value| value.is_string()) {
        *time = time.as_str().unwrap().replace("00:00Z", "00:00.000Z").into();
    }
    shown
}

#[rstest]
#[tokio::test]
async fn a_dry_run_counts_and_is_answered_with_its_end(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let ids = accept(&hookbox, &["evt-001", "evt-002"]).await;
    let asked = json!({ "filter": { "status": ["completed"] }, "dry_run": true, "rate": "1/h" });
    let answer = start(&hookbox.rest, &asked).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let answer = answer.json();
    assert_eq!((&answer["state"], &answer["dry_run"]), (&json!("completed"), &json!(true)));
    assert_eq!((&answer["counts"]["jobs"], &answer["rate"]), (&json!(2), &json!("1/h")));
    assert_eq!(replay(&hookbox.rest, 1).await, answer, "it is kept");
    for id in &ids {
        assert_eq!(run(&hookbox.rest, id).await, 1);
    }
    assert_eq!(hookbox.handler.runs().len(), 2);
    assert_eq!(hookbox.rest.get("/v1/actions").await.json()["actions"], json!([]), "nothing was changed");
}

#[rstest]
#[tokio::test]
async fn a_replay_is_watched_and_cancelled(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let ids = accept(&hookbox, &["evt-001", "evt-002", "evt-003"]).await;
    let slowly = json!({ "filter": { "source": "default" }, "rate": "1/h" });
    let number = started(&hookbox.rest, &slowly).await;
    let running = has_restarted(&hookbox.rest, number, 1).await;
    assert_eq!((&running["state"], &running["ended_at"]), (&json!("running"), &Value::Null));
    assert!((0.0..1.0).contains(&running["progress"].as_f64().unwrap()), "{running}");
    let refused = start(&hookbox.rest, &everything()).await.problem(409, "REPLAY_RUNNING");
    assert!(refused["detail"].as_str().unwrap().contains("replay 1 is running"), "{refused}");

    hookbox.advance(SignedDuration::from_secs(1));
    let cancelled = cancel(&hookbox.rest, number).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    let cancelled = cancelled.json();
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(cancelled["ended_at"], "2026-03-01T12:00:01.003Z");
    assert_eq!(cancel(&hookbox.rest, number).await.json(), cancelled, "again changes nothing");
    assert_eq!(replay(&hookbox.rest, number).await, cancelled);
    hookbox.wait_for(&ids[0], "completed").await;
    for (id, expected) in ids.iter().zip([2, 1, 1]) {
        assert_eq!(run(&hookbox.rest, id).await, expected);
    }

    let number = started(&hookbox.rest, &everything()).await;
    assert_eq!(number, 2);
    completed(&hookbox.rest, number).await;
    cancel(&hookbox.rest, number).await.problem(409, "WRONG_STATUS");
    let page = hookbox.rest.get("/v1/replays?page_size=1").await.json();
    assert_eq!((&page["replays"][0]["number"], &page["next_page_token"]), (&json!(2), &json!("2")));
    let page = hookbox.rest.get("/v1/replays?page_size=1&page_token=2").await.json();
    assert_eq!((&page["replays"][0], &page["next_page_token"]), (&cancelled, &json!("")));
}

#[rstest]
#[tokio::test]
async fn a_replay_goes_on_after_a_restart(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let ids = accept(&hookbox, &["evt-001", "evt-002", "evt-003"]).await;
    let slowly = json!({ "filter": { "source": "default" }, "rate": "1/m", "reason": "lost orders" });
    let number = started(&hookbox.rest, &slowly).await;
    has_restarted(&hookbox.rest, number, 1).await;
    let hookbox = Hookbox::at(hookbox.stop(), "2026-03-01T12:00:30Z", &[]);
    let found = replay(&hookbox.rest, number).await;
    assert_eq!((&found["state"], &found["counts"]["jobs"]), (&json!("running"), &json!(1)), "not yet due");
    assert_eq!((&found["rate"], &found["reason"]), (&json!("1/m"), &json!("lost orders")));
    let ended = hookbox
        .as_time_passes("the end of the replay", || async {
            let replay = replay(&hookbox.rest, number).await;
            (replay["state"] == "completed").then_some(replay)
        })
        .await;
    assert_eq!(ended["counts"]["jobs"], 3);
    for id in &ids {
        assert_eq!(run(&hookbox.rest, id).await, 2);
    }
}

#[rstest]
#[tokio::test]
async fn a_replay_waits_while_due_jobs_of_its_route_do_not_start(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    accept(&hookbox, &["evt-001"]).await;
    assert_eq!(hookbox.rest.post("/v1/pause?route=default").await.status, 200);
    let waits = hookbox.rest.accept("evt-002").await;
    hookbox.advance(SignedDuration::from_secs(2));
    let number = started(&hookbox.rest, &everything()).await;
    let waiting = hookbox
        .as_time_passes("a note of what the replay waits for", || async {
            let replay = replay(&hookbox.rest, number).await;
            (!replay["waiting_for"].is_null()).then_some(replay)
        })
        .await;
    assert_eq!(waiting["waiting_for"], "the due jobs of the route default to start");
    assert_eq!((&waiting["state"], &waiting["counts"]["jobs"]), (&json!("running"), &json!(0)));

    assert_eq!(hookbox.rest.post("/v1/resume?route=default").await.status, 200);
    hookbox.wait_for(&waits, "completed").await;
    let ended = hookbox
        .as_time_passes("the end of the replay", || async {
            let replay = replay(&hookbox.rest, number).await;
            (replay["state"] == "completed").then_some(replay)
        })
        .await;
    assert_eq!((&ended["waiting_for"], &ended["counts"]["webhooks"]), (&Value::Null, &json!(2)));
}
