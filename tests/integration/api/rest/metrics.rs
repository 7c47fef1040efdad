//! What `GET /metrics` says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use rstest::rstest;
use tokio::time::Instant;

use crate::api::harness::client::Rest;
use crate::api::harness::handler::Step;
use crate::api::harness::process::Place;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store, eventually};

/// How long metrics wait for the store. An answer that took less has all of it.
const STORE_TIME: Duration = Duration::from_secs(2);

const DEAD_LETTERS: &str = r#"hookbox_dead_letters_total{route="default"}"#;

#[rstest]
#[tokio::test]
async fn counters_are_0_before_anything_has_happened(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let metrics = metrics(&hookbox.rest).await;
    let refusals = [
        "IDEMPOTENCY_KEY_REUSED",
        "RATE_LIMITED",
        "BACKLOG_FULL",
        "STORE_UNAVAILABLE",
        "SHUTTING_DOWN",
        "INTERNAL",
    ];
    let submissions = ["accepted", "duplicate", "duplicate_other_content"]
        .into_iter()
        .chain(refusals)
        .map(|outcome| format!(r#"hookbox_submissions_total{{source="default",outcome="{outcome}"}}"#));
    let attempts = ["completed", "failed", "interrupted"].into_iter().map(|outcome| {
        format!(r#"hookbox_attempts_total{{route="default",handler="simulate",outcome="{outcome}"}}"#)
    });
    let purged = ["payload", "webhook"].map(|what| format!(r#"hookbox_purged_total{{what="{what}"}}"#));
    let others = [
        DEAD_LETTERS,
        r#"hookbox_attempt_duration_seconds_count{route="default",handler="simulate"}"#,
        r#"hookbox_queue_wait_seconds_count{route="default"}"#,
        "hookbox_leases_lost_total",
        "hookbox_commit_failures_total",
    ];
    let others = others.into_iter().map(str::to_owned);
    for name in submissions.chain(attempts).chain(purged).chain(others) {
        assert_eq!(metrics.get(&name), Some(&0.0), "{name} in {metrics:#?}");
    }
}

#[rstest]
#[tokio::test]
async fn counters_of_a_route_are_0_as_soon_as_it_is_in_force(#[values(Sqlite, Postgres)] store: Store) {
    let route = |name: &str| format!("[[routes]]\nname = \"{name}\"\nhandler = \"simulate\"\n");
    let hookbox = Hookbox::with_routes(store, &route("orders"));
    let counters = |name: &str| {
        [
            format!(r#"hookbox_attempts_total{{route="{name}",handler="simulate",outcome="failed"}}"#),
            format!(r#"hookbox_dead_letters_total{{route="{name}"}}"#),
        ]
    };
    let before = metrics(&hookbox.rest).await;
    hookbox.set_routes(&[route("orders"), route("invoices")].concat());
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    let after = metrics(&hookbox.rest).await;
    for counter in counters("orders") {
        assert_eq!(before.get(&counter), Some(&0.0), "{counter} in {before:#?}");
    }
    for counter in counters("invoices") {
        assert_eq!(before.get(&counter), None, "{counter}");
        assert_eq!(after.get(&counter), Some(&0.0), "{counter} in {after:#?}");
    }
}

#[rstest]
#[tokio::test]
async fn series_of_a_route_that_is_gone_are_removed_once_it_has_no_jobs(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let retention = ["completed", "dead_lettered", "keys"].map(|of| format!("retention_{of} = \"1h\"\n"));
    let route = |name: &&str| {
        let members = format!("match = {{ event_type = \"{name}\" }}\nhandler = \"simulate\"");
        format!("[[routes]]\nname = \"{name}\"\n{members}\n")
    };
    let settings = |routes: &[&str]| retention.concat() + &routes.iter().map(route).collect::<String>();
    let hookbox = Hookbox::with_routes(store, &settings(&["kept", "used", "unused"]));
    let id = hookbox.rest.submit("evt-001", "used", "{}").await.text_of("id");
    hookbox.wait_for(&id, "completed").await;
    // The metrics that have series of a route.
    let metrics_of = async |name: &str| {
        let named = format!("{{route=\"{name}\"");
        let series = metrics(&hookbox.rest).await.into_keys().filter(|series| series.contains(&named));
        let metrics = series.map(|series| series.split('{').next().unwrap_or_default().to_owned());
        metrics.collect::<BTreeSet<_>>()
    };
    let of_used = metrics_of("used").await;
    for metric in ["attempts_total", "attempt_duration_seconds_sum", "queue_wait_seconds_sum", "jobs"] {
        assert!(of_used.contains(&format!("hookbox_{metric}")), "{metric} in {of_used:?}");
    }
    assert_eq!(metrics_of("unused").await, of_used);

    hookbox.set_routes(&settings(&["kept"]));
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    assert_eq!(metrics_of("unused").await, BTreeSet::new());
    assert_eq!(metrics_of("used").await, of_used, "it has a job");
    assert_eq!(metrics_of("kept").await, of_used);
    hookbox.advance(HOUR * 2);
    hookbox
        .as_time_passes("the end of the series", || async {
            metrics_of("used").await.is_empty().then_some(())
        })
        .await;
}

#[rstest]
#[tokio::test]
async fn metrics_move_with_what_happens(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("max_attempts", "2"), ("rate_limit", "2/m")]);
    hookbox.handler.will([Step::Fail("once")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    hookbox.advance(HOUR);
    hookbox.wait_for(&id, "completed").await;
    hookbox.rest.submit("evt-001", "order.created", "{}").await;
    hookbox.rest.submit("evt-001", "order.created", "1").await;
    hookbox.rest.submit("evt-002", "t", "1").await.problem(429, "RATE_LIMITED");
    hookbox.rest.submit("", "t", "1").await;

    // A worker counts as free a moment after its outcome can be seen.
    let metrics = eventually("an idle pool", || async {
        let metrics = metrics(&hookbox.rest).await;
        (metrics["hookbox_workers_busy"] == 0.0).then_some(metrics)
    })
    .await;
    for (name, value) in [
        (r#"hookbox_submissions_total{source="default",outcome="accepted"}"#, 1.0),
        (r#"hookbox_submissions_total{source="default",outcome="duplicate"}"#, 1.0),
        (r#"hookbox_submissions_total{source="default",outcome="IDEMPOTENCY_KEY_REUSED"}"#, 1.0),
        (r#"hookbox_submissions_total{source="default",outcome="RATE_LIMITED"}"#, 1.0),
        (r#"hookbox_requests_total{api="rest",endpoint="/v1/webhooks",code="202"}"#, 1.0),
        (r#"hookbox_requests_total{api="rest",endpoint="/v1/webhooks",code="400"}"#, 1.0),
        (r#"hookbox_attempts_total{route="default",handler="simulate",outcome="completed"}"#, 1.0),
        (r#"hookbox_attempts_total{route="default",handler="simulate",outcome="failed"}"#, 1.0),
        (r#"hookbox_jobs{route="default",status="completed"}"#, 1.0),
        (r#"hookbox_jobs{route="default",status="pending"}"#, 0.0),
        (r#"hookbox_unrouted{what="filtered"}"#, 0.0),
        (r#"hookbox_route_paused{route="default"}"#, 0.0),
        ("hookbox_pauses", 0.0),
        ("hookbox_submit_duration_seconds_count", 4.0),
        (r#"hookbox_attempt_duration_seconds_count{route="default",handler="simulate"}"#, 2.0),
        (r#"hookbox_queue_wait_seconds_count{route="default"}"#, 2.0),
        ("hookbox_oldest_due_seconds", 0.0),
        ("hookbox_workers", 2.0),
        ("hookbox_abandoned_threads", 0.0),
        ("hookbox_leases_lost_total", 0.0),
        ("hookbox_commit_failures_total", 0.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:#?}");
    }
    assert!(metrics["hookbox_commit_duration_seconds_count"] >= 4.0);
}

#[rstest]
#[tokio::test]
async fn metrics_name_each_pause_while_it_is_in_force(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let targets = [
        ("", r#"hookbox_paused{scope="everything",name=""}"#),
        ("?route=default", r#"hookbox_paused{scope="route",name="default"}"#),
        ("?source=default", r#"hookbox_paused{scope="source",name="default"}"#),
    ];
    for (target, _) in targets {
        assert_eq!(hookbox.rest.post(&format!("/v1/pause{target}")).await.status, 200);
    }
    let paused = metrics(&hookbox.rest).await;
    assert_eq!(paused["hookbox_pauses"].to_string(), "3");
    for (target, gauge) in targets {
        assert_eq!(paused.get(gauge), Some(&1.0), "{gauge}");
        assert_eq!(hookbox.rest.post(&format!("/v1/resume{target}")).await.status, 200);
        assert_eq!(metrics(&hookbox.rest).await.get(gauge), None, "{gauge} is over");
    }
}

#[rstest]
#[tokio::test]
async fn a_condition_that_fails_is_counted_and_explained(#[values(Sqlite, Postgres)] store: Store) {
    let routes = "[[routes]]\nname = \"large\"\nwhere = 'body.total > 100'\nhandler = \"simulate\"\n";
    let hookbox = Hookbox::with_routes(store, routes);
    for (key, payload) in [("evt-001", r#"{"total":101}"#), ("evt-002", r#"{"sum":1}"#), ("evt-003", "{}")] {
        assert_eq!(hookbox.rest.submit(key, "order.created", payload).await.status, 202);
    }
    let route = hookbox.rest.get("/v1/routes").await.json()["routes"][0].clone();
    assert_eq!(route["match_failures"], 2, "{route}");
    assert!(route["last_match_failure"].as_str().unwrap().contains("total"), "{route}");
    let gauge = r#"hookbox_route_match_failures{route="large"}"#;
    assert_eq!(metrics(&hookbox.rest).await.get(gauge), Some(&2.0));
}

#[rstest]
#[tokio::test]
async fn no_metric_has_a_label_that_a_sender_chooses(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let id = hookbox.rest.submit("chosen-key", "chosen-type", r#""chosen-payload""#).await.text_of("id");
    hookbox.wait_for(&id, "completed").await;
    hookbox.rest.get("/chosen-path").await;
    hookbox.rest.get("/v1/webhooks?chosen-parameter=1").await;
    let text = hookbox.rest.get("/metrics").await.text;
    assert!(!text.contains("chosen") && !text.contains(&id), "{text}");
}

#[rstest]
#[tokio::test]
async fn every_dead_letter_is_counted_also_if_as_many_are_retried(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::FailForGood("no"), Step::FailForGood("still no")]);
    let id = hookbox.rest.accept("evt-001").await;
    // A dead letter can be seen a moment before it is counted.
    let counted = async |count: f64| {
        eventually(&format!("{count} dead letters"), || async {
            (metrics(&hookbox.rest).await[DEAD_LETTERS] == count).then_some(())
        })
        .await;
    };
    counted(1.0).await;
    assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await.status, 200);
    counted(2.0).await;
    let kept = r#"hookbox_jobs{route="default",status="dead_lettered"}"#;
    assert_eq!(metrics(&hookbox.rest).await[kept].to_string(), "1");

    assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await.status, 200);
    hookbox.wait_for(&id, "completed").await;
    let metrics = metrics(&hookbox.rest).await;
    assert_eq!((metrics[kept], metrics[DEAD_LETTERS]), (0.0, 2.0), "it is a dead letter no longer");
}

#[rstest]
#[tokio::test]
async fn a_dead_letter_of_a_process_that_died_is_counted_by_its_successor(
    #[values(Sqlite, Postgres)] store: Store,
) {
    // On PostgreSQL a successor waits until the lease is over.
    let place = Place::on(
        store,
        &[("HOOKBOX_SIMULATE_MIN", "1h"), ("HOOKBOX_SIMULATE_MAX", "1h"), ("HOOKBOX_LEASE", "1s")],
    );
    let route = "[[routes]]\nname = \"default\"\nhandler = \"simulate\"\non_interrupt = \"dead_letter\"\n";
    std::fs::write(place.path("hookbox.toml"), route).unwrap();
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_until_busy().await;
    // Kills it.
    drop(process);

    let successor = place.serve().await;
    successor.wait_for(&id, "dead_lettered").await;
    eventually("a dead letter being counted", || async {
        (metrics(&successor.rest).await[DEAD_LETTERS] == 1.0).then_some(())
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_process_that_is_about_to_stop_is_not_ready(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::with(store, &[("shutdown_delay", "10s")]);
    assert_eq!(metrics(&hookbox.rest).await["hookbox_ready"].to_string(), "1");
    hookbox.begin_to_stop();
    becomes_ready(&hookbox.rest, 0.0).await;
    assert_eq!(hookbox.rest.get("/readyz").await.status, 503);
    hookbox.advance(HOUR);
}

/// Takes as long as metrics wait for the store.
#[tokio::test]
async fn a_process_whose_store_cannot_be_written_is_not_ready() {
    let place = Place::new(&[]);
    let process = place.serve().await;
    becomes_ready(&process.rest, 1.0).await;
    let path = place.path("hookbox.db");
    let mut shell = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
    shell.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
    becomes_ready(&process.rest, 0.0).await;
    shell.batch_execute("ROLLBACK").unwrap();
    becomes_ready(&process.rest, 1.0).await;
}

/// Waits until the gauge says that it is ready (1) or is not (0).
async fn becomes_ready(rest: &Rest, ready: f64) {
    eventually(&format!("hookbox_ready being {ready}"), || async {
        (samples(rest).await["hookbox_ready"] == ready).then_some(())
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn the_size_of_the_store_grows_with_what_it_keeps(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let before = metrics(&hookbox.rest).await["hookbox_store_bytes"];
    assert!(before > 0.0, "{before}");
    // PostgreSQL compresses it, but not to nothing.
    let payload = (0..50_000).map(|number| number.to_string()).collect::<String>();
    assert_eq!(hookbox.rest.submit("evt-001", "order.created", &format!("\"{payload}\"")).await.status, 202);
    let after = metrics(&hookbox.rest).await["hookbox_store_bytes"];
    assert!(after > before, "{before} {after}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_is_measured_under_the_usual_names() {
    let hookbox = Hookbox::start(Sqlite);
    let metrics = metrics(&hookbox.rest).await;
    let of_process = |name: &str| *metrics.get(name).unwrap_or_else(|| panic!("{name} in {metrics:#?}"));
    assert!(of_process("process_cpu_seconds_total") >= 0.0);
    assert!(of_process("process_resident_memory_bytes") > 1024.0 * 1024.0);
    assert!(of_process("process_threads") > 1.0);
    assert!(of_process("process_open_fds") > 1.0);
    assert!(of_process("process_open_fds") < of_process("process_max_fds"));
    let year_2024 = 1_704_067_200.0;
    assert!(of_process("process_start_time_seconds") > year_2024);
}

/// Every sample, by its name and labels.
async fn metrics(rest: &Rest) -> BTreeMap<String, f64> {
    eventually("metrics with all that the store has", || async {
        let asked = Instant::now();
        let samples = samples(rest).await;
        (asked.elapsed() < STORE_TIME).then_some(samples)
    })
    .await
}

/// The same, perhaps without what the store has.
async fn samples(rest: &Rest) -> BTreeMap<String, f64> {
    let answer = rest.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.text.ends_with("# EOF\n"));
    answer
        .text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}
