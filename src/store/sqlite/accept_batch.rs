//! Accepts the webhooks of one request: all of them or none.
//!
//! The writer commits what a refused command has written, so all webhooks are checked before the first is stored. No
//! other command comes in between: the writer runs one at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use diesel::QueryResult;
use diesel::result::Error as QueryError;
use diesel::sqlite::SqliteConnection;
use tokio::sync::oneshot;

use super::accept;
use super::command::Command;
use super::keys::key_name;
use super::queries::{self, FoundByKey};
use super::transaction::{Refusal, Transaction};
use crate::domain::conflict::{OnConflict, OtherWebhook};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::webhook::NewWebhook;
use crate::store::acceptance::{backlog_full, check_in_batch, duplicate_or_conflict};
use crate::store::{Accepted, BatchError, Submission};

/// The bytes that each webhook of a batch counts at least, for the time that its rows take.
const LEAST_BYTES: usize = 1024;

/// The result of a batch.
pub(super) type BatchResult = std::result::Result<Vec<Accepted>, BatchError>;

/// The webhooks of one request, and the channel for their result.
pub(super) struct AcceptBatch {
    items: Vec<Item>,
    on_conflict: OnConflict,
    reply: oneshot::Sender<BatchResult>,
    outcome: Option<BatchResult>,
}

/// A webhook of a batch.
struct Item {
    submission: Submission,
    key_name: Vec<u8>,
    /// The index of the first webhook of the batch with this key, if it is not this one.
    earlier: Option<usize>,
}

/// What a check found out about a webhook of a batch.
enum Found {
    /// Nothing has its key.
    New,
    /// A webhook of the store, whose payload has this digest, has its key.
    Stored { duplicate: Box<Accepted>, payload_digest: Vec<u8> },
    /// The webhook of the batch with the smaller index `first` has its key, and is new. `other` is as in [`Accepted`].
    Earlier { first: usize, other: Option<Box<OtherWebhook>> },
}

/// Why a batch was not stored.
enum BatchRefusal {
    /// It was refused before anything was written.
    Batch(BatchError),
    /// A statement failed. The transaction must be rolled back.
    Query(QueryError),
}

impl From<QueryError> for BatchRefusal {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl AcceptBatch {
    pub(super) fn new(
        submissions: Vec<Submission>,
        on_conflict: OnConflict,
        reply: oneshot::Sender<BatchResult>,
    ) -> Self {
        let mut firsts = HashMap::with_capacity(submissions.len());
        let item = |(at, submission): (usize, Submission)| {
            let key_name = key_name(&submission.webhook.source, &submission.webhook.idempotency_key);
            let earlier = match firsts.entry(key_name.clone()) {
                Entry::Occupied(first) => Some(*first.get()),
                Entry::Vacant(free) => {
                    free.insert(at);
                    None
                }
            };
            Item { submission, key_name, earlier }
        };
        let items = submissions.into_iter().enumerate().map(item).collect();
        Self { items, on_conflict, reply, outcome: None }
    }

    /// How long the batch takes to be stored, in bytes of payloads and kept headers.
    pub(super) fn bytes(&self) -> usize {
        bytes(self.items.iter().map(|item| &item.submission.webhook))
    }

    fn store(&self, transaction: &mut Transaction<'_>) -> std::result::Result<Vec<Accepted>, BatchRefusal> {
        let found = self.check(transaction)?;
        let now = transaction.context.clock.now();
        let mut all: Vec<Accepted> = Vec::with_capacity(found.len());
        for (item, found) in self.items.iter().zip(found) {
            let accepted = match found {
                Found::New => {
                    let stored = accept::insert(transaction, &item.submission, &item.key_name, now)?;
                    // The check found that the key is free.
                    Accepted::new(stored.ok_or(QueryError::NotFound)?)
                }
                Found::Stored { duplicate, .. } => *duplicate,
                Found::Earlier { first, other } => {
                    Accepted { webhook: all[first].webhook.clone(), duplicate: true, other }
                }
            };
            all.push(accepted);
        }
        Ok(all)
    }

    /// Checks all webhooks, and whether new ones are within the limit of the backlog. Writes nothing.
    fn check(&self, transaction: &mut Transaction<'_>) -> std::result::Result<Vec<Found>, BatchRefusal> {
        let mut found = Vec::with_capacity(self.items.len());
        for (at, item) in self.items.iter().enumerate() {
            let of_item =
                self.find(transaction.connection, item, &found).map_err(|refusal| match refusal {
                    Refusal::Domain(error) => BatchRefusal::Batch(BatchError { item: Some(at), error }),
                    Refusal::Query(error) => BatchRefusal::Query(error),
                })?;
            found.push(of_item);
        }
        let context = &transaction.context;
        let is_full = context.memory.counts.unfinished() >= context.max_backlog;
        if is_full && found.iter().any(|found| matches!(found, Found::New)) {
            return Err(BatchRefusal::Batch(backlog_full(context.max_backlog).into()));
        }
        Ok(found)
    }

    /// Finds what has the key of a webhook. `found` is of the webhooks before it. Errors: `KeyReused` if that is another
    /// content, and the batch does not allow it.
    fn find(
        &self,
        connection: &mut SqliteConnection,
        Item { submission, key_name, earlier }: &Item,
        found: &[Found],
    ) -> std::result::Result<Found, Refusal> {
        let new = &submission.webhook;
        let Some(first) = *earlier else {
            return match queries::status_by_key(connection, key_name)? {
                Some(stored) => Ok(self.stored(new, stored)?),
                None => Ok(Found::New),
            };
        };
        // The earlier webhook may itself be a duplicate: what is stored under the key is then not its content.
        if let Found::Stored { duplicate, payload_digest } = &found[first] {
            let (status, payload_digest) = (duplicate.webhook.clone(), payload_digest.clone());
            return Ok(self.stored(new, FoundByKey { status, payload_digest })?);
        }
        let other = check_in_batch(new, (first, &self.items[first].submission.webhook), self.on_conflict)?;
        Ok(Found::Earlier { first, other })
    }

    /// The finding of a webhook whose key this webhook of the store has. Errors: as of [`find`](Self::find).
    fn stored(&self, new: &NewWebhook, FoundByKey { status, payload_digest }: FoundByKey) -> Result<Found> {
        let duplicate = duplicate_or_conflict(new, status, &payload_digest, self.on_conflict)?;
        Ok(Found::Stored { duplicate: Box::new(duplicate), payload_digest })
    }
}

impl Command for AcceptBatch {
    fn run(&mut self, transaction: &mut Transaction<'_>) -> QueryResult<()> {
        self.outcome = Some(match self.store(transaction) {
            Ok(accepted) => Ok(accepted),
            Err(BatchRefusal::Batch(error)) => Err(error),
            Err(BatchRefusal::Query(error)) => return Err(error),
        });
        Ok(())
    }

    fn committed(self: Box<Self>) {
        // Sending fails if the caller is gone. The webhooks are stored all the same.
        let _ = self.reply.send(self.outcome.unwrap_or_else(|| Err(Error::shutting_down().into())));
    }

    fn failed(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error.into()));
    }
}

/// The error of a batch of one webhook that was refused alone.
pub(super) fn refused_alone(error: Error) -> BatchError {
    BatchError { item: (error.reason() == Reason::KeyReused).then_some(0), error }
}

/// How long webhooks take to be stored together, in bytes of payloads and kept headers.
pub(super) fn bytes<'w>(webhooks: impl IntoIterator<Item = &'w NewWebhook>) -> usize {
    webhooks.into_iter().map(|webhook| webhook.bytes().max(LEAST_BYTES)).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::clock::ManualClock;
    use crate::domain::job::Status;
    use crate::store::sqlite::fixture::{job, open, policy, webhook};
    use crate::store::{Inbox as _, Store as _};

    fn batch(keys: &[&str]) -> Vec<Submission> {
        let submission = |key: &&str| Submission { webhook: webhook(key), jobs: vec![job("a", None)] };
        keys.iter().map(submission).collect()
    }

    #[test]
    fn a_webhook_of_a_batch_counts_by_its_bytes_and_by_its_rows() {
        let (reply, _answer) = oneshot::channel();
        let batch = AcceptBatch::new(batch(&["1", "2", "3"]), OnConflict::Reject, reply);
        assert_eq!(batch.bytes(), 3 * LEAST_BYTES);
    }

    #[tokio::test]
    async fn a_refused_batch_leaves_counts_and_queues_as_they_were() {
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let (_folder, store) = open([policy("a")], clock).await;
        store.accept_batch(batch(&["taken"]), OnConflict::Reject).await.expect("is stored");

        let mut refused = batch(&["new", "taken"]);
        refused[0].jobs = vec![job("b", Some("1"))];
        refused[1].webhook.payload = crate::domain::payload::Payload::new("2").expect("valid");
        let error = store.accept_batch(refused, OnConflict::Reject).await.expect_err("is refused");
        assert_eq!((error.item, error.error.reason()), (Some(1), Reason::KeyReused));

        let stats = store.stats().await.expect("reads");
        assert_eq!((stats.queues.len(), stats.counts().of(Status::Pending)), (1, 1));
        store.close().await;
    }
}
