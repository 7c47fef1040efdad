//! What workers are refused.

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::job_outcome::Outcome;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{ORDERS, call, grpc, lease_one};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// The text of a lease that no worker holds.
const LEASE: &str = "01934c3e-7b00-7000-8000-000000000000.1.1";

/// A route that workers pull, and one that they do not.
fn routes() -> String {
    format!(
        "{ORDERS}\n[[routes]]\nname = \"run\"\nmatch = {{ event_type = \"run\" }}\nhandler = \"simulate\"\n"
    )
}

/// A request to lease jobs of the route `orders`, with other members.
fn asked(members: &Value) -> Value {
    let mut body = json!({ "routes": ["orders"], "worker": "host-1" });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_wrong_member_is_named() {
    let hookbox = Hookbox::with_routes(Sqlite, &routes());
    let long = "w".repeat(129);
    let many = vec![json!({ "lease": LEASE, "completed": {} }); 101];
    let outcome = |outcome: Value| json!({ "worker": "host-1", "outcomes": [outcome] });
    let large = "x".repeat(65_536);
    for (path, body, field) in [
        ("lease", asked(&json!({ "routes": [] })), "routes"),
        ("lease", asked(&json!({ "routes": vec!["orders"; 101] })), "routes"),
        ("lease", asked(&json!({ "routes": ["No Route"] })), "routes"),
        ("lease", asked(&json!({ "worker": "" })), "worker"),
        ("lease", asked(&json!({ "worker": "host 1" })), "worker"),
        ("lease", asked(&json!({ "worker": long })), "worker"),
        ("lease", asked(&json!({ "max_jobs": 101 })), "max_jobs"),
        ("lease", asked(&json!({ "wait": "31s" })), "wait"),
        ("lease", asked(&json!({ "wait": "soon" })), "wait"),
        ("lease", asked(&json!({ "wait": "0M" })), "wait"),
        ("lease", asked(&json!({ "wait": "1s 1s" })), "wait"),
        ("lease", asked(&json!({ "lease": "999ms" })), "lease"),
        ("lease", asked(&json!({ "lease": "13h" })), "lease"),
        ("lease", asked(&json!({ "waits": "1s" })), "waits"),
        ("lease", json!({ "routes": ["orders"] }), "worker"),
        ("extend", json!({ "worker": "host-1", "leases": [] }), "leases"),
        ("extend", json!({ "worker": "host-1", "leases": [LEASE, LEASE] }), "leases[1]"),
        ("extend", json!({ "worker": "host-1", "leases": ["1"] }), "leases[0]"),
        ("extend", json!({ "worker": "host-1", "leases": [LEASE], "lease": "0s" }), "lease"),
        ("extend", json!({ "worker": "\n", "leases": [LEASE] }), "worker"),
        ("finish", json!({ "worker": "host-1", "outcomes": [] }), "outcomes"),
        ("finish", json!({ "worker": "host-1", "outcomes": many }), "outcomes"),
        ("finish", json!({ "worker": "host-1", "outcomes": many[..2] }), "outcomes[1].lease"),
        ("finish", json!({ "worker": "", "outcomes": many[..1] }), "worker"),
        ("finish", outcome(json!({ "lease": "garbage", "completed": {} })), "outcomes[0].lease"),
        ("finish", outcome(json!({ "lease": LEASE })), "outcomes[0]"),
        ("finish", outcome(json!({ "lease": LEASE, "completed": {}, "failed": {} })), "outcomes[0]"),
        (
            "finish",
            outcome(json!({ "lease": LEASE, "completed": { "result": large } })),
            "outcomes[0].completed.result",
        ),
        (
            "finish",
            outcome(json!({ "lease": LEASE, "failed": { "retry_after": "later" } })),
            "outcomes[0].failed.retry_after",
        ),
        (
            "finish",
            outcome(json!({ "lease": LEASE, "failed": { "retry_after": "2592001s" } })),
            "outcomes[0].failed.retry_after",
        ),
        (
            "finish",
            outcome(json!({ "lease": LEASE, "failed": { "errors": "no" } })),
            "outcomes[0].failed.errors",
        ),
    ] {
        call(&hookbox.rest, path, &body).await.refused_field(field);
    }
    let longest = outcome(json!({ "lease": LEASE, "failed": { "retry_after": "30d" } }));
    assert_eq!(call(&hookbox.rest, "finish", &longest).await.status, 200);
    let many = asked(&json!({ "max_jobs": 101 }));
    let problem = call(&hookbox.rest, "lease", &many).await.refused_field("max_jobs");
    assert_eq!(problem["detail"], "`max_jobs` must be from 0 to 100; 0 means 10");
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_over_both_apis() {
    let hookbox = Hookbox::with_routes(Sqlite, &routes());
    let long = json!({ "routes": ["orders", "No"], "worker": "a b", "max_jobs": 101, "wait": "31s", "lease": "13h" });
    for (path, body, fields) in [
        ("lease", json!({}), &["routes", "worker"][..]),
        ("lease", long, &["routes", "worker", "max_jobs", "wait", "lease"]),
        // Whether there is such a route is looked up only if nothing else is wrong.
        ("lease", json!({ "routes": ["other"], "max_jobs": 101 }), &["worker", "max_jobs"]),
        ("extend", json!({}), &["worker", "leases"]),
        ("extend", json!({ "leases": ["1"], "lease": "0s" }), &["worker", "leases[0]", "lease"]),
        ("finish", json!({}), &["worker", "outcomes"]),
        ("finish", json!({ "outcomes": [{ "lease": LEASE }] }), &["worker", "outcomes[0]"]),
    ] {
        let problem = call(&hookbox.rest, path, &body).await.refused_field(fields[0]);
        let violations = problem["violations"].as_array().unwrap();
        let named = violations.iter().map(|violation| violation["field"].as_str().unwrap());
        assert_eq!(named.collect::<Vec<_>>(), fields, "{problem}");
    }
    let mut client = grpc(&hookbox);
    for (status, fields) in [
        (client.lease_jobs(proto::LeaseJobsRequest::default()).await.unwrap_err(), ["routes", "worker"]),
        (
            client.extend_leases(proto::ExtendLeasesRequest::default()).await.unwrap_err(),
            ["worker", "leases"],
        ),
        (client.finish_jobs(proto::FinishJobsRequest::default()).await.unwrap_err(), ["worker", "outcomes"]),
    ] {
        assert_eq!(fields_of(&status), fields, "{status}");
    }
}

#[rstest]
#[tokio::test]
async fn a_result_that_many_clients_cannot_read_is_refused(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    let lease = lease_one(&hookbox.rest, "host-1").await["lease"].as_str().unwrap().to_owned();
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for (result, problem) in
        [(r#"{"t":"cut \ud83d"}"#, "half of a surrogate pair"), (deep.as_str(), "128 levels")]
    {
        let outcome = format!(r#"{{"lease":"{lease}","completed":{{"result":{result}}}}}"#);
        let request = hookbox.rest.request(reqwest::Method::POST, "/v1/work/finish");
        let request = request.header("content-type", "application/json");
        let body = format!(r#"{{"worker":"host-1","outcomes":[{outcome}]}}"#);
        let refused = crate::api::harness::client::Answer::of(request.body(body)).await;
        let refused = refused.refused_field("outcomes[0].completed.result");
        assert!(refused["detail"].as_str().unwrap().contains(problem), "{refused}");

        let outcome = Outcome::Completed(proto::CompletedJob { result_json: result.to_owned() });
        let finish = proto::FinishJobsRequest {
            worker: "host-1".into(),
            outcomes: vec![proto::JobOutcome { lease: lease.clone(), outcome: Some(outcome) }],
        };
        let status = grpc(&hookbox).finish_jobs(finish).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(problem), "{status}");
    }
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "processing", "another outcome can be reported");
}

#[tokio::test]
async fn a_route_that_workers_cannot_pull_is_refused() {
    let hookbox = Hookbox::with_routes(Sqlite, &routes());
    let unknown = call(&hookbox.rest, "lease", &asked(&json!({ "routes": ["orders", "other"] }))).await;
    let problem = unknown.problem(404, "ROUTE_NOT_FOUND");
    assert!(problem["detail"].as_str().unwrap().contains("`other`"), "{problem}");
    let run = call(&hookbox.rest, "lease", &asked(&json!({ "routes": ["run", "orders"] }))).await;
    let problem = run.problem(409, "ROUTE_NOT_PULLED");
    assert!(problem["detail"].as_str().unwrap().contains("`run`"), "{problem}");
}

#[tokio::test]
async fn a_member_of_a_wrong_type_is_refused_with_what_to_write() {
    let hookbox = Hookbox::with_routes(Sqlite, &routes());
    let outcome = |outcome: Value| json!({ "worker": "host-1", "outcomes": [{ "lease": LEASE }, outcome] });
    let from_0 = "a whole number from 0 to 4294967295";
    let duration = "a duration in a string, such as \"30s\"";
    for (path, body, field, is, must_be) in [
        ("lease", asked(&json!({ "max_jobs": "1" })), "max_jobs", "a string", from_0),
        ("lease", asked(&json!({ "max_jobs": -1 })), "max_jobs", "the number -1", from_0),
        ("lease", asked(&json!({ "max_jobs": 1.5 })), "max_jobs", "the number 1.5", from_0),
        ("lease", asked(&json!({ "max_jobs": null })), "max_jobs", "null", from_0),
        ("lease", asked(&json!({ "wait": 30 })), "wait", "the number 30", duration),
        ("lease", asked(&json!({ "routes": "orders" })), "routes", "a string", "an array"),
        ("lease", asked(&json!({ "routes": ["orders", {}] })), "routes[1]", "an object", "a string"),
        ("extend", json!({ "worker": true, "leases": [] }), "worker", "a boolean", "a string"),
        ("finish", outcome(json!({ "lease": 7 })), "outcomes[1].lease", "the number 7", "a string"),
        (
            "finish",
            outcome(json!({ "lease": LEASE, "failed": { "retry_after": 30 } })),
            "outcomes[1].failed.retry_after",
            "the number 30",
            duration,
        ),
        (
            "finish",
            outcome(json!({ "lease": LEASE, "failed": { "permanent": "yes, \": expected " } })),
            "outcomes[1].failed.permanent",
            "a string",
            "a boolean",
        ),
    ] {
        let problem = call(&hookbox.rest, path, &body).await.refused_field(field);
        let detail = format!("`{field}` is {is}; it must be {must_be}");
        assert_eq!(problem["detail"], detail);
        assert_eq!(problem["violations"], json!([{ "field": field, "detail": detail }]));
    }
    let missing = call(&hookbox.rest, "finish", &outcome(json!({ "completed": {} }))).await;
    assert_eq!(missing.refused_field("outcomes[1].lease")["detail"], "`outcomes[1].lease` is missing");
    let soon = call(&hookbox.rest, "lease", &asked(&json!({ "wait": "30" }))).await;
    let detail = soon.refused_field("wait")["detail"].clone();
    let expected = "`wait` must be a duration: a whole number and one of d, h, m, s and ms, such as \"30s\"";
    assert_eq!(detail, expected);
}

#[tokio::test]
async fn a_member_that_is_given_twice_is_named_with_its_place() {
    let hookbox = Hookbox::with_routes(Sqlite, &routes());
    let body = r#"{"worker":"host-1","outcomes":[{"lease":"a","lease":"b"}]}"#;
    let request = hookbox.rest.request(reqwest::Method::POST, "/v1/work/finish");
    let request = request.header("content-type", "application/json").body(body);
    let problem = crate::api::harness::client::Answer::of(request).await.refused_field("outcomes[0].lease");
    assert_eq!(problem["detail"], "`outcomes[0].lease` is given twice; give it once");
}

#[tokio::test]
async fn bodies_that_are_no_objects_are_refused() {
    let hookbox = Hookbox::with_routes(Sqlite, ORDERS);
    for (path, body, is) in [
        ("lease", json!([]), "an array"),
        ("extend", json!(7), "the number 7"),
        ("finish", json!("x"), "a string"),
        ("finish", Value::Null, "null"),
    ] {
        let problem = call(&hookbox.rest, path, &body).await.problem(400, "INVALID_FIELD");
        assert_eq!(problem["detail"], format!("the body is {is}; it must be an object"));
    }
    let request = hookbox.rest.request(reqwest::Method::POST, "/v1/work/lease").body("{}");
    let answer = crate::api::harness::client::Answer::of(request).await;
    answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn an_array_in_place_of_an_object_is_refused_wherever_it_is() {
    let hookbox = Hookbox::with_routes(Sqlite, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    let lease = lease_one(&hookbox.rest, "host-1").await["lease"].clone();
    for (outcome, field) in [
        (json!([lease, [1], null]), "outcomes[0]"),
        (json!({ "lease": lease, "completed": [1] }), "outcomes[0].completed"),
        (json!({ "lease": lease, "failed": ["the bank is closed", "1s", true] }), "outcomes[0].failed"),
    ] {
        let body = json!({ "worker": "host-1", "outcomes": [outcome] });
        let problem = call(&hookbox.rest, "finish", &body).await.refused_field(field);
        assert_eq!(problem["detail"], format!("`{field}` is an array; it must be an object"));
    }
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "processing");
}

#[rstest]
#[tokio::test]
async fn a_request_with_a_wrong_outcome_records_none(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    let job = lease_one(&hookbox.rest, "host-1").await;
    let outcomes = json!([{ "lease": job["lease"], "completed": {} }, { "lease": "no", "completed": {} }]);
    let body = json!({ "worker": "host-1", "outcomes": outcomes });
    call(&hookbox.rest, "finish", &body).await.refused_field("outcomes[1].lease");
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "processing");
}

#[rstest]
#[tokio::test]
async fn the_outcome_of_a_lease_that_no_worker_holds_is_not_recorded(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let finished = super::finish(&hookbox.rest, "host-1", &json!(LEASE), json!({ "completed": {} })).await;
    assert_eq!(finished, super::not_recorded(&json!(LEASE)));
    assert_eq!(super::extend(&hookbox.rest, "host-1", &json!(LEASE), "60s").await["held"], false);
}

#[rstest]
#[tokio::test]
async fn no_worker_can_end_or_extend_an_attempt_that_hookbox_runs(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, "[[routes]]\nname = \"run\"\nhandler = \"simulate\"\n");
    let id = hookbox.rest.accept("evt-001").await;
    let ended = hookbox.wait_for(&id, "completed").await;
    let process = ended["attempts"][0]["worker"].as_str().unwrap();
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for_runs(2).await;

    // One of them is its lease.
    let id = id.as_str();
    let leases = (1..=3).flat_map(|queue| (1..=9).map(move |token| format!("{id}.{queue}.{token}")));
    let leases = leases.collect::<Vec<_>>();
    let completed = |lease: &String| json!({ "lease": lease, "completed": { "result": "theirs" } });
    let outcomes = leases.iter().map(completed).collect::<Vec<_>>();
    let extend = |worker: &str| json!({ "worker": worker, "leases": leases });
    let finish = |worker: &str| json!({ "worker": worker, "outcomes": outcomes });
    call(&hookbox.rest, "extend", &extend(process)).await.refused_field("worker");
    call(&hookbox.rest, "finish", &finish(process)).await.refused_field("worker");
    for worker in [process.replace(' ', "-"), process.replace(' ', ""), "host-1".to_owned()] {
        let extended = call(&hookbox.rest, "extend", &extend(&worker)).await.json();
        let finished = call(&hookbox.rest, "finish", &finish(&worker)).await.json();
        for (lease, finished) in leases.iter().zip(finished["jobs"].as_array().unwrap()) {
            assert_eq!(*finished, super::not_recorded(&json!(lease)));
        }
        let extended = extended["leases"].as_array().unwrap();
        assert!(extended.iter().all(|lease| lease["held"] == false), "{extended:?}");
    }
    drop(gate);
    let done = hookbox.wait_for(id, "completed").await;
    assert_eq!(done["result"], json!({ "handled": "order.created" }));
}

#[tokio::test]
async fn grpc_names_a_wrong_field_and_a_wrong_route() {
    let hookbox = Hookbox::with_routes(Sqlite, &routes());
    let mut client = grpc(&hookbox);
    let good = proto::LeaseJobsRequest {
        routes: vec!["orders".into()],
        worker: "host-1".into(),
        ..Default::default()
    };
    let seconds = |seconds: i64, nanos: i32| Some(prost_types::Duration { seconds, nanos });
    for (request, field) in [
        (proto::LeaseJobsRequest { routes: vec![], ..good.clone() }, "routes"),
        (proto::LeaseJobsRequest { worker: "a b".into(), ..good.clone() }, "worker"),
        (proto::LeaseJobsRequest { max_jobs: 101, ..good.clone() }, "max_jobs"),
        (proto::LeaseJobsRequest { wait: seconds(30, 1), ..good.clone() }, "wait"),
        (proto::LeaseJobsRequest { wait: seconds(-1, 0), ..good.clone() }, "wait"),
        (proto::LeaseJobsRequest { wait: seconds(1, 1_000_000_000), ..good.clone() }, "wait"),
        (proto::LeaseJobsRequest { lease: seconds(0, 0), ..good.clone() }, "lease"),
    ] {
        let status = client.lease_jobs(request).await.unwrap_err();
        assert_eq!(field_of(&status), field, "{status}");
    }
    for (route, code, reason) in
        [("other", Code::NotFound, "ROUTE_NOT_FOUND"), ("run", Code::FailedPrecondition, "ROUTE_NOT_PULLED")]
    {
        let request = proto::LeaseJobsRequest { routes: vec![route.into()], ..good.clone() };
        refused(&client.lease_jobs(request).await.unwrap_err(), code, reason);
    }
    let outcome = |outcome| proto::JobOutcome { lease: LEASE.into(), outcome };
    let completed = |json: &str| Some(Outcome::Completed(proto::CompletedJob { result_json: json.into() }));
    let failed = |retry_after| Some(Outcome::Failed(proto::FailedJob { retry_after, ..Default::default() }));
    for (outcome, field) in [
        (outcome(None), "outcomes[0]"),
        (outcome(completed("{")), "outcomes[0].completed.result_json"),
        (outcome(failed(seconds(i64::MIN, i32::MIN))), "outcomes[0].failed.retry_after"),
        (outcome(failed(seconds(30 * 24 * 60 * 60, 1))), "outcomes[0].failed.retry_after"),
        (proto::JobOutcome { lease: String::new(), outcome: completed("1") }, "outcomes[0].lease"),
    ] {
        let request = proto::FinishJobsRequest { worker: "host-1".into(), outcomes: vec![outcome] };
        let status = client.finish_jobs(request).await.unwrap_err();
        assert_eq!(field_of(&status), field, "{status}");
    }
}

#[track_caller]
fn field_of(status: &Status) -> String {
    fields_of(status).remove(0)
}

#[track_caller]
fn fields_of(status: &Status) -> Vec<String> {
    refused(status, Code::InvalidArgument, "INVALID_FIELD");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|violation| violation.field).collect()
}

#[track_caller]
fn refused(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status}");
    assert_eq!(status.get_details_error_info().expect("an ErrorInfo").reason, reason, "{status}");
}
