//! Handlers that do not return, whatever they are told.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;

use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

/// Later than any other attempt is due.
const LATER: &str = "2026-03-03T12:00:00Z";

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Every webhook of the type `stuck` or `once` blocks a worker if its handler does not return; the others have a route
/// without a timeout.
const ROUTES: &str = r#"
    [[routes]]
    name = "stuck"
    match = { event_type = "stuck" }
    timeout = "1s"
    retry = { attempts = 2, base = "24h", cap = "24h" }

    [[routes]]
    name = "once"
    match = { event_type = "once" }
    timeout = "1s"
    on_interrupt = "dead_letter"

    [[routes]]
    name = "others"
    fallback = true
"#;

const ERROR: &str = "the handler did not return within 10s after its timeout of 1s; its thread is abandoned";

/// A hookbox with one worker.
async fn start(store: Store) -> Hookbox {
    let hookbox = Hookbox::with(store, &[("workers", "1")]);
    hookbox.set_routes(ROUTES);
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    hookbox
}

async fn submit(hookbox: &Hookbox, key: &str, event_type: &str) -> String {
    let answer = hookbox.rest.submit(key, event_type, "{}").await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.text_of("id")
}

async fn has_abandoned(hookbox: &Hookbox, threads: usize) -> bool {
    let metrics = hookbox.rest.get("/metrics").await.text;
    metrics.lines().any(|line| line == format!("hookbox_abandoned_threads {threads}"))
}

/// Lets seconds pass until this many threads are abandoned.
async fn wait_for_abandoned(hookbox: &Hookbox, threads: usize) {
    eventually(&format!("{threads} abandoned threads"), || async {
        hookbox.advance(SECOND);
        has_abandoned(hookbox, threads).await.then_some(())
    })
    .await;
}

/// Waits, without any time passing, until no thread is abandoned.
async fn wait_for_return(hookbox: &Hookbox) {
    eventually("the handler's return", || async { has_abandoned(hookbox, 0).await.then_some(()) }).await;
}

#[rstest]
#[tokio::test]
async fn a_handler_that_does_not_return_fails_its_attempt_and_frees_its_worker(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = start(store).await;
    let gate = hookbox.handler.will_block();
    let stuck = submit(&hookbox, "evt-001", "stuck").await;
    hookbox.wait_for_runs(1).await;
    let other = hookbox.rest.accept("evt-002").await;
    wait_for_abandoned(&hookbox, 1).await;
    hookbox.wait_for(&other, "completed").await;
    let waiting = hookbox.wait_for(&stuck, "retrying").await;
    assert_eq!((&waiting["attempt_count"], &waiting["attempts"][0]["error"]), (&json!(1), &json!(ERROR)));
    assert!(has_abandoned(&hookbox, 1).await);

    drop(gate);
    wait_for_return(&hookbox).await;
    // Its completion shows that outcomes of before are recorded.
    let another = hookbox.rest.accept("evt-003").await;
    hookbox.wait_for(&another, "completed").await;
    assert_eq!(hookbox.rest.webhook(&stuck).await, waiting, "what it returned is dropped");

    hookbox.advance(SignedDuration::from_hours(24));
    let done = hookbox.wait_for(&stuck, "completed").await;
    let outcomes = done["attempts"].as_array().unwrap().iter().map(|attempt| attempt["outcome"].as_str());
    assert_eq!(outcomes.collect::<Vec<_>>(), [Some("failed"), Some("completed")]);
}

#[rstest]
#[tokio::test]
async fn an_abandoned_attempt_that_must_not_start_twice_is_a_dead_letter(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = start(store).await;
    let _gate = hookbox.handler.will_block();
    let id = submit(&hookbox, "evt-001", "once").await;
    hookbox.wait_for_runs(1).await;
    wait_for_abandoned(&hookbox, 1).await;
    let dead = hookbox.wait_for(&id, "dead_lettered").await;
    assert_eq!((&dead["attempt_count"], &dead["attempts"][0]["error"]), (&json!(1), &json!(ERROR)));
}

#[rstest]
#[tokio::test]
async fn an_abandoned_thread_does_not_delay_the_stop(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = start(store).await;
    let _gate = hookbox.handler.will_block();
    let id = submit(&hookbox, "evt-001", "stuck").await;
    hookbox.wait_for_runs(1).await;
    wait_for_abandoned(&hookbox, 1).await;
    hookbox.wait_for(&id, "retrying").await;
    // No time passes, so no grace would be over.
    let home = hookbox.stop();

    let successor = Hookbox::at(home, LATER, &[]);
    assert_eq!(successor.wait_for(&id, "completed").await["attempt_count"], 2);
}

#[rstest]
#[tokio::test]
async fn no_more_threads_are_abandoned_than_there_are_workers(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = start(store).await;
    let (first, _second) = (hookbox.handler.will_block(), hookbox.handler.will_block());
    submit(&hookbox, "evt-001", "stuck").await;
    hookbox.wait_for_runs(1).await;
    wait_for_abandoned(&hookbox, 1).await;
    let id = submit(&hookbox, "evt-002", "stuck").await;
    hookbox.wait_for_runs(2).await;
    for _ in 0..30 {
        hookbox.advance(SECOND);
        assert!(has_abandoned(&hookbox, 1).await);
    }
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "processing", "it keeps its worker");

    drop(first);
    eventually("the next one to be abandoned", || async {
        hookbox.advance(SECOND);
        (hookbox.rest.webhook(&id).await["status"] == "retrying").then_some(())
    })
    .await;
}
