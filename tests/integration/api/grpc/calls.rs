//! Every call of the contract, where all is well.

use futures::StreamExt;
use hookbox::internals::grpc::proto::{self, Outcome, Status};
use rstest::rstest;

use super::{named, submission};
use crate::api::harness::handler::Step;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store};

const WAITING_OR_DONE: [Status; 4] =
    [Status::Pending, Status::Processing, Status::Retrying, Status::Completed];

fn statuses(statuses: impl IntoIterator<Item = Status>) -> Vec<i32> {
    statuses.into_iter().map(Into::into).collect()
}

#[rstest]
#[tokio::test]
async fn a_webhook_is_stored_once_and_recognised_again(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = hookbox.grpc();
    let first = client.submit_webhook(submission("evt-001", r#"{"a":1,"b":2}"#)).await.unwrap().into_inner();
    assert_eq!(uuid::Uuid::parse_str(&first.id).unwrap().get_version_num(), 7);
    let accepted_at = prost_types::Timestamp { seconds: 1_772_366_400, nanos: 0 };
    let expected = proto::SubmitWebhookResponse {
        id: first.id.clone(),
        source: "default".into(),
        idempotency_key: "evt-001".into(),
        event_type: "order.created".into(),
        status: Status::Pending.into(),
        duplicate: false,
        accepted_at: Some(accepted_at),
        last_error: None,
        next_attempt_at: None,
    };
    assert_eq!(first, expected);
    hookbox.wait_for(&first.id, "completed").await;
    let again = client.submit_webhook(submission("evt-001", r#"{"b":2, "a":1}"#)).await.unwrap().into_inner();
    let expected =
        proto::SubmitWebhookResponse { duplicate: true, status: Status::Completed.into(), ..expected };
    assert_eq!(again, expected);
    assert_eq!(hookbox.handler.runs().len(), 1);
}

#[rstest]
#[tokio::test]
async fn both_apis_know_the_same_webhooks(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let id = hookbox.rest.accept("evt-001").await;
    let again = hookbox.grpc().submit_webhook(submission("evt-001", "{}")).await.unwrap().into_inner();
    assert_eq!((again.id, again.duplicate), (id, true));
}

#[rstest]
#[tokio::test]
async fn the_status_is_found_by_key_and_by_id(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = hookbox.grpc();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let by_id = proto::GetStatusRequest { id: id.clone(), ..Default::default() };
    let by_key = proto::GetStatusRequest { idempotency_key: "evt-001".into(), ..Default::default() };
    let by_source = proto::GetStatusRequest { source: "default".into(), ..by_key.clone() };
    for request in [by_id, by_key, by_source] {
        let status = client.get_status(request).await.unwrap().into_inner();
        assert_eq!((&status.id, status.status(), status.attempt_count), (&id, Status::Completed, 1));
    }
}

#[rstest]
#[tokio::test]
async fn a_webhook_is_shown_in_full_with_its_attempts(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Fail("busy"), Step::Complete(serde_json::json!([1, 2]))]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    let mut client = hookbox.grpc();
    let waiting = client.get_webhook(named(&id)).await.unwrap().into_inner();
    assert_eq!((waiting.status(), &waiting.completed_at), (Status::Retrying, &None));
    assert_eq!(waiting.result_json, None);
    assert_eq!((waiting.last_error(), waiting.next_attempt_at), ("busy", waiting.available_at));
    hookbox.advance(HOUR);
    hookbox.wait_for(&id, "completed").await;
    let done = client.get_webhook(named(&id)).await.unwrap().into_inner();
    assert_eq!(done.payload_json.as_deref(), Some("{}"));
    assert_eq!(done.result_json.as_deref(), Some("[1,2]"));
    assert_eq!((done.max_attempts, done.trace_id.len()), (3, 32));
    assert!(done.completed_at.is_some());
    let [job] = &done.jobs[..] else { panic!("one job: {:?}", done.jobs) };
    assert_eq!((job.route.as_str(), job.status(), job.run), ("default", Status::Completed, 1));
    assert_eq!((&job.attempts, &job.result_json), (&done.attempts, &done.result_json));
    assert_eq!((job.attempt_count, job.max_attempts), (done.attempt_count, done.max_attempts));
    assert_eq!((job.available_at, job.completed_at), (done.available_at, done.completed_at));
    assert_eq!((&done.last_error, &done.next_attempt_at), (&None, &None));
    let outcomes: Vec<_> =
        done.attempts.iter().map(|attempt| (attempt.number, attempt.outcome(), attempt.error())).collect();
    assert_eq!(outcomes, [(1, Outcome::Failed, "busy"), (2, Outcome::Completed, "")]);
    assert_eq!(done.attempts[1].error, None);
}

#[rstest]
#[tokio::test]
async fn webhooks_are_listed_newest_first_page_by_page_and_filtered(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    let mut client = hookbox.grpc();
    let mut ids = Vec::new();
    for number in 0..7 {
        let id = hookbox.rest.accept(&format!("evt-{number}")).await;
        // An hour is more than a lease lasts.
        hookbox.wait_for(&id, "completed").await;
        ids.push(id);
        hookbox.advance(HOUR);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut request = proto::ListWebhooksRequest { page_size: 3, ..Default::default() };
    loop {
        let page = client.list_webhooks(request.clone()).await.unwrap().into_inner();
        seen.extend(page.webhooks.into_iter().map(|webhook| webhook.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, ids);

    let third_hour = prost_types::Timestamp { seconds: 1_772_366_400 + 3 * 3600, nanos: 0 };
    let none = proto::ListWebhooksRequest::default;
    for (request, expected) in [
        (proto::ListWebhooksRequest { accepted_before: Some(third_hour), ..none() }, &ids[4..]),
        (proto::ListWebhooksRequest { accepted_after: Some(third_hour), ..none() }, &ids[..4]),
        (proto::ListWebhooksRequest { event_type: "order.created".into(), ..none() }, &ids[..]),
        (proto::ListWebhooksRequest { source: "default".into(), ..none() }, &ids[..]),
        (proto::ListWebhooksRequest { route: "default".into(), ..none() }, &ids[..]),
        (proto::ListWebhooksRequest { route: "other".into(), ..none() }, &[]),
        (proto::ListWebhooksRequest { status: statuses([Status::Cancelled]), ..none() }, &[]),
        (
            proto::ListWebhooksRequest { status: statuses([Status::Filtered, Status::Cancelled]), ..none() },
            &[],
        ),
        (proto::ListWebhooksRequest { status: statuses([Status::Unspecified]), ..none() }, &ids[..]),
        (proto::ListWebhooksRequest { status: statuses(WAITING_OR_DONE), ..none() }, &ids[..]),
    ] {
        let page = client.list_webhooks(request.clone()).await.unwrap().into_inner();
        let listed: Vec<_> = page.webhooks.into_iter().map(|webhook| webhook.id).collect();
        assert_eq!(listed, expected, "{request:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_watcher_sees_every_change_in_order_and_the_stream_ends(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "processing").await;
    hookbox.handler.will([Step::FailForGood("never")]);
    let request = proto::WatchStatusRequest { idempotency_key: "evt-001".into(), ..Default::default() };
    let mut changes = hookbox.grpc().watch_status(request).await.unwrap().into_inner();
    let first = changes.next().await.unwrap().unwrap();
    assert_eq!((first.status(), first.attempt_count), (Status::Processing, 1));
    drop(gate);
    let last = changes.next().await.unwrap().unwrap();
    assert_eq!((last.status(), last.attempt_count), (Status::Completed, 1));
    assert!(changes.next().await.is_none());
}

#[rstest]
#[tokio::test]
async fn a_watcher_follows_failures_and_a_retry(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Fail("one")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    let request = proto::WatchStatusRequest { id, ..Default::default() };
    let changes = hookbox.grpc().watch_status(request).await.unwrap().into_inner();
    let mut changes = changes.map(|change| change.unwrap());
    let first = changes.next().await.unwrap();
    assert_eq!((first.status(), first.last_error()), (Status::Retrying, "one"));
    assert!(first.next_attempt_at.is_some());
    hookbox.handler.will([Step::FailForGood("two")]);
    hookbox.advance(HOUR);
    let rest: Vec<_> = changes.collect().await;
    let seen: Vec<_> = rest
        .iter()
        .map(|change| (change.status(), change.attempt_count, change.last_error(), change.next_attempt_at))
        .collect();
    assert_eq!(seen, [(Status::Processing, 2, "", None), (Status::DeadLettered, 2, "two", None)]);
}

#[rstest]
#[tokio::test]
async fn a_webhook_is_cancelled_and_retried(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("workers", "1")]);
    let gate = hookbox.handler.will_hold();
    hookbox.rest.accept("running").await;
    let id = hookbox.rest.accept("evt-001").await;
    let mut client = hookbox.grpc();
    let cancel = proto::CancelWebhookRequest { id: id.clone(), ..Default::default() };
    assert_eq!(client.cancel_webhook(cancel).await.unwrap().into_inner().status(), Status::Cancelled);
    let retry =
        proto::RetryWebhookRequest { id: id.clone(), route: Some("default".into()), ..Default::default() };
    assert_eq!(client.retry_webhook(retry).await.unwrap().into_inner().status(), Status::Pending);
    drop(gate);
    hookbox.wait_for(&id, "completed").await;
}

#[rstest]
#[tokio::test]
async fn a_webhook_is_shown_cancelled_and_retried_by_its_key(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::FailForGood("no"), Step::Fail("later")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "dead_lettered").await;
    let mut client = hookbox.grpc();
    let (key, source) = (|| "evt-001".to_owned(), || "default".to_owned());

    let get = proto::GetWebhookRequest { idempotency_key: key(), ..Default::default() };
    let shown = client.get_webhook(get).await.unwrap().into_inner();
    assert_eq!((shown.id.as_str(), shown.last_error()), (id.as_str(), "no"));
    assert_eq!(shown, client.get_webhook(named(&id)).await.unwrap().into_inner());
    let retry = proto::RetryWebhookRequest { idempotency_key: key(), source: source(), ..Default::default() };
    let retried = client.retry_webhook(retry).await.unwrap().into_inner();
    assert_eq!((retried.id.as_str(), retried.status()), (id.as_str(), Status::Pending));
    hookbox.wait_for(&id, "retrying").await;
    let route = Some("default".to_owned());
    let cancel = proto::CancelWebhookRequest { idempotency_key: key(), route, ..Default::default() };
    let cancelled = client.cancel_webhook(cancel).await.unwrap().into_inner();
    assert_eq!((cancelled.id.as_str(), cancelled.status()), (id.as_str(), Status::Cancelled));
}

#[rstest]
#[tokio::test]
async fn the_statistics_are_those_of_rest(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("workers", "1")]);
    let gate = hookbox.handler.will_hold();
    hookbox.rest.accept("running").await;
    hookbox.wait_for_runs(1).await;
    hookbox.rest.accept("waiting").await;
    hookbox.advance(jiff::SignedDuration::from_secs(10));
    let stats = hookbox.grpc().get_stats(proto::GetStatsRequest {}).await.unwrap().into_inner();
    let counts = proto::StatusCounts { pending: 1, processing: 1, ..Default::default() };
    assert_eq!(stats.counts, Some(counts));
    let [route] = &stats.routes[..] else { panic!("one route: {:?}", stats.routes) };
    assert_eq!((route.route.as_str(), route.in_settings, route.paused), ("default", true, false));
    assert_eq!((route.counts, route.oldest_due_seconds), (Some(counts), 10.0));
    assert_eq!(stats.pauses, []);
    assert_eq!(stats.workers, Some(proto::WorkerCounts { total: 1, busy: 1 }));
    assert_eq!(stats.oldest_due_seconds, 10.0);
    assert_eq!(stats.rates.unwrap().accepted_per_second, 2.0 / 60.0);
    drop(gate);
}
