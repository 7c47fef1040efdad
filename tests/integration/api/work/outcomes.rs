//! Jobs that are leased, and how their attempts end.

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::job_outcome::Outcome;
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::{ORDERS, call, finish, grpc, lease, lease_one};
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store};

#[rstest]
#[tokio::test]
async fn a_job_is_leased_and_completed_over_rest(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let payload = r#"{ "total" : 1.50, "id":12345678901234567890123 }"#;
    let id = hookbox.rest.submit("evt-001", "order.created", payload).await.text_of("id");
    let answer =
        call(&hookbox.rest, "lease", &json!({ "routes": ["orders"], "worker": "host-1", "lease": "90s" }))
            .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.contains(payload), "byte for byte: {}", answer.text);
    let job = answer.json()["jobs"][0].clone();
    let webhook = hookbox.wait_for(&id, "processing").await;
    assert_eq!(job["traceparent"].as_str().unwrap().split('-').nth(1), webhook["trace_id"].as_str());
    let lease = job["lease"].clone();
    let expected = json!({
        "lease": lease, "webhook_id": id, "delivery_id": format!("{id}_orders"), "route": "orders",
        "source": "default", "idempotency_key": "evt-001", "event_type": "order.created",
        "payload": job["payload"], "content_type": "application/json", "traceparent": job["traceparent"], "attempt": 1, "run": 1,
        "lease_until": "2026-03-01T12:01:30.000Z",
    });
    assert_eq!(job, expected);

    hookbox.advance(SignedDuration::from_secs(5));
    let completed = json!({ "completed": { "result": { "invoice": 7 } } });
    let finished = finish(&hookbox.rest, "host-1", &lease, completed).await;
    assert_eq!(finished, json!({ "lease": lease, "recorded": true, "status": "completed" }));
    let done = hookbox.rest.webhook(&id).await;
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!({ "invoice": 7 })));
    assert_eq!(done["jobs"][0]["handler"], "pull");
    let attempt = json!({
        "number": 1, "run": 1, "outcome": "completed", "started_at": "2026-03-01T12:00:00.000Z",
        "finished_at": "2026-03-01T12:00:05.000Z", "error": null, "worker": "host-1",
    });
    assert_eq!(done["attempts"], json!([attempt]));
    assert!(hookbox.handler.runs().is_empty(), "hookbox runs nothing");
}

#[rstest]
#[tokio::test]
async fn a_job_is_leased_and_completed_over_grpc(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let mut client = grpc(&hookbox);
    let id = hookbox.rest.submit("evt-001", "order.created", "[1 , 2]").await.text_of("id");
    let request = proto::LeaseJobsRequest {
        routes: vec!["orders".into()],
        worker: "host-1".into(),
        lease: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
        ..Default::default()
    };
    let jobs = client.lease_jobs(request.clone()).await.unwrap().into_inner().jobs;
    let [job] = &jobs[..] else { panic!("one job: {jobs:?}") };
    let expected = proto::LeasedJob {
        lease: job.lease.clone(),
        webhook_id: id.clone(),
        delivery_id: format!("{id}_orders"),
        route: "orders".into(),
        source: "default".into(),
        idempotency_key: "evt-001".into(),
        event_type: "order.created".into(),
        payload_json: Some("[1 , 2]".into()),
        traceparent: job.traceparent.clone(),
        attempt: 1,
        run: 1,
        lease_until: Some(prost_types::Timestamp { seconds: 1_772_366_490, nanos: 0 }),
        payload_bytes: None,
        content_type: "application/json".into(),
    };
    assert_eq!(*job, expected);
    assert!(client.lease_jobs(request).await.unwrap().into_inner().jobs.is_empty(), "it is leased");

    let extend =
        proto::ExtendLeasesRequest { worker: "host-1".into(), leases: vec![job.lease.clone()], lease: None };
    let extended = client.extend_leases(extend).await.unwrap().into_inner().leases;
    let lease_until = Some(prost_types::Timestamp { seconds: 1_772_366_460, nanos: 0 });
    assert_eq!(extended, [proto::ExtendedLease { lease: job.lease.clone(), held: true, lease_until }]);

    let outcome = Outcome::Completed(proto::CompletedJob { result_json: "{\"n\" : 1}".into() });
    let finish = proto::FinishJobsRequest {
        worker: "host-1".into(),
        outcomes: vec![proto::JobOutcome { lease: job.lease.clone(), outcome: Some(outcome) }],
    };
    for (recorded, status) in [(true, Some(proto::Status::Completed.into())), (false, None)] {
        let finished = client.finish_jobs(finish.clone()).await.unwrap().into_inner().jobs;
        assert_eq!(finished, [proto::FinishedJob { lease: job.lease.clone(), recorded, status }]);
    }
    let request = proto::GetWebhookRequest { id, ..Default::default() };
    let done = hookbox.grpc().get_webhook(request).await.unwrap().into_inner();
    assert_eq!(done.result_json.as_deref(), Some("{\"n\" : 1}"));
}

#[rstest]
#[tokio::test]
async fn a_failed_attempt_is_retried_after_the_time_that_the_worker_asks_for(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    let first = lease_one(&hookbox.rest, "host-1").await;
    let failed = json!({ "failed": { "error": "the bank is closed", "retry_after": "90s" } });
    let finished = finish(&hookbox.rest, "host-1", &first["lease"], failed).await;
    assert_eq!((&finished["recorded"], &finished["status"]), (&json!(true), &json!("retrying")));
    let waiting = hookbox.rest.webhook(&id).await;
    assert_eq!(waiting["available_at"], "2026-03-01T12:01:30.000Z");
    assert_eq!(waiting["last_error"], "the bank is closed");

    hookbox.advance(SignedDuration::from_millis(89_999));
    assert_eq!(lease(&hookbox.rest, "host-2").await, Vec::<Value>::new());
    hookbox.advance(SignedDuration::from_millis(1));
    let second = lease_one(&hookbox.rest, "host-2").await;
    assert_eq!((&second["attempt"], &second["run"]), (&json!(2), &json!(1)));
    assert_eq!(second["delivery_id"], first["delivery_id"]);
    assert_ne!(second["lease"], first["lease"]);
    finish(&hookbox.rest, "host-2", &second["lease"], json!({ "completed": {} })).await;
    let done = hookbox.rest.webhook(&id).await;
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &Value::Null));
    let history = done["attempts"].as_array().unwrap().iter();
    let history = history.map(|attempt| (attempt["outcome"].clone(), attempt["worker"].clone()));
    let expected = [("failed", "host-1"), ("completed", "host-2")];
    assert_eq!(
        history.collect::<Vec<_>>(),
        expected.map(|(outcome, worker)| (json!(outcome), json!(worker)))
    );
}

#[rstest]
#[tokio::test]
async fn failures_are_retried_as_the_route_says_until_its_attempts_are_used_up(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    for status in ["retrying", "retrying", "dead_lettered"] {
        let job = lease_one(&hookbox.rest, "host-1").await;
        let failed = json!({ "failed": { "error": "no" } });
        assert_eq!(finish(&hookbox.rest, "host-1", &job["lease"], failed).await["status"], status);
        hookbox.advance(HOUR);
    }
    let dead = hookbox.rest.webhook(&id).await;
    assert_eq!((&dead["status"], &dead["attempt_count"]), (&json!("dead_lettered"), &json!(3)));

    assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await.status, 200);
    let job = lease_one(&hookbox.rest, "host-1").await;
    assert_eq!((&job["attempt"], &job["run"]), (&json!(4), &json!(2)));
    assert_eq!(job["delivery_id"], format!("{id}_orders_2"));
}

#[rstest]
#[tokio::test]
async fn a_permanent_failure_is_a_dead_letter_and_counts_as_one(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    let job = lease_one(&hookbox.rest, "host-1").await;
    let failed = json!({ "failed": { "error": "e".repeat(3_000), "permanent": true } });
    let finished = finish(&hookbox.rest, "host-1", &job["lease"], failed).await;
    assert_eq!(finished["status"], "dead_lettered");
    let dead = hookbox.rest.webhook(&id).await;
    assert_eq!(dead["attempt_count"], 1);
    assert_eq!(dead["last_error"].as_str().unwrap().chars().count(), 2_000, "cut off, with an ellipsis");
    let metrics = hookbox.rest.get("/metrics").await.text;
    for line in [
        r#"hookbox_attempts_total{route="orders",handler="pull",outcome="failed"} 1"#,
        r#"hookbox_dead_letters_total{route="orders"} 1"#,
        r#"hookbox_queue_wait_seconds_count{route="orders"} 1"#,
        r#"hookbox_attempt_duration_seconds_count{route="orders",handler="pull"} 1"#,
        "hookbox_workers_busy 0",
        "hookbox_pull_polls 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}

#[rstest]
#[tokio::test]
async fn several_jobs_are_leased_and_finished_with_one_request_each(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(hookbox.rest.accept(&format!("evt-{number}")).await);
        hookbox.advance(SignedDuration::from_secs(1));
    }
    let body = json!({ "routes": ["orders"], "worker": "host-1", "max_jobs": 3 });
    let jobs = call(&hookbox.rest, "lease", &body).await.json()["jobs"].as_array().unwrap().clone();
    let leased: Vec<_> = jobs.iter().map(|job| job["webhook_id"].as_str().unwrap()).collect();
    assert_eq!(leased, ids[..3], "those that are due longest");
    let outcomes = [
        json!({ "lease": jobs[2]["lease"], "completed": { "result": null } }),
        json!({ "lease": jobs[0]["lease"], "failed": { "permanent": true } }),
        json!({ "lease": jobs[1]["lease"], "completed": { "result": "done" } }),
    ];
    let answer =
        call(&hookbox.rest, "finish", &json!({ "worker": "host-1", "outcomes": outcomes })).await.json();
    let finished = answer["jobs"].as_array().unwrap().iter();
    let finished = finished.map(|job| (job["lease"].clone(), job["status"].as_str().unwrap().to_owned()));
    let expected = [(2, "completed"), (0, "dead_lettered"), (1, "completed")];
    let expected = expected.map(|(at, status): (usize, _)| (jobs[at]["lease"].clone(), status.to_owned()));
    assert_eq!(finished.collect::<Vec<_>>(), expected, "in the order of the request");
    assert_eq!(hookbox.rest.webhook(&ids[0]).await["last_error"], "the worker did not say why");
    assert_eq!(hookbox.rest.webhook(&ids[1]).await["result"], "done");
    assert_eq!(lease(&hookbox.rest, "host-1").await.len(), 2);
}

#[rstest]
#[tokio::test]
async fn a_job_whose_route_has_gone_ends_with_what_its_worker_reports(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let (done, failed) = (hookbox.rest.accept("evt-001").await, hookbox.rest.accept("evt-002").await);
    let jobs = lease(&hookbox.rest, "host-1").await;
    hookbox.set_routes("[[routes]]\nname = \"others\"\nhandler = \"pull\"\n");
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    for job in jobs {
        let (outcome, status) = if job["webhook_id"] == done.as_str() {
            (json!({ "completed": {} }), "completed")
        } else {
            (json!({ "failed": { "error": "no" } }), "dead_lettered")
        };
        assert_eq!(finish(&hookbox.rest, "host-1", &job["lease"], outcome).await["status"], status);
    }
    assert_eq!(hookbox.rest.webhook(&failed).await["status"], "dead_lettered");
}
