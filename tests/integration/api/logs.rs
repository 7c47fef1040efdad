//! What the log tells of a webhook: everything at the level `debug`, and dead letters always.

mod faults;

use rstest::rstest;
use serde_json::{Value, json};

use crate::api::harness::gate::Gate;
use crate::api::harness::process::{Place, Process};
use crate::api::harness::{Postgres, Sqlite, Store, eventually};
use crate::api::work::call;

/// Is part of a payload, so it must not be logged.
const SECRET: &str = "4111-1111";

const ACCEPTED: &str = "a submission is accepted";
const REFUSED: &str = "a submission is refused";

const DEAD_LETTERED: &str = "a job is dead-lettered; retry it by hand once the cause is gone";
const NOT_COMPLETED: &str = "an attempt did not complete";

/// Attempts take an hour. On PostgreSQL a process takes nothing over in the first third of a lease.
const ENDLESS: [(&str, &str); 3] =
    [("HOOKBOX_SIMULATE_MIN", "1h"), ("HOOKBOX_SIMULATE_MAX", "1h"), ("HOOKBOX_LEASE", "1s")];

/// The lines of hookbox itself with this level and message, in their order.
fn lines(process: &Process, level: &str, message: &str) -> Vec<Value> {
    let log = process.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_ours = |line: &Value| line["target"].as_str().is_some_and(|target| target.starts_with("hookbox"));
    lines.filter(|line| line["level"] == level && line["message"] == message && is_ours(line)).collect()
}

/// The debug events with this message.
fn events(process: &Process, message: &str) -> Vec<Value> {
    lines(process, "DEBUG", message)
}

/// Checks the fields of a line about a request or an attempt.
#[track_caller]
fn has(event: &Value, fields: &Value) {
    has_fields(event, fields);
    assert_eq!(event["trace_id"].as_str().map(str::len), Some(32), "{event}");
}

#[track_caller]
fn has_fields(line: &Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(line[name], *value, "{name} of {line}");
    }
}

/// Lets the leases of a process that was killed expire. On SQLite the next process does not wait for that.
fn expire_leases(place: &Place, store: Store) {
    if store == Postgres {
        place.execute("UPDATE jobs SET lease_until = now() - interval '1 hour' WHERE status = 1");
    }
}

#[rstest]
#[tokio::test]
async fn debug_events_follow_a_webhook_from_its_submission_to_its_outcome(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let place = Place::on(store, &[("HOOKBOX_LOG", "debug")]);
    let process = place.serve().await;
    let submit = async |key: &str, number: u32| {
        let payload = json!({ "card": SECRET, "number": number }).to_string();
        process.rest.submit(key, "order.created", &payload).await
    };
    let id = submit("evt-001", 1).await.text_of("id");
    assert_eq!(submit("evt-001", 1).await.status, 200);
    submit("evt-001", 2).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    submit("", 1).await.problem(400, "INVALID_FIELD");
    let invalid = hookbox::internals::grpc::proto::SubmitWebhookRequest::default();
    place.grpc().await.submit_webhook(invalid).await.unwrap_err();
    process.wait_for(&id, "completed").await;

    let accepted = events(&process, ACCEPTED);
    let names = json!({ "source": "default", "idempotency_key": "evt-001" });
    assert_eq!(accepted.len(), 2, "{accepted:#?}");
    for (event, outcome) in accepted.iter().zip(["accepted", "duplicate"]) {
        has(event, &names);
        has(event, &json!({ "webhook_id": id, "outcome": outcome, "matched": "default" }));
    }
    let refused = events(&process, REFUSED);
    assert_eq!(refused.len(), 3, "{refused:#?}");
    has(&refused[0], &names);
    has(&refused[0], &json!({ "outcome": "IDEMPOTENCY_KEY_REUSED" }));
    for event in &refused[1..] {
        has(event, &json!({ "outcome": "INVALID_FIELD", "field": "idempotency_key" }));
    }

    let attempt = json!({ "webhook_id": id, "route": "default", "attempt": 1 });
    let (started, ended) = (events(&process, "an attempt starts"), events(&process, "an attempt ended"));
    assert_eq!((started.len(), ended.len()), (1, 1), "{started:#?} {ended:#?}");
    for event in started.iter().chain(&ended) {
        has(event, &names);
        has(event, &attempt);
        assert_eq!(event["trace_id"], accepted[0]["trace_id"]);
    }
    has(&started[0], &json!({ "handler": "simulate" }));
    has(&ended[0], &json!({ "outcome": "completed", "status": "completed" }));
    assert!(!process.log().contains(SECRET), "{}", process.log());
}

#[tokio::test]
async fn jobs_run_and_the_process_stops_while_nobody_reads_the_log() {
    // With long keys, their lines are much more than a pipe holds.
    const WEBHOOKS: usize = 100;
    let place = Place::new(&[("HOOKBOX_LOG", "debug")]);
    let (_reader, writer) = std::io::pipe().unwrap();
    let process = place.start_with_log_into(writer);
    eventually("hookbox being ready", || async {
        let answer = process.rest.request(reqwest::Method::GET, "/readyz").send().await;
        answer.is_ok_and(|answer| answer.status() == 200).then_some(())
    })
    .await;
    for number in 0..WEBHOOKS {
        let id = process.rest.accept(&format!("{number:0200}")).await;
        process.wait_for(&id, "completed").await;
    }
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn a_failed_attempt_is_logged_with_the_next_status_and_its_time() {
    let place = Place::new(&[("HOOKBOX_LOG", "hookbox=debug"), ("HOOKBOX_SIMULATE_FAILURE_RATE", "1")]);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "retrying").await;
    let ended = events(&process, "an attempt ended").remove(0);
    has(&ended, &json!({ "webhook_id": id, "outcome": "failed", "status": "retrying" }));
    assert!(ended["due_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{ended}");
}

#[tokio::test]
async fn at_the_default_level_a_webhook_that_completes_is_not_logged() {
    let place = Place::new(&[]);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "completed").await;
    assert!(!process.log().contains(&id), "{}", process.log());
}

#[rstest]
#[tokio::test]
async fn a_dead_letter_is_logged_with_its_names_and_the_error(#[values(Sqlite, Postgres)] store: Store) {
    let settings = [("HOOKBOX_SIMULATE_FAILURE_RATE", "1"), ("HOOKBOX_MAX_ATTEMPTS", "1")];
    let place = Place::on(store, &settings);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for_log(DEAD_LETTERED).await;
    let logged = lines(&process, "WARN", DEAD_LETTERED);
    assert_eq!(logged.len(), 1, "{logged:#?}");
    has(&logged[0], &json!({ "webhook_id": id, "route": "default", "source": "default", "attempts": 1 }));
    has(&logged[0], &json!({ "event_type": "order.created" }));
    assert!(logged[0]["error"].as_str().is_some_and(|error| error.contains("simulated")), "{}", logged[0]);
}

#[rstest]
#[tokio::test]
async fn a_failed_attempt_that_lost_its_lease_is_not_logged_as_a_dead_letter(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let place = Place::on(store, &[("HOOKBOX_MAX_ATTEMPTS", "1")]);
    let gate = Gate::before("exit 1", &place);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "processing").await;
    // As if another process had claimed it.
    place.execute("UPDATE jobs SET lease_token = lease_token + 1");
    let _opened = gate.open();
    process.wait_for_log("the lease was lost before the attempt ended").await;
    assert!(!process.log().contains(DEAD_LETTERED), "{}", process.log());
}

#[rstest]
#[tokio::test]
async fn leases_that_are_lost_together_are_logged_once_a_second(#[values(Sqlite, Postgres)] store: Store) {
    const ATTEMPTS: usize = 20;
    let place = Place::on(store, &[("HOOKBOX_WORKERS", "32")]);
    let gate = Gate::before("exit 0", &place);
    let process = place.serve().await;
    let mut ids = Vec::new();
    for number in 0..ATTEMPTS {
        ids.push(process.rest.accept(&format!("evt-{number}")).await);
    }
    for id in &ids {
        process.wait_for(id, "processing").await;
    }
    // As if another process had claimed them.
    place.execute("UPDATE jobs SET lease_token = lease_token + 1");
    let _opened = gate.open();
    eventually("the loss of all leases", || async {
        let metrics = process.rest.get("/metrics").await.text;
        metrics.contains(&format!("hookbox_leases_lost_total {ATTEMPTS}\n")).then_some(())
    })
    .await;
    let logged =
        lines(&process, "WARN", "the lease was lost before the attempt ended; its outcome does not count");
    assert!(!logged.is_empty() && logged.len() < ATTEMPTS, "{logged:#?}");
    assert_eq!(logged[0]["times"], 1, "{}", logged[0]);
}

#[tokio::test]
async fn outcomes_that_a_worker_reports_without_a_lease_are_logged_once_a_second() {
    const REPORTS: usize = 20;
    let place = Place::new(&[]);
    let routes = "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n";
    std::fs::write(place.path("hookbox.toml"), routes).unwrap();
    let process = place.serve().await;
    process.rest.accept("evt-001").await;
    let asked = json!({ "routes": ["orders"], "worker": "host-1" });
    let leased = call(&process.rest, "lease", &asked).await.json();
    let outcome = json!({ "lease": leased["jobs"][0]["lease"], "completed": {} });
    let report = json!({ "worker": "host-2", "outcomes": [outcome] });
    for _ in 0..REPORTS {
        let answer = call(&process.rest, "finish", &report).await;
        assert_eq!(answer.json()["jobs"][0]["recorded"], false, "{}", answer.text);
    }
    let logged = "a worker reported outcomes after it had lost their leases; they do not count";
    let logged = lines(&process, "WARN", logged);
    assert!(!logged.is_empty() && logged.len() < REPORTS, "{logged:#?}");
    has_fields(&logged[0], &json!({ "times": 1, "worker": "host-2", "outcomes": 1 }));
}

#[rstest]
#[tokio::test]
async fn a_take_over_counts_and_logs_each_attempt_and_each_dead_letter_with_its_reason(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let kept = r#"
        [[routes]]
        name = "spent"
        match = { event_type = "spent" }
        retry = { attempts = 1 }

        [[routes]]
        name = "final"
        match = { event_type = "final" }
        on_interrupt = "dead_letter"

        [[routes]]
        name = "again"
        match = { event_type = "again" }
    "#;
    let gone = "\n[[routes]]\nname = \"gone\"\nmatch = { event_type = \"gone\" }\n";
    let place = Place::on(store, &ENDLESS);
    std::fs::write(place.path("hookbox.toml"), format!("{kept}{gone}")).unwrap();
    let process = place.serve().await;
    let mut ids = Vec::new();
    for route in ["spent", "final", "again", "gone"] {
        let id = process.rest.submit(route, route, "{}").await.text_of("id");
        process.wait_for(&id, "processing").await;
        ids.push(id);
    }
    // Kills it.
    drop(process);
    expire_leases(&place, store);
    std::fs::write(place.path("hookbox.toml"), kept).unwrap();

    let successor = place.serve().await;
    for at in [0, 1, 3] {
        successor.wait_for(&ids[at], "dead_lettered").await;
    }
    let by_route = async |level: &str, message: &str, count: usize| {
        let logged = || async {
            let logged = lines(&successor, level, message);
            (logged.len() >= count).then_some(logged)
        };
        let mut logged = eventually(message, logged).await;
        logged.sort_by_key(|line| line["route"].to_string());
        logged
    };
    let attempts = by_route("INFO", NOT_COMPLETED, ids.len()).await;
    let logged = by_route("WARN", DEAD_LETTERED, 3).await;
    let names = attempts.iter().map(|line| line["route"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["again", "final", "gone", "spent"]);
    for line in &attempts {
        has_fields(line, &json!({ "outcome": "interrupted", "attempt": 1 }));
        has_fields(line, &json!({ "error": "the process died or lost the lease during the attempt" }));
    }
    let metrics = successor.rest.get("/metrics").await.text;
    for (route, handler) in
        [("spent", "simulate"), ("final", "simulate"), ("again", "simulate"), ("gone", "unknown")]
    {
        let labels = format!(r#"route="{route}",handler="{handler}",outcome="interrupted""#);
        let counted = format!("\nhookbox_attempts_total{{{labels}}} 1\n");
        assert!(metrics.contains(&counted), "{counted} in {metrics}");
    }
    let expected = [
        ("final", &ids[1], "on_interrupt of the route is dead_letter"),
        ("gone", &ids[3], "the route is not in the settings"),
        ("spent", &ids[0], "no attempts are left"),
    ];
    assert_eq!(logged.len(), expected.len(), "{logged:#?}");
    for (line, (route, id, reason)) in logged.iter().zip(expected) {
        has_fields(line, &json!({ "route": route, "webhook_id": id, "reason": reason, "attempts": 1 }));
        has_fields(line, &json!({ "error": "the process died or lost the lease during the attempt" }));
    }
}

#[rstest]
#[tokio::test]
async fn a_take_over_of_many_attempts_and_dead_letters_logs_20_of_them_and_how_many_more(
    #[values(Sqlite, Postgres)] store: Store,
) {
    const DEAD_LETTERS: usize = 23;
    let mut place = Place::on(store, &ENDLESS);
    place.set("HOOKBOX_WORKERS", "32");
    place.set("HOOKBOX_MAX_ATTEMPTS", "1");
    let process = place.serve().await;
    let mut ids = Vec::new();
    for number in 0..DEAD_LETTERS {
        ids.push(process.rest.accept(&format!("evt-{number}")).await);
    }
    for id in &ids {
        process.wait_for(id, "processing").await;
    }
    // Kills it.
    drop(process);
    expire_leases(&place, store);

    let successor = place.serve().await;
    let further = "further jobs of this take-over are dead-lettered, without a line for each";
    successor.wait_for_log(further).await;
    assert_eq!(lines(&successor, "WARN", DEAD_LETTERED).len(), 20);
    let further = lines(&successor, "WARN", further);
    assert_eq!(further.len(), 1, "{further:#?}");
    assert_eq!(further[0]["jobs"], DEAD_LETTERS - 20, "{}", further[0]);
    assert_eq!(lines(&successor, "INFO", NOT_COMPLETED).len(), 20);
    let further = "further attempts of this take-over did not complete, without a line for each";
    let further = lines(&successor, "INFO", further);
    assert_eq!(further.len(), 1, "{further:#?}");
    assert_eq!(further[0]["attempts"], DEAD_LETTERS - 20, "{}", further[0]);
}
