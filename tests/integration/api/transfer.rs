//! `hookbox transfer`: the program moves a file to a database, and what it says.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use futures::future::join_all;
use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::headers::KeptHeaders;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::route::{NewJob, RouteName};
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use hookbox::internals::store::sqlite::{Options, SqliteStore};
use hookbox::internals::store::{Inbox as _, Store as _};
use hookbox::internals::telemetry::metrics::Metrics;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::api::harness::eventually;
use crate::api::harness::process::{Place, Process};
use crate::support::postgres::{Database, Session, server};

const FROM: &str = "sqlite://hookbox.db";

/// So many that a process that moves them one by one is at it for a while.
const MANY: usize = 2_000;

#[tokio::test]
async fn what_was_served_from_the_file_is_served_from_the_database() {
    let (mut place, database) = (Place::new(&[]), server().database());
    let process = place.serve().await;
    let first = process.rest.accept("evt-001").await;
    process.rest.accept("evt-002").await;
    let before = process.wait_for(&first, "completed").await;
    let running = place.run(&["transfer", "--from", FROM, "--to", &database.url()]);
    assert_eq!(running.status.code(), Some(1));
    assert!(told(&running).contains("another hookbox process owns"), "{}", told(&running));
    assert_eq!(process.terminate().await, Some(0));

    let moved = place.run(&["transfer", "--from", FROM, "--to", &database.url()]);
    assert_eq!(moved.status.code(), Some(0), "{}", told(&moved));
    assert!(told(&moved).starts_with("moved 0 of 2 webhooks, 0 %\n"), "{}", told(&moved));
    let summary = said(&moved);
    assert!(summary.starts_with("moved 2 webhooks from hookbox.db to postgres://"), "{summary}");
    assert!(summary.contains("\n  webhooks                 2\n  attempts "), "{summary}");
    assert!(summary.contains("next: set HOOKBOX_DATABASE_URL to the URL of that database"), "{summary}");

    let refused = place.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("were moved to postgres://"), "{}", told(&refused));
    let again = place.run(&["transfer", "--from", FROM, "--to", &database.url()]);
    assert_eq!(again.status.code(), Some(0), "{}", told(&again));
    assert!(said(&again).starts_with("nothing to do"), "{}", said(&again));

    place.set("HOOKBOX_DATABASE_URL", &database.url());
    let process = place.serve().await;
    assert_eq!(process.rest.webhook(&first).await, before);
    let again = process.rest.submit("evt-001", "order.created", "{}").await;
    assert_eq!((again.status, again.text_of("id")), (200, first));
    let third = process.rest.accept("evt-003").await;
    process.wait_for(&third, "completed").await;
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_is_killed_goes_on_where_it_was() {
    let (place, database, mut process) = stopped_on_the_way(Signal::SIGKILL).await;
    assert_eq!(process.ended().await.code(), None);
    let moved = webhooks(&database);

    let refused = place.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("are being moved to postgres://"), "{}", told(&refused));

    let again = place.run(&["transfer", "--from", FROM, "--to", &database.url()]);
    assert_eq!(again.status.code(), Some(0), "{}", told(&again));
    // The commit under way at the kill may have been made just after the look.
    let left = said(&again).strip_prefix("moved ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    assert!(left == Some(MANY - moved) || left == Some(MANY - moved - 1), "{}", said(&again));
    assert_eq!(webhooks(&database), MANY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_is_interrupted_says_how_far_it_is_and_can_be_abandoned() {
    let (place, database, mut process) = stopped_on_the_way(Signal::SIGINT).await;
    assert_eq!(process.ended().await.code(), Some(130));
    let stopped =
        format!("stopped: {} of {MANY} webhooks are moved; run the same command", webhooks(&database));
    assert!(process.log().contains(&stopped), "{}", process.log());

    for expected in
        ["hookbox.db may be served again. Do not serve what was moved to postgres://", "nothing to do"]
    {
        let abandoned = place.run(&["transfer", "--abandon", "--from", FROM]);
        assert_eq!(abandoned.status.code(), Some(0), "{}", told(&abandoned));
        assert!(said(&abandoned).starts_with(expected), "{}", said(&abandoned));
    }
    assert_eq!(place.serve().await.terminate().await, Some(0));
}

#[tokio::test]
async fn without_to_the_setting_says_where_to_and_hides_its_password() {
    let (mut place, database) = (Place::new(&[]), server().database());
    fill(&place.path("hookbox.db"), 1).await;
    let missing = place.run(&["transfer", "--from", FROM]);
    assert_eq!(missing.status.code(), Some(64));
    assert_eq!(
        told(&missing),
        "hookbox: database_url = \"sqlite://hookbox.db\" (from the default) is not allowed: it must be \
         postgres://<user>:<password>@<host>:<port>/<database> with libpq parameters after a ?; or give --to\n"
    );
    place.set("HOOKBOX_DATABASE_URL", &database.url());
    let moved = place.run(&["transfer", "--from", FROM]);
    assert_eq!(moved.status.code(), Some(0), "{}", told(&moved));
    assert_eq!(webhooks(&database), 1);
}

#[test]
fn wrong_ends_are_64_and_say_what_is_allowed() {
    let place = Place::new(&[]);
    let good = "postgres://me:s3cret@127.0.0.1:1/box";
    for (arguments, expected) in [
        (
            &["--from", "hookbox.db", "--to", good][..],
            "from = \"hookbox.db\" (from the flag --from) is not allowed",
        ),
        (&["--from", "sqlite://", "--to", good], "it must be sqlite://<path of a file>"),
        (&["--from", "sqlite://:memory:", "--to", good], "it must be sqlite://<path of a file>"),
        (&["--from", good, "--to", good], "from = \"postgres://me:***@127.0.0.1:1/box\""),
        (&["--from", FROM, "--to", FROM], "it must be postgres://<user>:<password>@<host>"),
        (&["--from", FROM, "--to", "mysql://me:s3cret@db/box"], "to = \"mysql://me:***@db/box\""),
        (&["--from", FROM, "--to", "postgres://me:s3cret/1@db:x/box"], "to = \"postgres://me:***@db:x/box\""),
        (&["--from", FROM, "--to", "postgres:/me:s3cret@db/box"], "to = \"postgres:***@db/box\""),
        (&["--from", FROM, "--to", good, "--abandon"], "cannot be used with"),
        (&["--to", good], "--from <URL>"),
        (&["--from", FROM, "--to", good, "--batch", "0"], "--batch"),
    ] {
        let ended = place.run(&[&["transfer"], arguments].concat());
        assert_eq!(ended.status.code(), Some(64), "{arguments:?}: {}", told(&ended));
        assert!(told(&ended).contains(expected), "{arguments:?}: {}", told(&ended));
        assert!(!told(&ended).contains("s3cret"), "{}", told(&ended));
    }
    assert!(!place.path("hookbox.db").exists(), "nothing was begun");

    for arguments in [&["--from", FROM, "--to", good][..], &["--from", FROM, "--abandon"]] {
        let ended = place.run(&[&["transfer"], arguments].concat());
        assert_eq!(ended.status.code(), Some(1));
        assert!(told(&ended).contains("there is no file hookbox.db"), "{}", told(&ended));
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_told_without_its_password() {
    let place = Place::new(&[]);
    fill(&place.path("hookbox.db"), 1).await;
    let ended = place.run(&["transfer", "--from", FROM, "--to", "postgres://me:s3cret@127.0.0.1:1/box"]);
    assert_eq!(ended.status.code(), Some(1));
    let told = told(&ended);
    assert!(
        told.starts_with("hookbox: cannot open the database: cannot connect to postgres://127.0.0.1:1/box"),
        "{told}"
    );
    assert!(!told.contains("s3cret"), "{told}");
    assert_eq!(place.serve().await.terminate().await, Some(0), "the file is as it was");
}

/// Stores webhooks in a file that no process serves.
async fn fill(file: &Path, count: usize) {
    let options =
        Options { path: file.to_owned(), max_backlog: 1_000_000, policies: Arc::default(), seed: 1 };
    let store =
        SqliteStore::open(options, Arc::new(SystemClock), Arc::new(Metrics::default())).await.unwrap();
    let accepted = join_all((0..count).map(|number| {
        let webhook = NewWebhook {
            source: Source::default(),
            idempotency_key: IdempotencyKey::new(format!("evt-{number}")).unwrap(),
            event_type: EventType::new("order.paid").unwrap(),
            payload: Payload::new(json!({ "n": number }).to_string()).unwrap(),
            headers: KeptHeaders::default(),
            verdict: Verdict::None,
            traceparent: Traceparent::new(1, 1, true),
        };
        store.accept(webhook, vec![NewJob { route: RouteName::default(), order: None }])
    }));
    for accepted in accepted.await {
        accepted.unwrap();
    }
    store.close().await;
}

/// A transfer of many webhooks that a signal has ended after some of them. On a busy machine the signal may come when
/// all of them are moved; then another one is begun.
async fn stopped_on_the_way(signal: Signal) -> (Place, Database, Process) {
    for _ in 0..10 {
        let (place, database) = (Place::new(&[]), server().database());
        fill(&place.path("hookbox.db"), MANY).await;
        let mut process =
            place.start_command(&["transfer", "--from", FROM, "--to", &database.url(), "--batch", "1"]);
        eventually("some webhooks", || async { (webhooks(&database) >= 50).then_some(()) }).await;
        process.signal(signal);
        process.ended().await;
        if webhooks(&database) < MANY {
            return (place, database, process);
        }
    }
    panic!("every transfer was over before it was stopped");
}

/// How many webhooks a database has; 0 before it has tables.
fn webhooks(database: &Database) -> usize {
    let session = Session::open(&database.url()).unwrap();
    session.ask("SELECT count(*) FROM webhooks").map_or(0, |count| count.concat().parse().unwrap())
}

fn told(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

fn said(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stdout).into_owned()
}
