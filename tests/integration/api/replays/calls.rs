//! Both APIs tell the same of replays.

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::operation_service_client::OperationServiceClient;
use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use super::{accept, completed, has_restarted, replay, started};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

#[rstest]
#[tokio::test]
async fn replays_are_started_listed_and_cancelled_over_grpc(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = OperationServiceClient::new(hookbox.channel());
    accept(&hookbox, &["evt-001", "evt-002"]).await;
    let filter = proto::ReplayFilter {
        status: vec![proto::Status::Completed.into(), proto::Status::Cancelled.into()],
        route: Some("default".to_owned()),
        source: Some("default".to_owned()),
        event_type: Some("order.created".to_owned()),
        verdict: Some(proto::Verdict::None.into()),
        cause: None,
        idempotency_key: None,
        trace_id: None,
        error_contains: None,
        body_pointer: None,
        body_equals: Some("{}".to_owned()),
        body_contains: Some("}".to_owned()),
        accepted_after: Some(prost_types::Timestamp { seconds: 1_772_366_400, nanos: 0 }),
        accepted_before: Some(prost_types::Timestamp { seconds: 1_772_366_401, nanos: 0 }),
    };
    let dry_run =
        proto::StartReplayRequest { filter: Some(filter.clone()), dry_run: true, ..Default::default() };
    let counted = client.start_replay(dry_run).await.unwrap().into_inner();
    assert_eq!((counted.state.as_str(), counted.counts.unwrap().jobs), ("completed", 2));
    assert_eq!(counted.filter.as_ref(), Some(&filter));

    let slowly = proto::StartReplayRequest {
        filter: Some(filter),
        reason: Some("lost orders".to_owned()),
        rate: Some("1/h".to_owned()),
        dry_run: false,
    };
    let running = client.start_replay(slowly).await.unwrap().into_inner();
    assert_eq!((running.number, running.state.as_str()), (2, "running"));
    has_restarted(&hookbox.rest, 2, 1).await;
    let cancel = proto::CancelReplayRequest { number: 2, reason: Some("enough".to_owned()) };
    let cancelled = client.cancel_replay(cancel).await.unwrap().into_inner();
    let found = client.get_replay(proto::GetReplayRequest { number: 2 }).await.unwrap().into_inner();
    assert_eq!((found.state.as_str(), &found), ("cancelled", &cancelled));

    for (page_size, page_token, numbers, next) in [(1, "", 2, "2"), (1, "2", 1, "")] {
        let request = proto::ListReplaysRequest { page_size, page_token: page_token.to_owned() };
        let page = client.list_replays(request).await.unwrap().into_inner();
        assert_eq!(page.replays.iter().map(|replay| replay.number).collect::<Vec<_>>(), [numbers]);
        assert_eq!(page.next_page_token, next);
    }
}

#[rstest]
#[tokio::test]
async fn both_apis_tell_the_same_of_replays(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = OperationServiceClient::new(hookbox.channel());
    let id = accept(&hookbox, &["evt-001"]).await.remove(0);
    let all = json!({ "status": ["completed"], "route": "default", "source": "default" });
    let first = json!({ "filter": all, "reason": "lost orders" });
    let unverified = json!({
        "verdict": "unverified", "cause": "signature_missing", "idempotency_key": "evt-001",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "error_contains": "503", "body_pointer": "/order",
        "body_equals": "7", "body_contains": "order", "event_type": "order.created",
    });
    let nothing = started(&hookbox.rest, &json!({ "filter": unverified, "dry_run": true })).await;
    completed(&hookbox.rest, nothing).await;
    completed(&hookbox.rest, started(&hookbox.rest, &first).await).await;
    hookbox.wait_for(&id, "completed").await;
    let named = proto::GetWebhookRequest { id: id.clone(), ..Default::default() };
    let webhook = WebhookServiceClient::new(hookbox.channel()).get_webhook(named).await.unwrap().into_inner();
    assert_eq!(webhook.jobs[0].replay, Some(2));
    // It waits for a job that is due and does not start.
    assert_eq!(hookbox.rest.post("/v1/pause").await.status, 200);
    hookbox.rest.accept("evt-002").await;
    hookbox.advance(SignedDuration::from_secs(2));
    let [after, before] = ["2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"];
    let times = json!({ "accepted_after": after, "accepted_before": before });
    started(&hookbox.rest, &json!({ "filter": times, "rate": "50/s" })).await;
    eventually("a replay that waits", || async {
        (!replay(&hookbox.rest, 3).await["waiting_for"].is_null()).then_some(())
    })
    .await;

    let page = client.list_replays(proto::ListReplaysRequest::default()).await.unwrap().into_inner();
    assert_eq!(page.replays.len(), 3);
    let replays: Vec<_> = page.replays.into_iter().map(replay_json).collect();
    let page = json!({ "replays": replays, "next_page_token": page.next_page_token });
    assert_eq!(hookbox.rest.get("/v1/replays").await.json(), page);
    for told in replays {
        assert_eq!(replay(&hookbox.rest, told["number"].as_u64().unwrap()).await, told);
    }
}

#[tokio::test]
async fn the_times_of_a_filter_are_told_as_exactly_as_they_were_given() {
    let hookbox = Hookbox::start(Sqlite);
    let (after, before) = ("1969-12-31T23:59:59.250Z", "2026-03-01T12:00:00.6101Z");
    let times = json!({ "accepted_after": after, "accepted_before": before });
    let number = started(&hookbox.rest, &json!({ "filter": times, "dry_run": true })).await;
    assert_eq!(replay(&hookbox.rest, number).await["filter"], times);
    let mut client = OperationServiceClient::new(hookbox.channel());
    let found = client.get_replay(proto::GetReplayRequest { number }).await.unwrap().into_inner();
    let (filter, time) = (found.filter.unwrap(), |seconds, nanos| prost_types::Timestamp { seconds, nanos });
    assert_eq!(filter.accepted_after, Some(time(-1, 250_000_000)));
    assert_eq!(filter.accepted_before, Some(time(1_772_366_400, 610_100_000)));
}

/// What gRPC tells of a replay, written as REST writes it.
fn replay_json(replay: proto::Replay) -> Value {
    let counts = replay.counts.unwrap();
    json!({
        "number": replay.number, "state": replay.state, "filter": filter_json(replay.filter.unwrap()),
        "reason": replay.reason, "actor": replay.actor, "rate": replay.rate, "dry_run": replay.dry_run,
        "counts": {
            "webhooks": counts.webhooks, "jobs": counts.jobs, "unfinished": counts.unfinished,
            "payload_gone": counts.payload_gone, "route_gone": counts.route_gone,
            "without_jobs": counts.without_jobs,
        },
        "progress": replay.progress, "looked_to": time(replay.looked_to), "waiting_for": replay.waiting_for,
        "started_at": time(replay.started_at), "updated_at": time(replay.updated_at),
        "ended_at": time(replay.ended_at),
    })
}

/// Only the filters that were given are there.
fn filter_json(filter: proto::ReplayFilter) -> Value {
    // `STATUS_DEAD_LETTERED` is `dead_lettered`.
    let word = |name: &str| name.split_once('_').unwrap().1.to_lowercase();
    let status: Vec<_> = filter.status().map(|status| word(status.as_str_name())).collect();
    let verdict = filter.verdict.map(|_| word(filter.verdict().as_str_name()));
    let cause = filter.cause.map(|_| word(filter.cause().as_str_name()));
    let all = json!({
        "status": status, "route": filter.route, "source": filter.source, "event_type": filter.event_type,
        "verdict": verdict, "cause": cause, "idempotency_key": filter.idempotency_key,
        "trace_id": filter.trace_id, "error_contains": filter.error_contains,
        "body_pointer": filter.body_pointer, "body_equals": filter.body_equals,
        "body_contains": filter.body_contains, "accepted_after": time(filter.accepted_after),
        "accepted_before": time(filter.accepted_before),
    });
    let members = all.as_object().unwrap().clone().into_iter();
    members.filter(|(_, value)| !value.is_null() && *value != json!([])).collect()
}

fn time(time: Option<prost_types::Timestamp>) -> Option<String> {
    time.map(|time| format!("{:.3}", Timestamp::new(time.seconds, time.nanos).unwrap()))
}
