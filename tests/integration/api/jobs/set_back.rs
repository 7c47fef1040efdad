//! The time of day is set back by an hour. Jobs do not wait for that hour.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use crate::api::harness::handler::Step;
use crate::api::harness::{HOUR, Hookbox, Sqlite, eventually};

/// Lets seconds pass until a webhook is due at `time`.
async fn becomes_due_at(hookbox: &Hookbox, id: &str, time: &str) {
    eventually(&format!("webhook {id} being due at {time}"), || {
        hookbox.advance(SignedDuration::from_secs(1));
        async { (due(hookbox, id).await.as_str()?.starts_with(time)).then_some(()) }
    })
    .await;
}

async fn due(hookbox: &Hookbox, id: &str) -> Value {
    hookbox.rest.webhook(id).await["available_at"].clone()
}

#[tokio::test]
async fn what_was_accepted_while_the_clock_was_ahead_is_due_at_once() {
    let hookbox = Hookbox::with(Sqlite, &[("workers", "1")]);
    let gate = hookbox.handler.will_hold();
    hookbox.rest.accept("evt-001").await;
    hookbox.wait_for_runs(1).await;
    hookbox.set_clock_by(HOUR);
    let id = hookbox.rest.accept("evt-002").await;
    assert_eq!(due(&hookbox, &id).await, "2026-03-01T13:00:00.000Z");
    hookbox.set_clock_by(-HOUR);
    becomes_due_at(&hookbox, &id, "2026-03-01T12:").await;
    drop(gate);
    hookbox.wait_for(&id, "completed").await;
}

#[tokio::test]
async fn a_retry_keeps_its_delay() {
    let hookbox = Hookbox::start(Sqlite);
    hookbox.handler.will([Step::FailFor("later", Duration::from_secs(300))]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    assert_eq!(due(&hookbox, &id).await, "2026-03-01T12:05:00.000Z");
    hookbox.set_clock_by(-HOUR);
    becomes_due_at(&hookbox, &id, "2026-03-01T11:05:00.000Z").await;
    hookbox.advance(SignedDuration::from_secs(300));
    hookbox.wait_for(&id, "completed").await;
}

#[tokio::test]
async fn the_clock_is_followed_while_no_lease_may_be_taken_over() {
    // Nothing is taken over in the first third of this.
    let hookbox = Hookbox::with(Sqlite, &[("lease", "24h")]);
    hookbox.handler.will([Step::FailFor("later", Duration::from_secs(300))]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    hookbox.set_clock_by(-HOUR);
    becomes_due_at(&hookbox, &id, "2026-03-01T11:05:00.000Z").await;
}
