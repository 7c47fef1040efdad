//! The alert of a high backlog.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;

use super::{counts, routes, wait_for_alerts};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

/// How often hookbox looks at its backlog.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(10);

#[rstest]
#[tokio::test]
async fn a_high_backlog_makes_one_alert_until_it_was_below(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &format!("max_backlog = 10\n{}", routes("*")));
    let submit = async |keys: std::ops::Range<usize>| {
        for key in keys {
            hookbox.rest.accept(&format!("evt-{key}")).await;
        }
    };
    hookbox.rest.post("/v1/pause?source=default").await;
    submit(0..7).await;
    look(&hookbox).await;
    submit(7..8).await;
    look(&hookbox).await;
    let alert = wait_for_alerts(&hookbox.rest, 1).await.remove(0);
    assert_eq!(alert["event_type"], "hookbox.backlog_high");
    let payload = &alert["payload"];
    assert_eq!((&payload["backlog"], &payload["max_backlog"]), (&json!(8), &json!(10)));
    // Before more time passes: with it, the lease of a running attempt would end.
    wait_for_completed(&hookbox, 1).await;
    for _ in 0..20 {
        look(&hookbox).await;
    }

    hookbox.rest.post("/v1/resume?source=default").await;
    wait_for_completed(&hookbox, 9).await;
    look(&hookbox).await;
    hookbox.rest.post("/v1/pause?source=default").await;
    submit(8..17).await;
    look(&hookbox).await;
    let alerts = wait_for_alerts(&hookbox.rest, 2).await;
    assert_eq!(counts(&alerts), [1, 1]);
    assert_eq!(alerts[1]["payload"]["backlog"], 9);
}

async fn wait_for_completed(hookbox: &Hookbox, completed: u64) {
    let stats = async || hookbox.rest.get("/v1/stats").await.json();
    let is_reached = async || (stats().await["counts"]["completed"] == completed).then_some(());
    eventually(&format!("{completed} completed jobs"), is_reached).await;
}

/// Lets hookbox look at its backlog once. Time moves in whole steps of that interval.
pub(super) async fn look(hookbox: &Hookbox) {
    let waits = async || {
        eventually("the next look", || async {
            (hookbox.clock.sleepers_for(LOOK_EVERY.unsigned_abs()) > 0).then_some(())
        })
        .await;
    };
    waits().await;
    hookbox.advance(LOOK_EVERY);
    waits().await;
}
