//! Real answers of both APIs, side by side.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use hookbox::internals::domain::delivery::{Answer, Delivery};
use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::operation_service_client::OperationServiceClient;
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::harness::handler::Step;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store};

/// The first route has every member that says what it matches, the second none but `fallback`. The third has a breaker.
const ROUTES: &str = r#"
    [[routes]]
    name = "orders"
    match = { source = "default", event_type = ["order.*", "refund.*"] }
    where = 'key != "ignored"'
    handler = "simulate"
    order_by = "/order_id"

    [[routes]]
    name = "rest"
    handler = "simulate"
    fallback = true

    [[routes]]
    name = "out"
    match = { event_type = "never" }
    handler = "http"
    url = "https://hooks.example.com/"
"#;

#[rstest]
#[tokio::test]
async fn both_apis_tell_the_same_of_a_webhook(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Fail("busy")]);
    let submitted = hookbox.rest.submit("evt-001", "order.created", r#"{"a":[1]}"#).await.json();
    let id = submitted["id"].as_str().unwrap().to_owned();
    hookbox.wait_for(&id, "retrying").await;
    let retrying = hookbox.rest.webhook(&id).await;
    assert_eq!(retrying, grpc_webhook(&hookbox, &id).await);
    assert_eq!(
        (&retrying["last_error"], &retrying["jobs"][0]["last_error"]),
        (&json!("busy"), &json!("busy"))
    );
    assert_eq!(retrying["next_attempt_at"], retrying["available_at"]);
    let gate = hookbox.handler.will_hold();
    hookbox.advance(HOUR);
    let processing = hookbox.wait_for(&id, "processing").await;
    assert_eq!(processing, grpc_webhook(&hookbox, &id).await);
    let job = &processing["jobs"][0];
    assert!(job["worker"].is_string() && job["lease_until"].is_string(), "{job}");
    drop(gate);
    hookbox.wait_for(&id, "completed").await;
    assert_eq!(hookbox.rest.webhook(&id).await, grpc_webhook(&hookbox, &id).await);
}

#[rstest]
#[tokio::test]
async fn both_apis_tell_the_same_of_what_was_sent_and_answered(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let answered = |body: &[u8], is_cut| Answer {
        status: 503,
        headers: vec![header("set-cookie", "a"), header("set-cookie", "b")],
        body: body.to_vec(),
        is_cut,
    };
    let sent = Delivery {
        method: "POST".to_owned(),
        url: "http://orders.internal/hooks".to_owned(),
        request_headers: vec![header("x-team", "***")],
        answer: None,
        connect_time: None,
        first_byte_time: None,
        total_time: Duration::from_micros(30_000_500),
    };
    let text = Delivery {
        answer: Some(answered("zajęty".as_bytes(), false)),
        connect_time: Some(Duration::from_micros(1_250)),
        first_byte_time: Some(Duration::from_micros(2_500)),
        ..sent.clone()
    };
    let binary = Delivery { answer: Some(answered(b"\xff\x00", true)), ..text.clone() };
    hookbox.handler.will([sent, text, binary].map(|delivery| Step::Deliver(Box::new(delivery))));
    let id = hookbox.rest.accept("evt-001").await;
    for (attempts, status) in [(1, "retrying"), (2, "retrying"), (3, "dead_lettered")] {
        hookbox.wait_for_runs(attempts).await;
        hookbox.wait_for(&id, status).await;
        hookbox.advance(HOUR);
    }
    assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await.status, 200);
    let webhook = hookbox.wait_for(&id, "completed").await;
    assert_eq!(webhook, grpc_webhook(&hookbox, &id).await);
    assert_eq!(webhook["attempts"], webhook["jobs"][0]["attempts"]);

    let attempts = webhook["attempts"].as_array().unwrap();
    let deliveries = attempts.iter().map(|attempt| attempt["delivery"].clone()).collect::<Vec<_>>();
    let headers = json!([{ "name": "set-cookie", "value": "a" }, { "name": "set-cookie", "value": "b" }]);
    let expected = |answer: Value, connect_ms: Value, first_byte_ms: Value| {
        json!({
            "method": "POST", "url": "http://orders.internal/hooks",
            "request_headers": [{ "name": "x-team", "value": "***" }], "answer": answer,
            "connect_ms": connect_ms, "first_byte_ms": first_byte_ms, "total_ms": 30_000.5,
        })
    };
    let text = json!({ "status": 503, "headers": headers, "body_text": "zajęty", "body_cut": false });
    let binary = json!({ "status": 503, "headers": headers, "body_base64": "/wA=", "body_cut": true });
    assert_eq!(deliveries[0], expected(Value::Null, Value::Null, Value::Null));
    assert_eq!(deliveries[1], expected(text, json!(1.25), json!(2.5)));
    assert_eq!(deliveries[2], expected(binary, json!(1.25), json!(2.5)));
    assert!(attempts[3].get("delivery").is_none(), "nothing was sent: {webhook}");
}

#[rstest]
#[tokio::test]
async fn both_apis_tell_the_same_of_a_status_a_list_and_a_submission(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Fail("busy")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    let mut client = hookbox.grpc();

    let request = proto::GetStatusRequest { id: id.clone(), ..Default::default() };
    let status = status_json(client.get_status(request).await.unwrap().into_inner());
    assert_eq!(hookbox.rest.get(&format!("/v1/webhooks/{id}/status")).await.json(), status);

    let request = proto::WatchStatusRequest { id: id.clone(), ..Default::default() };
    let watched = client.watch_status(request).await.unwrap().into_inner().next().await;
    assert_eq!(status_json(watched.unwrap().unwrap()), status);

    let page = client.list_webhooks(proto::ListWebhooksRequest::default()).await.unwrap().into_inner();
    let webhooks: Vec<_> = page.webhooks.into_iter().map(status_json).collect();
    let page = json!({
        "webhooks": webhooks, "next_page_token": page.next_page_token, "searched_to": time(page.searched_to),
    });
    assert_eq!(hookbox.rest.get("/v1/webhooks").await.json(), page);

    let request = proto::SubmitWebhookRequest {
        idempotency_key: "evt-001".into(),
        event_type: "order.created".into(),
        content: Some(proto::submit_webhook_request::Content::PayloadJson("{}".into())),
    };
    let submitted = client.submit_webhook(request).await.unwrap().into_inner();
    let submitted = json!({
        "id": submitted.id, "source": submitted.source, "idempotency_key": submitted.idempotency_key,
        "event_type": submitted.event_type, "status": word(submitted.status().as_str_name()),
        "duplicate": submitted.duplicate, "accepted_at": time(submitted.accepted_at),
        "last_error": submitted.last_error, "next_attempt_at": time(submitted.next_attempt_at),
    });
    assert_eq!(submitted["last_error"], "busy");
    assert_eq!(hookbox.rest.submit("evt-001", "order.created", "{}").await.json(), submitted);
}

#[rstest]
#[tokio::test]
async fn both_apis_tell_the_same_of_routes_pauses_and_counts(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    assert_eq!(hookbox.rest.post("/v1/pause?route=orders&reason=the%20shop%20moves").await.status, 200);
    assert_eq!(hookbox.rest.post("/v1/pause?source=default").await.status, 200);
    assert_eq!(hookbox.rest.post("/v1/pause").await.status, 200);
    let mut operations = OperationServiceClient::new(hookbox.channel());

    let pauses = operations.list_pauses(proto::ListPausesRequest {}).await.unwrap().into_inner().pauses;
    assert_eq!(pauses.len(), 3);
    let pauses: Vec<_> = pauses.into_iter().map(pause_json).collect();
    assert_eq!(hookbox.rest.get("/v1/pauses").await.json(), json!({ "pauses": pauses }));

    let routes = operations.list_routes(proto::ListRoutesRequest {}).await.unwrap().into_inner().routes;
    let routes: Vec<_> = routes.into_iter().map(route_json).collect();
    assert_eq!(hookbox.rest.get("/v1/routes").await.json(), json!({ "routes": routes }));

    let stats = hookbox.grpc().get_stats(proto::GetStatsRequest {}).await.unwrap().into_inner();
    let rest = hookbox.rest.get("/v1/stats").await.json();
    let routes: Vec<_> = stats.routes.into_iter().map(route_stats_json).collect();
    assert_eq!(rest["routes"], json!(routes));
    assert_eq!(rest["pauses"], json!(pauses));
    assert_eq!(rest["counts"], counts_json(stats.counts));
}

/// What gRPC tells of a webhook, written as REST writes it.
async fn grpc_webhook(hookbox: &Hookbox, id: &str) -> Value {
    let request = proto::GetWebhookRequest { id: id.to_owned(), ..Default::default() };
    let webhook = hookbox.grpc().get_webhook(request).await.unwrap().into_inner();
    let jobs: Vec<_> = webhook.jobs.iter().map(job_json).collect();
    let mut json = json!({
        "id": webhook.id, "source": webhook.source, "idempotency_key": webhook.idempotency_key,
        "event_type": webhook.event_type, "status": word(webhook.status().as_str_name()),
        "attempt_count": webhook.attempt_count, "accepted_at": time(webhook.accepted_at),
        "updated_at": time(webhook.updated_at), "max_attempts": webhook.max_attempts,
        "available_at": time(webhook.available_at), "completed_at": time(webhook.completed_at),
        "trace_id": webhook.trace_id, "attempts": attempts_json(&webhook.attempts), "jobs": jobs,
        "last_error": webhook.last_error, "next_attempt_at": time(webhook.next_attempt_at),
        "content_type": webhook.content_type, "headers": headers_json(&webhook.headers),
        "verdict": word(webhook.verdict().as_str_name()),
        "cause": webhook.cause.map(|_| word(webhook.cause().as_str_name())),
        "payload_size": webhook.payload_size,
    });
    for (member, text) in [("payload", &webhook.payload_json), ("result", &webhook.result_json)] {
        if let Some(text) = text {
            json[member] = serde_json::from_str(text).unwrap();
        }
    }
    json
}

fn job_json(job: &proto::Job) -> Value {
    let mut json = json!({
        "route": job.route, "handler": job.handler, "status": word(job.status().as_str_name()),
        "attempt_count": job.attempt_count, "max_attempts": job.max_attempts,
        "available_at": time(job.available_at), "completed_at": time(job.completed_at),
        "run": job.run, "replay": job.replay, "attempts": attempts_json(&job.attempts),
        "last_error": job.last_error, "next_attempt_at": time(job.next_attempt_at), "worker": job.worker,
        "lease_until": time(job.lease_until),
    });
    if let Some(result) = &job.result_json {
        json["result"] = serde_json::from_str(result).unwrap();
    }
    json
}

fn attempts_json(attempts: &[proto::Attempt]) -> Vec<Value> {
    let json = |attempt: &proto::Attempt| {
        let mut json = json!({
            "number": attempt.number, "run": attempt.run, "outcome": word(attempt.outcome().as_str_name()),
            "started_at": time(attempt.started_at), "finished_at": time(attempt.finished_at),
            "error": attempt.error, "worker": attempt.worker,
        });
        if let Some(delivery) = &attempt.delivery {
            json["delivery"] = delivery_json(delivery);
        }
        json
    };
    attempts.iter().map(json).collect()
}

fn headers_json(headers: &[proto::Header]) -> Vec<Value> {
    headers.iter().map(|header| json!({ "name": header.name, "value": header.value })).collect()
}

fn delivery_json(delivery: &proto::Delivery) -> Value {
    let answer = delivery.answer.as_ref().map(|answer| {
        let mut json = json!({
            "status": answer.status, "headers": headers_json(&answer.headers), "body_cut": answer.body_cut,
        });
        match std::str::from_utf8(&answer.body) {
            Ok(text) => json["body_text"] = text.into(),
            Err(_) => json["body_base64"] = STANDARD.encode(&answer.body).into(),
        }
        json
    });
    json!({
        "method": delivery.method, "url": delivery.url,
        "request_headers": headers_json(&delivery.request_headers), "answer": answer,
        "connect_ms": delivery.connect_ms, "first_byte_ms": delivery.first_byte_ms,
        "total_ms": delivery.total_ms,
    })
}

fn route_json(route: proto::Route) -> Value {
    let policy = route.policy.map(|policy| {
        json!({
            "timeout": policy.timeout, "concurrency": policy.concurrency, "rate": policy.rate,
            "max_attempts": policy.max_attempts, "retry_base": policy.retry_base,
            "retry_cap": policy.retry_cap, "on_dead_letter": policy.on_dead_letter,
            "on_interrupt": policy.on_interrupt, "breaker_failures": policy.breaker_failures,
            "breaker_base": policy.breaker_base, "breaker_cap": policy.breaker_cap,
        })
    });
    let breaker = route.breaker.map(|breaker| {
        json!({
            "state": breaker.state, "open_until": time(breaker.open_until), "trips": breaker.trips,
        })
    });
    let globs = route.r#match.map(|globs| json!({ "source": globs.source, "event_type": globs.event_type }));
    json!({
        "route": route.route, "handler": route.handler, "in_settings": route.in_settings,
        "counts": counts_json(route.counts), "oldest_due_seconds": route.oldest_due_seconds,
        "paused": route.paused, "match_failures": route.match_failures,
        "last_match_failure": route.last_match_failure, "paused_since": time(route.paused_since),
        "paused_by": route.paused_by, "pause_reason": route.pause_reason, "policy": policy, "match": globs,
        "where": route.r#where, "order_by": route.order_by,
        "fallback": route.fallback, "target": route.target, "breaker": breaker,
    })
}

fn route_stats_json(route: proto::RouteStats) -> Value {
    json!({
        "route": route.route, "handler": route.handler, "in_settings": route.in_settings,
        "counts": counts_json(route.counts), "oldest_due_seconds": route.oldest_due_seconds,
        "paused": route.paused, "match_failures": route.match_failures,
        "last_match_failure": route.last_match_failure,
    })
}

fn counts_json(counts: Option<proto::StatusCounts>) -> Value {
    let counts = counts.unwrap();
    json!({
        "pending": counts.pending, "processing": counts.processing, "retrying": counts.retrying,
        "completed": counts.completed, "dead_lettered": counts.dead_lettered,
        "cancelled": counts.cancelled, "filtered": counts.filtered, "quarantined": counts.quarantined,
    })
}

fn pause_json(pause: proto::Pause) -> Value {
    json!({
        "route": pause.route, "source": pause.source, "since": time(pause.since), "actor": pause.actor,
        "reason": pause.reason,
    })
}

fn status_json(status: proto::WebhookStatus) -> Value {
    json!({
        "id": status.id, "source": status.source, "idempotency_key": status.idempotency_key,
        "event_type": status.event_type, "status": word(status.status().as_str_name()),
        "attempt_count": status.attempt_count, "accepted_at": time(status.accepted_at),
        "updated_at": time(status.updated_at), "last_error": status.last_error,
        "next_attempt_at": time(status.next_attempt_at),
    })
}

/// `STATUS_DEAD_LETTERED` is `dead_lettered`.
fn word(name: &str) -> String {
    name.split_once('_').unwrap().1.to_lowercase()
}

fn time(time: Option<prost_types::Timestamp>) -> Option<String> {
    time.map(|time| format!("{:.3}", Timestamp::new(time.seconds, time.nanos).unwrap()))
}
