//! Quarantined webhooks: they were not verified, and have no jobs until an operator releases them.
//!
//! A quarantined webhook has no row in `idempotency_keys`, so it does not take its key, and is not found by it.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;
use jiff::Timestamp;

use super::accept::{self, Place};
use super::keys::key_name;
use super::queries::{self, NO_ROUTE_QUEUE};
use super::rows;
use super::schema::webhooks;
use super::transaction::{Refusal, Transaction};
use crate::domain::conflict::OtherWebhook;
use crate::domain::error::Error;
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::route::NewJob;
use crate::domain::webhook::{NewWebhook, Source, WebhookStatus};
use crate::store::Accepted;
use crate::store::acceptance::{MAX_QUARANTINED, backlog_full, check_quarantined, duplicate_of_released};
use crate::store::statement::statement;

/// The number of quarantined webhooks of each source that has any.
#[derive(Debug, Default)]
pub(super) struct Quarantined(HashMap<Source, usize>);

impl Quarantined {
    /// Counts the rows.
    pub(super) fn load(connection: &mut SqliteConnection) -> QueryResult<Self> {
        let counted = CountQuarantined {}.load::<(String, i64)>(connection)?;
        let mut counts = HashMap::with_capacity(counted.len());
        for (source, count) in counted {
            let source = Source::new(source).map_err(rows::unreadable)?;
            counts.insert(source, usize::try_from(count).map_err(rows::unreadable)?);
        }
        Ok(Self(counts))
    }

    fn of(&self, source: &Source) -> usize {
        self.0.get(source).copied().unwrap_or(0)
    }

    fn add(&mut self, source: &Source) {
        *self.0.entry(source.clone()).or_default() += 1;
    }

    fn remove(&mut self, source: &Source) {
        if let Some(count) = self.0.get_mut(source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(source);
            }
        }
    }
}

/// Stores webhooks of one source that were not verified. Returns `None`, and stores nothing, if the source has no room
/// for all of them.
pub(super) fn store(
    transaction: &mut Transaction<'_>,
    new: &[NewWebhook],
) -> Result<Option<Vec<WebhookStatus>>, Refusal> {
    let kept = new.first().map_or(0, |new| transaction.context.memory.quarantined.of(&new.source));
    if kept + new.len() > MAX_QUARANTINED {
        return Ok(None);
    }
    let now = transaction.context.clock.now();
    let stored = new.iter().map(|new| store_one(transaction, new, now)).collect::<QueryResult<_>>()?;
    transaction.arrived();
    Ok(Some(stored))
}

fn store_one(
    transaction: &mut Transaction<'_>,
    new: &NewWebhook,
    now: Timestamp,
) -> QueryResult<WebhookStatus> {
    let id = transaction.context.ids.next(now);
    accept::insert_webhook(transaction.connection, new, id)?;
    SetQuarantined { quarantined: true, sequence: id.sequence().as_i64() }.execute(transaction.connection)?;
    accept::insert_unrouted(transaction, id, Status::Quarantined, now)?;
    transaction.context.memory.quarantined.add(&new.source);
    Ok(WebhookStatus { is_quarantined: true, ..new.stored(id, Vec::new()) })
}

/// Accepts a quarantined webhook with these jobs, or removes it as a duplicate of the one that has its key; with
/// `as_duplicate`, also if that one has another content.
pub(super) fn release(
    transaction: &mut Transaction<'_>,
    id: WebhookId,
    jobs: &[NewJob],
    as_duplicate: Option<&OtherWebhook>,
) -> Result<Accepted, Refusal> {
    let mut webhook = find(transaction, id)?;
    let sequence = id.sequence().as_i64();
    let name = key_name(&webhook.source, &webhook.idempotency_key);
    if let Some(first) = queries::status_by_key(transaction.connection, &name)? {
        let digest = webhooks::table.find(sequence).select(webhooks::payload_digest);
        let digest = digest.get_result::<Vec<u8>>(transaction.connection)?;
        let digests = [digest.as_slice(), &first.payload_digest];
        let accepted = duplicate_of_released(&webhook, first.status, digests, as_duplicate)?;
        remove(transaction, sequence)?;
        return Ok(accepted);
    }
    let context = &transaction.context;
    if context.memory.counts.unfinished() >= context.max_backlog {
        return Err(backlog_full(context.max_backlog).into());
    }
    let now = context.clock.now();
    // The key is free, or else it would have been found above.
    accept::insert_key(transaction.connection, &name, id)?;
    SetQuarantined { quarantined: false, sequence }.execute(transaction.connection)?;
    remove_mark(transaction, sequence, &webhook.source)?;
    webhook.jobs = accept::insert_jobs(transaction, jobs, &webhook.source, Place::ByAcceptance, id, now)?;
    webhook.is_quarantined = false;
    Ok(Accepted::new(webhook))
}

/// Removes a quarantined webhook.
pub(super) fn discard(transaction: &mut Transaction<'_>, id: WebhookId) -> Result<(), Refusal> {
    find(transaction, id)?;
    remove(transaction, id.sequence().as_i64())?;
    Ok(())
}

/// Removes the quarantined webhook with this sequence.
pub(super) fn remove(transaction: &mut Transaction<'_>, sequence: i64) -> QueryResult<()> {
    let source = webhooks::table.find(sequence).select(webhooks::source);
    let source = source.get_result::<String>(transaction.connection)?;
    let source = Source::new(source).map_err(rows::unreadable)?;
    remove_mark(transaction, sequence, &source)?;
    DeleteQuarantined { sequence }.execute(transaction.connection).map(|_| ())
}

/// The quarantined webhook with this id. Errors: `WebhookNotFound`; `WrongStatus` if it is not quarantined.
fn find(transaction: &mut Transaction<'_>, id: WebhookId) -> Result<WebhookStatus, Refusal> {
    let webhook = queries::status_by_id(transaction.connection, id)?.ok_or_else(|| Error::not_found(id))?;
    check_quarantined(&webhook)?;
    Ok(webhook)
}

/// Removes the row of queue 0 of a quarantined webhook, and no longer counts the webhook as quarantined.
fn remove_mark(transaction: &mut Transaction<'_>, webhook: i64, source: &Source) -> QueryResult<()> {
    DeleteMark { webhook }.execute(transaction.connection)?;
    transaction.context.memory.counts.remove(NO_ROUTE_QUEUE, Status::Quarantined);
    transaction.context.memory.quarantined.remove(source);
    Ok(())
}

statement! { Sqlite;
    struct CountQuarantined {}
    returns (Text, BigInt);
    "SELECT source, count(*) FROM webhooks WHERE quarantined = 1 GROUP BY source"
}

statement! { Sqlite;
    struct SetQuarantined {
        quarantined: bool as Bool,
        sequence: i64 as BigInt,
    }
    returns ();
    "UPDATE webhooks SET quarantined = ? WHERE sequence = ?"
}

statement! { Sqlite;
    struct DeleteMark { webhook: i64 as BigInt, }
    returns ();
    "DELETE FROM jobs WHERE webhook = ? AND queue = 0"
}

statement! { Sqlite;
    struct DeleteQuarantined { sequence: i64 as BigInt, }
    returns ();
    "DELETE FROM webhooks WHERE sequence = ? AND quarantined = 1"
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::domain::clock::ManualClock;
    use crate::domain::error::Reason;
    use crate::store::sqlite::SqliteStore;
    use crate::store::sqlite::fixture::{claim, job, open, open_in, policy, webhook};
    use crate::store::{Inbox as _, JobQueue as _, Operations as _, Store as _};

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")))
    }

    async fn quarantine(store: &SqliteStore, key: &str) -> WebhookId {
        store.quarantine(vec![webhook(key)]).await.expect("is stored").expect("has room")[0].id
    }

    /// How many quarantined webhooks of the default source the writer counts.
    async fn counted(store: &SqliteStore) -> usize {
        let counting =
            store.writer.run(|transaction| Ok(transaction.context.memory.quarantined.of(&Source::default())));
        counting.await.expect("counts")
    }

    #[tokio::test]
    async fn the_writer_counts_the_quarantined_webhooks_of_a_source() {
        let (folder, store) = open([policy("a")], clock()).await;
        let (first, second) = (quarantine(&store, "1").await, quarantine(&store, "2").await);
        quarantine(&store, "3").await;
        let of_another = NewWebhook { source: Source::new("other").expect("valid"), ..webhook("1") };
        store.quarantine(vec![of_another]).await.expect("is stored").expect("has room");
        assert_eq!(counted(&store).await, 3);

        let failing = store.writer.run(|transaction| {
            super::store(transaction, &[webhook("4"), webhook("5")])?;
            Err::<(), _>(Refusal::Query(diesel::result::Error::NotFound))
        });
        failing.await.expect_err("is rolled back");
        assert_eq!(counted(&store).await, 3);

        store.discard(first).await.expect("is discarded");
        store.release(second, vec![job("a", None)], None).await.expect("is released");
        assert_eq!(counted(&store).await, 1);
        store.close().await;
        let store = open_in(&folder, [policy("a")], clock()).await;
        assert_eq!(counted(&store).await, 1);
        assert_eq!(store.stats().await.expect("reads").unrouted.of(Status::Quarantined), 2);
        store.close().await;
    }

    #[tokio::test]
    async fn a_released_webhook_takes_its_place_in_the_lane() {
        let clock = clock();
        let (_folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
        let released = quarantine(&store, "quarantined").await;
        clock.advance(SignedDuration::from_secs(1));
        for key in ["first", "second"] {
            store.accept(webhook(key), vec![job("orders", Some("x"))]).await.expect("is stored");
        }
        store.release(released, vec![job("orders", Some("x"))], None).await.expect("is released");
        let claimed = store.claim(claim(10)).await.expect("claims").jobs;
        let keys = claimed.iter().map(|job| job.idempotency_key.as_str()).collect::<Vec<_>>();
        assert_eq!(keys, ["quarantined"], "the oldest, and it alone");
        store.close().await;
    }

    #[tokio::test]
    async fn a_quarantined_webhook_can_be_neither_retried_nor_cancelled() {
        let (_folder, store) = open([policy("a")], clock()).await;
        let id = quarantine(&store, "1").await;
        for route in [None, Some(job("a", None).route)] {
            let retried = store.retry(id, route.clone()).await.expect_err("has no jobs");
            let cancelled = store.cancel(id, route).await.expect_err("has no jobs");
            for error in [retried, cancelled] {
                assert_eq!(error.reason(), Reason::WrongStatus);
                assert!(error.detail().ends_with("is quarantined; release or discard it"), "{error}");
            }
        }
        store.close().await;
    }

    #[tokio::test]
    async fn a_released_webhook_has_its_key_and_nothing_else_is_left_of_the_quarantine() {
        let (_folder, store) = open([policy("a")], clock()).await;
        let id = quarantine(&store, "1").await;
        store.release(id, Vec::new(), None).await.expect("is released");
        let again = store.accept(webhook("1"), vec![job("a", None)]).await.expect("is answered");
        assert!(again.duplicate && again.webhook.id == id && again.webhook.status() == Status::Filtered);
        let error = store.discard(id).await.expect_err("is not quarantined any more");
        assert_eq!(error.reason(), Reason::WrongStatus);
        let unrouted = store.stats().await.expect("reads").unrouted;
        assert_eq!((unrouted.of(Status::Quarantined), unrouted.of(Status::Filtered)), (0, 1));
        store.close().await;
    }
}
