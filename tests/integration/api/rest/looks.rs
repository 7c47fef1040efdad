//! Looking at one webhook: its status, all of it, and every change.

use futures::StreamExt;
use hookbox::internals::grpc::proto;
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Code;

use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

#[rstest]
#[tokio::test]
async fn the_status_is_found_by_key_and_by_id(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt 001/ü").await;
    hookbox.wait_for(&id, "processing").await;
    let expected = json!({
        "id": id, "source": "default", "idempotency_key": "evt 001/ü", "event_type": "order.created",
        "status": "processing", "attempt_count": 1,
        "accepted_at": "2026-03-01T12:00:00.000Z", "updated_at": "2026-03-01T12:00:00.000Z",
        "last_error": null, "next_attempt_at": null,
    });
    for path in [
        format!("/v1/webhooks/{id}/status"),
        "/v1/status?idempotency_key=evt%20001%2F%C3%BC".to_owned(),
        "/v1/status?idempotency_key=evt+001/%C3%BC&source=default".to_owned(),
    ] {
        let answer = hookbox.rest.get(&path).await;
        assert_eq!((answer.status, answer.json()), (200, expected.clone()), "{path}");
    }
    drop(gate);
}

#[rstest]
#[tokio::test]
async fn the_status_of_an_unknown_key_is_not_found(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.rest.accept("evt-001").await;
    for query in ["idempotency_key=evt-002", "idempotency_key=evt-001&source=other"] {
        let answer = hookbox.rest.get(&format!("/v1/status?{query}")).await;
        answer.problem(404, "WEBHOOK_NOT_FOUND");
    }
}

#[rstest]
#[tokio::test]
async fn a_completed_webhook_is_shown_in_full(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.submit("evt-001", "order.created", r#"{"total":12}"#).await.text_of("id");
    hookbox.wait_for_runs(1).await;
    hookbox.advance(jiff::SignedDuration::from_millis(1500));
    drop(gate);
    let webhook = hookbox.wait_for(&id, "completed").await;
    let worker = webhook["attempts"][0]["worker"].clone();
    // On PostgreSQL, which processes share, something random follows.
    let process = format!(" {}", std::process::id());
    assert!(worker.as_str().is_some_and(|worker| worker.contains(&process)), "{worker}");
    let trace_id = webhook["trace_id"].clone();
    let attempts = json!([{
        "number": 1, "run": 1, "outcome": "completed", "error": null, "worker": worker,
        "started_at": "2026-03-01T12:00:00.000Z", "finished_at": "2026-03-01T12:00:01.500Z",
    }]);
    assert_eq!(trace_id.as_str().map(str::len), Some(32));
    assert_eq!(
        webhook,
        json!({
            "id": id, "source": "default", "idempotency_key": "evt-001",
            "event_type": "order.created", "status": "completed", "attempt_count": 1,
            "accepted_at": "2026-03-01T12:00:00.000Z", "updated_at": "2026-03-01T12:00:01.500Z",
            "last_error": null, "next_attempt_at": null,
            "payload": {"total": 12}, "payload_size": 12, "result": {"handled": "order.created"}, "max_attempts": 3,
            "available_at": "2026-03-01T12:00:00.000Z", "completed_at": "2026-03-01T12:00:01.500Z",
            "trace_id": trace_id, "attempts": attempts, "content_type": "application/json",
            "headers": webhook["headers"], "verdict": "none", "cause": null,
            "jobs": [{
                "route": "default", "handler": "simulate", "status": "completed", "run": 1, "replay": null,
                "attempt_count": 1, "max_attempts": 3, "result": {"handled": "order.created"},
                "available_at": "2026-03-01T12:00:00.000Z", "completed_at": "2026-03-01T12:00:01.500Z",
                "attempts": attempts, "last_error": null, "next_attempt_at": null,
                "worker": null, "lease_until": null,
            }],
        })
    );
}

#[rstest]
#[tokio::test]
async fn a_webhook_is_found_by_its_key(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let id = hookbox.rest.accept("evt 001/ü").await;
    let webhook = hookbox.wait_for(&id, "completed").await;
    for query in ["idempotency_key=evt%20001%2F%C3%BC", "idempotency_key=evt+001/%C3%BC&source=default"] {
        let answer = hookbox.rest.get(&format!("/v1/webhook?{query}")).await;
        assert_eq!((answer.status, answer.json()), (200, webhook.clone()), "{query}");
    }
}

#[rstest]
#[tokio::test]
async fn a_watcher_sees_every_change_in_order_and_the_stream_ends(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("workers", "1")]);
    let before = hookbox.handler.will_hold();
    let running = hookbox.handler.will_hold();
    hookbox.rest.accept("before").await;
    let id = hookbox.rest.accept("watched").await;

    let request = hookbox.rest.request(Method::GET, &format!("/v1/webhooks/{id}/watch"));
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Box::pin(response.bytes_stream());
    let first = events.next().await.unwrap().unwrap();
    drop(before);
    hookbox.wait_for(&id, "processing").await;
    drop(running);
    let mut text = first.to_vec();
    while let Some(chunk) = events.next().await {
        text.extend_from_slice(&chunk.unwrap());
    }

    let seen: Vec<_> = statuses(std::str::from_utf8(&text).unwrap());
    let words: Vec<_> = seen.iter().map(|event| event["status"].as_str().unwrap()).collect();
    assert_eq!(words, ["pending", "processing", "completed"]);
    assert!(seen.iter().all(|event| event["id"] == id.as_str()));
    let attempts: Vec<_> = seen.iter().map(|event| event["attempt_count"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [0, 1, 1]);
}

#[rstest]
#[tokio::test]
async fn watching_a_webhook_that_is_done_tells_its_status_once(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let answer = hookbox.rest.get(&format!("/v1/webhooks/{id}/watch")).await;
    let seen = statuses(&answer.text);
    assert_eq!(seen.len(), 1, "{}", answer.text);
    assert_eq!(seen[0], hookbox.rest.get(&format!("/v1/webhooks/{id}/status")).await.json());
}

#[rstest]
#[tokio::test]
async fn a_webhook_is_watched_by_its_key_over_both_apis(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt 001/ü").await;
    hookbox.wait_for(&id, "processing").await;
    let path = "/v1/watch?idempotency_key=evt%20001%2F%C3%BC&source=default";
    let response = hookbox.rest.request(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let request = proto::WatchStatusRequest { idempotency_key: "evt 001/ü".into(), ..Default::default() };
    let changes = hookbox.grpc().watch_status(request).await.unwrap().into_inner();
    drop(gate);
    let seen = statuses(&response.text().await.unwrap());
    let words = seen.iter().map(|event| event["status"].as_str().unwrap());
    assert_eq!(words.collect::<Vec<_>>(), ["processing", "completed"]);
    assert!(seen.iter().all(|event| event["id"] == id.as_str()));
    let words = changes.map(|change| change.unwrap().status());
    assert_eq!(words.collect::<Vec<_>>().await, [proto::Status::Processing, proto::Status::Completed]);
}

#[rstest]
#[tokio::test]
async fn many_watchers_of_one_webhook_all_see_its_end(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "processing").await;
    let path = format!("/v1/webhooks/{id}/watch");
    let watchers: Vec<_> = (0..20)
        .map(|_| {
            let (rest, path) = (hookbox.rest.clone(), path.clone());
            tokio::spawn(async move { rest.get(&path).await })
        })
        .collect();
    eventually("a watcher", || async {
        let metrics = hookbox.rest.get("/metrics").await.text;
        let line =
            "hookbox_requests_total{api=\"rest\",endpoint=\"/v1/webhooks/{id}/watch\",code=\"200\"} 20";
        metrics.contains(line).then_some(())
    })
    .await;
    drop(gate);
    for watcher in watchers {
        let last = statuses(&watcher.await.unwrap().text).pop().unwrap();
        assert_eq!(last["status"], "completed");
    }
}

#[tokio::test]
async fn more_watchers_than_there_are_places_are_refused_over_both_apis() {
    let hookbox = Hookbox::start(Sqlite);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    let request = || proto::WatchStatusRequest { id: id.clone(), ..Default::default() };
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut client = hookbox.grpc();
        for _ in 0..100 {
            open.push(client.watch_status(request()).await.unwrap());
        }
    }
    let path = format!("/v1/webhooks/{id}/watch");
    let refused = hookbox.rest.get(&path).await;
    let problem = refused.problem(503, "STORE_UNAVAILABLE");
    assert!(problem["detail"].as_str().unwrap().starts_with("there are 1000 watchers"), "{problem}");
    assert_eq!(refused.header("retry-after"), "1");
    let refused = hookbox.grpc().watch_status(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(hookbox.rest.get("/v1/stats").await.status, 200, "other calls are served");
    drop(open);
    eventually("a watcher has gone", || async {
        let watched = hookbox.rest.request(Method::GET, &path).send().await.unwrap();
        (watched.status() == 200).then_some(())
    })
    .await;
    drop(gate);
}

#[rstest]
#[tokio::test]
async fn a_watch_that_the_stop_cuts_off_ends_with_an_error(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::start(store);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "processing").await;
    let path = format!("/v1/webhooks/{id}/watch");
    let response = hookbox.rest.request(Method::GET, &path).send().await.unwrap();
    let mut chunks = Box::pin(response.bytes_stream());
    let mut text = chunks.next().await.unwrap().unwrap().to_vec();
    hookbox.begin_to_stop();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    assert_eq!(statuses(&text).len(), 1, "{text}");
    let errors = events(&text, "error");
    assert_eq!(errors.len(), 1, "{text}");
    assert_eq!(
        (&errors[0]["reason"], &errors[0]["status"], &errors[0]["instance"]),
        (&json!("SHUTTING_DOWN"), &json!(503), &json!(path))
    );
    drop(gate);
}

/// The data of the events named `status`.
fn statuses(stream: &str) -> Vec<Value> {
    events(stream, "status")
}

/// The data of the events of a name.
fn events(stream: &str, name: &str) -> Vec<Value> {
    stream
        .split("\n\n")
        .filter(|event| event.contains(&format!("event: {name}")))
        .map(|event| {
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            serde_json::from_str(data).unwrap()
        })
        .collect()
}
