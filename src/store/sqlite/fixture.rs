//! A store in a temporary folder, for unit tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{Options, SqliteStore};
use crate::domain::clock::Clock;
use crate::domain::headers::KeptHeaders;
use crate::domain::payload::Payload;
use crate::domain::policy::{Policies, Policy};
use crate::domain::route::{NewJob, OrderValue, RouteName};
use crate::domain::trace::Traceparent;
use crate::domain::verdict::Verdict;
use crate::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use crate::store::{Claim, Wanted};

/// Opens a store in a new folder, with these policies.
pub(super) async fn open(
    policies: impl IntoIterator<Item = Policy>,
    clock: Arc<dyn Clock>,
) -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_in(&folder, policies, clock).await;
    (folder, store)
}

/// Opens the store in a folder.
pub(super) async fn open_in(
    folder: &TempDir,
    policies: impl IntoIterator<Item = Policy>,
    clock: Arc<dyn Clock>,
) -> SqliteStore {
    let options = Options {
        path: folder.path().join("inbox.db"),
        max_backlog: 10_000,
        policies: Arc::new(Policies::new(policies)),
        seed: 1,
    };
    SqliteStore::open(options, clock, Arc::default()).await.expect("opens")
}

/// A policy without limits.
pub(super) fn policy(route: &str) -> Policy {
    Policy::unlimited(RouteName::new(route).expect("valid"))
}

/// A webhook with this key.
pub(super) fn webhook(key: &str) -> NewWebhook {
    NewWebhook {
        source: Source::default(),
        idempotency_key: IdempotencyKey::new(key).expect("valid"),
        event_type: EventType::new("test").expect("valid"),
        payload: Payload::new("1").expect("valid"),
        headers: KeptHeaders::default(),
        verdict: Verdict::None,
        traceparent: Traceparent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .expect("valid"),
    }
}

/// A job of a route, with an order value if `order` is one.
pub(super) fn job(route: &str, order: Option<&str>) -> NewJob {
    NewJob { route: RouteName::new(route).expect("valid"), order: order.map(OrderValue::new) }
}

/// A claim for this number of threads.
pub(super) fn claim(threads: usize) -> Claim {
    Claim {
        worker: "worker".into(),
        wanted: Wanted::Run,
        threads,
        max_bytes: usize::MAX,
        lease: Duration::from_secs(30),
        running: HashMap::new(),
    }
}
