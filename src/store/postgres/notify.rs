//! What replicas tell each other: that something is due, has changed, ended or was paused.
//!
//! `NOTIFY` takes a lock of the whole database at commit. So it is never part of the transaction
//! that stores something, and there are at most a few in a second, each for all that happened since
//! the last. It is a hint that saves time; a replica that misses one learns the same at its next look.

use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use futures::StreamExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::look::look;
use super::notifier::{Named, News};
use super::pool::{answer, not_connected};
use super::shared::Shared;
use super::target::Connector;
use super::{pauses, queries, queue_names};
use crate::domain::job::QueueId;
use crate::store::statement::statement;

/// The time between two notifications.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// How often to look all the same while notifications come in.
const POLL: Duration = Duration::from_secs(5);

/// How often to look while none can come in.
const POLL_ALONE: Duration = Duration::from_millis(500);

/// Watched webhooks that are looked at in one statement.
const WATCHED_AT_ONCE: usize = 1_000;

/// Tells the others, until the store closes.
pub(super) async fn tell_others(shared: Arc<Shared>, connector: Arc<Connector>, closing: CancellationToken) {
    let mut connection = None;
    while let Some(news) = closing.run_until_cancelled(shared.notifier.next()).await {
        // What was told together with the last is not told again.
        if news == News::default() {
            continue;
        }
        let told = tell(&connector, &mut connection, &news.write(&shared.process)).await;
        if let Err(error) = told {
            // The others poll.
            tracing::debug!(error = %error, "the other replicas could not be told that something happened");
            connection = None;
        }
        let pause = if connection.is_some() { TELL_EVERY } else { POLL_ALONE };
        if closing.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

async fn tell(
    connector: &Connector,
    connection: &mut Option<AsyncPgConnection>,
    payload: &str,
) -> QueryResult<()> {
    let connection = match connection {
        Some(connection) => connection,
        closed => {
            let mut opened = connector.connect().await.map_err(not_connected)?;
            // Nothing is stored here, so nothing has to be flushed.
            answered(opened.batch_execute("SET synchronous_commit = off")).await?;
            closed.insert(opened)
        }
    };
    answered(TellOthers { payload }.execute(connection)).await.map(|_| ())
}

/// Waits for an answer as long as makes sense. One that does not come is a fault of the connection.
async fn answered<T>(asked: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
    answer(asked).await.unwrap_or(Err(diesel::result::Error::BrokenTransactionManager))
}

/// Listens to the others, until the store closes. `armed` is told once it listens, or cannot.
pub(super) async fn listen(
    shared: Arc<Shared>,
    connector: Arc<Connector>,
    closing: CancellationToken,
    armed: oneshot::Sender<()>,
) {
    let mut armed = Some(armed);
    loop {
        let heard = closing.run_until_cancelled(hear(&shared, &connector, &mut armed)).await;
        // The store opens now, even if listening failed.
        drop(armed.take());
        let Some(heard) = heard else { return };
        if let Err(error) = heard {
            tracing::debug!(error = %error, "notifications of other replicas are not heard; looking more often instead");
        }
        if closing.run_until_cancelled(tokio::time::sleep(POLL_ALONE)).await.is_none() {
            return;
        }
        look_at_all(&shared).await;
    }
}

/// Listens until the connection fails.
async fn hear(
    shared: &Shared,
    connector: &Connector,
    armed: &mut Option<oneshot::Sender<()>>,
) -> QueryResult<()> {
    let mut connection = connector.connect().await.map_err(not_connected)?;
    answered(connection.batch_execute("LISTEN hookbox")).await?;
    // Looks only once it listens: what happens from here on is heard.
    look_at_all(shared).await;
    drop(armed.take());
    loop {
        let notification = {
            let mut notifications = std::pin::pin!(connection.notifications_stream());
            tokio::time::timeout(POLL, notifications.next()).await
        };
        match notification {
            Ok(Some(notification)) => {
                let notification = notification?;
                if let Some(news) = News::read(&notification.payload, &shared.process) {
                    take(shared, news).await;
                }
            }
            // Silence: is anybody there?
            Ok(None) | Err(_) => {
                answered(connection.batch_execute("SELECT 1")).await?;
                look_at_all(shared).await;
            }
        }
    }
}

/// Takes what another replica told.
async fn take(shared: &Shared, news: News) {
    let taken = match news.due {
        Some(Named::All) => look(shared).await,
        Some(Named::Some(queues)) => look_into(shared, queues.into_iter().collect()).await,
        None => Ok(()),
    };
    if let Err(error) = taken {
        tracing::debug!(error = %error, "what another replica told could not be looked at; looking again soon");
    }
    match news.freed {
        Some(Named::All) => {
            shared.schedule.free_all();
            shared.wake();
        }
        Some(Named::Some(routes)) if shared.schedule.free(&routes) => shared.wake(),
        _ => {}
    }
    if news.paused && pauses::refresh(shared).await.is_ok() {
        shared.wake();
    }
    if news.changed {
        look_at_watched(shared).await;
    }
}

/// Has claims look into these queues.
async fn look_into(shared: &Shared, queues: Vec<QueueId>) -> QueryResult<()> {
    if !shared.schedule.unknown(queues.iter().copied()).is_empty() {
        let mut connection = shared.asking.get().await?;
        let looking = queue_names::know(&shared.schedule, &mut connection, queues.iter().copied());
        let looking = answer(looking).await;
        connection.release(looking)?;
    }
    let now = shared.clock.now();
    shared.schedule.note(&queues.into_iter().map(|queue| (queue, now)).collect::<Vec<_>>());
    shared.wake();
    Ok(())
}

/// Looks for what may have been missed.
async fn look_at_all(shared: &Shared) {
    if let Err(error) = look(shared).await {
        tracing::debug!(error = %error, "the queues could not be looked at; looking again soon");
    }
    look_at_watched(shared).await;
}

/// Announces what other replicas did to the webhooks that are watched here.
async fn look_at_watched(shared: &Shared) {
    for ids in shared.changes.watched().chunks(WATCHED_AT_ONCE) {
        let Ok(mut connection) = shared.asking.get().await else { return };
        let stands = answer(queries::stand(&shared.schedule, &mut connection, ids)).await;
        match connection.release(stands) {
            Ok(stands) => shared.changes.announce_stand(&stands),
            Err(error) => {
                tracing::debug!(error = %error, "watched webhooks could not be looked at; looking again soon");
                return;
            }
        }
    }
}

statement! { Pg;
    struct TellOthers<'a> {
        payload: &'a str as Text,
    }
    returns ();
    "SELECT pg_notify('hookbox', ?)"
}
