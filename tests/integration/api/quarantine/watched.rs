//! Watchers of webhooks in quarantine.

use std::future::ready;

use futures::{FutureExt as _, StreamExt as _};
use hookbox::internals::grpc::proto::{Status, WatchStatusRequest, WebhookStatus};
use rstest::rstest;
use tonic::{Code, Streaming};

use super::{OTHERS, SHOP, discard, quarantine, release};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// Watches a webhook that is in quarantine.
async fn watch(hookbox: &Hookbox, id: &str) -> Streaming<WebhookStatus> {
    let request = WatchStatusRequest { id: id.to_owned(), ..Default::default() };
    let mut changes = hookbox.grpc().watch_status(request).await.unwrap().into_inner();
    assert_eq!(changes.next().await.unwrap().unwrap().status(), Status::Quarantined);
    changes
}

/// What a watcher is told next. The store need not announce what makes no job.
async fn next(hookbox: &Hookbox, changes: &mut Streaming<WebhookStatus>) -> Result<Status, Code> {
    let next = hookbox.as_time_passes("the next status", || ready(changes.next().now_or_never().flatten()));
    next.await.map(|webhook| webhook.status()).map_err(|status| status.code())
}

#[rstest]
#[tokio::test]
async fn a_watcher_follows_a_webhook_over_its_release_to_its_end(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    assert_eq!(hookbox.rest.post("/v1/pause").await.status, 200);
    let id = quarantine(&hookbox.rest, "evt-001", "{}").await;
    let mut changes = watch(&hookbox, &id).await;
    assert_eq!(release(&hookbox.rest, &id).await.status, 200);
    assert_eq!(next(&hookbox, &mut changes).await, Ok(Status::Pending));
    assert_eq!(hookbox.rest.post("/v1/resume").await.status, 200);
    let later = changes.map(|change| change.unwrap().status()).collect::<Vec<_>>().await;
    assert_eq!(later.last(), Some(&Status::Completed), "{later:?}");
}

#[rstest]
#[tokio::test]
async fn a_watcher_is_told_that_no_route_takes_a_released_webhook(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, OTHERS].concat());
    let id = quarantine(&hookbox.rest, "evt-001", "{}").await;
    let mut changes = watch(&hookbox, &id).await;
    assert_eq!(release(&hookbox.rest, &id).await.status, 200);
    assert_eq!(next(&hookbox, &mut changes).await, Ok(Status::Filtered));
    assert!(changes.next().await.is_none());
}

#[rstest]
#[tokio::test]
async fn a_watcher_is_told_that_a_webhook_is_discarded(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let id = quarantine(&hookbox.rest, "evt-001", "{}").await;
    let mut changes = watch(&hookbox, &id).await;
    assert_eq!(discard(&hookbox.rest, &id).await.status, 200);
    assert_eq!(next(&hookbox, &mut changes).await, Err(Code::NotFound));
    assert!(changes.next().await.is_none());
}
