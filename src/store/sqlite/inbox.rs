//! What comes in, and what is looked at.

use std::sync::Arc;

use async_trait::async_trait;

use super::committed::Published;
use super::{SqliteStore, due, list, probe, queries};
use crate::domain::error::{Error, Result};
use crate::domain::id::{Position, Sequence, WebhookId};
use crate::domain::job::Status;
use crate::domain::route::NewJob;
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use crate::store::changes::Changes;
use crate::store::{Accepted, Inbox, ListQuery, Page, Probe, QueueStats, StoreStats};

/// Windows of rows that one list looks at.
const LIST_WINDOWS: usize = 20;

#[async_trait]
impl Inbox for SqliteStore {
    async fn accept(&self, webhook: NewWebhook, jobs: Vec<NewJob>) -> Result<Accepted> {
        self.writer.accept(webhook, jobs).await
    }

    async fn status(&self, name: WebhookName) -> Result<WebhookStatus> {
        let wanted = name.clone();
        let found = self.readers()?.run(move |connection| queries::status(connection, &wanted)).await?;
        found.ok_or_else(|| Error::not_found(name))
    }

    async fn webhook(&self, id: WebhookId) -> Result<WebhookDetail> {
        let found = self.readers()?.run(move |connection| queries::webhook(connection, id)).await?;
        found.ok_or_else(|| Error::not_found(id))
    }

    async fn list(&self, query: ListQuery) -> Result<Page> {
        let newest = query.accepted_before.map_or(i64::MAX, |time| Sequence::first_at(time).as_i64());
        let mut before = newest.min(query.before.map_or(i64::MAX, |before| before.sequence().as_i64()));
        let query = Arc::new(query);
        let mut page = Page::default();
        for _ in 0..LIST_WINDOWS {
            // Each window queues up anew, so that other reads have their turn.
            let wanted = query.limit - page.webhooks.len();
            let asked = Arc::clone(&query);
            let window = move |connection: &mut _| list::list(connection, &asked, before, wanted);
            let window = self.readers()?.run(window).await?;
            page.webhooks.extend(window.webhooks);
            if page.webhooks.len() >= query.limit {
                page.next = page.webhooks.last().map(|webhook| Position::before(webhook.id));
                return Ok(page);
            }
            let Some(next) = window.next else { return Ok(page) };
            before = next;
        }
        page.next = Some(Position::before_all(Sequence::from_i64(before)));
        Ok(page)
    }

    async fn stats(&self) -> Result<StoreStats> {
        let readers = self.readers()?;
        let Published { queues, unrouted, pauses } = self.committed.get();
        let waiting = queues
            .iter()
            .filter(|(_, queue)| queue.counts.of(Status::Pending) + queue.counts.of(Status::Retrying) > 0);
        let waiting = waiting.map(|(id, _)| *id).collect::<Vec<_>>();
        let first_due = move |connection: &mut _| {
            let first = waiting.into_iter().map(|id| Ok((id, due::first(connection, id)?)));
            first.collect::<diesel::QueryResult<std::collections::HashMap<_, _>>>()
        };
        let first_due = readers.run(first_due).await?;
        let now = self.clock.now();
        let queues = queues.into_iter().map(|(id, queue)| QueueStats {
            route: queue.route,
            source: queue.source,
            counts: queue.counts,
            oldest_due: first_due.get(&id).copied().flatten().filter(|due| *due <= now),
        });
        Ok(StoreStats { queues: queues.collect(), unrouted, pauses })
    }

    async fn probe(&self) -> Result<Probe> {
        self.writer.run(probe::probe).await
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }
}
