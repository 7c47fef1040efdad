//! Notifications between replicas: that webhooks have come in, that jobs are due, have changed or ended, that something
//! was paused, or that a breaker has opened or was closed.
//!
//! At commit, `NOTIFY` takes a global lock of the server. So a notification is never part of a transaction
//! that stores something, and each replica sends only a few a second, each with all news since the last one.
//! Notifications only save time: a replica that misses one learns the same at its next poll.

use std::time::Duration;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use futures::StreamExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::background::Background;
use super::look::look;
use super::notifier::{Named, News};
use super::pool::{answer, late, not_connected};
use super::shared::Shared;
use super::target::Connector;
use super::{breakers, pauses, queries, queue_names};
use crate::domain::job::QueueId;
use crate::store::statement::statement;
use crate::telemetry::repeated::Repeated;

/// The minimum time between two notifications of a process.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// The time without a notification after which the process polls all the same.
const POLL: Duration = Duration::from_secs(5);

/// How often to poll while the process cannot receive notifications.
const POLL_ALONE: Duration = Duration::from_millis(500);

/// Maximum number of watched webhooks that one statement reads.
const WATCHED_AT_ONCE: usize = 1_000;

static TELLING: Repeated = Repeated::new("the other replicas are notified again");
static LISTENING: Repeated = Repeated::new("notifications of other replicas are received again");

/// Notifies the other replicas of news, until the store closes.
pub(super) async fn tell_others(Background { shared, connector, closing }: Background) {
    let mut connection = None;
    while let Some(news) = closing.run_until_cancelled(shared.notifier.next()).await {
        // The news that woke this task may have been sent with the last notification.
        if news == News::default() {
            continue;
        }
        let told = tell(&connector, &mut connection, &news.write(&shared.process)).await;
        match told {
            Ok(()) => TELLING.works(),
            Err(error) => {
                TELLING.failed(|times| {
                    tracing::warn!(times, error = %error, "the other replicas could not be notified; they find the news when they poll");
                });
                connection = None;
            }
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
            // This connection stores nothing, so its commits need no flush.
            answered(opened.batch_execute("SET synchronous_commit = off")).await?;
            closed.insert(opened)
        }
    };
    answered(TellOthers { payload }.execute(connection)).await.map(|_| ())
}

/// Waits for a response with the limit of [`answer`]. No response in time is a fault of the connection.
async fn answered<T>(asked: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
    answer(asked).await.unwrap_or_else(|_| Err(late()))
}

/// Listens for notifications until the store closes. Drops `armed` once it listens, or once listening has
/// failed.
pub(super) async fn listen(
    Background { shared, connector, closing }: Background,
    mut armed: Option<oneshot::Sender<()>>,
) {
    loop {
        let heard = closing.run_until_cancelled(hear(&shared, &connector, &mut armed)).await;
        // Lets the store open even if listening failed.
        drop(armed.take());
        let Some(heard) = heard else { return };
        if let Err(error) = heard {
            LISTENING.failed(|times| {
                tracing::warn!(times, error = %error, "notifications of other replicas cannot be received; polling more often instead");
            });
        }
        if closing.run_until_cancelled(tokio::time::sleep(POLL_ALONE)).await.is_none() {
            return;
        }
        look_at_all(&shared).await;
    }
}

/// Listens until the connection fails. Polls every [`POLL`], whatever notifications arrive.
async fn hear(
    shared: &Shared,
    connector: &Connector,
    armed: &mut Option<oneshot::Sender<()>>,
) -> QueryResult<()> {
    let mut connection = connector.connect().await.map_err(not_connected)?;
    answered(connection.batch_execute("LISTEN hookbox")).await?;
    // Polls after it listens, so that no event in between is missed.
    look_at_all(shared).await;
    drop(armed.take());
    let mut poll_at = Instant::now() + POLL;
    loop {
        let notification = {
            let mut notifications = std::pin::pin!(connection.notifications_stream());
            // Biased: notifications that keep coming do not keep it from polling.
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(poll_at) => None,
                notification = notifications.next() => notification,
            }
        };
        match notification {
            Some(notification) => {
                let notification = notification?;
                if let Some(news) = News::read(&notification.payload, &shared.process) {
                    take(shared, news).await;
                }
            }
            // Checks the connection, and polls.
            None => {
                answered(connection.batch_execute("SELECT 1")).await?;
                LISTENING.works();
                look_at_all(shared).await;
                poll_at = Instant::now() + POLL;
            }
        }
    }
}

/// Processes the news of another replica.
async fn take(shared: &Shared, news: News) {
    let taken = match news.due {
        Some(Named::All) => look(shared).await,
        Some(Named::Some(queues)) => look_into(shared, queues.into_iter().collect()).await,
        None => Ok(()),
    };
    if let Err(error) = taken {
        tracing::debug!(error = %error, "news of another replica could not be processed; polling again soon");
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
    if news.breakers && breakers::refresh(shared).await.is_ok() {
        shared.wake();
    }
    if news.arrived {
        shared.changes.arrive();
    }
    if news.changed {
        look_at_watched(shared).await;
    }
}

/// Notes that these queues have something due, and wakes the dispatcher.
async fn look_into(shared: &Shared, queues: Vec<QueueId>) -> QueryResult<()> {
    if !shared.schedule.unknown(queues.iter().copied()).is_empty() {
        let mut connection = shared.asking.get().await?;
        let looking = queue_names::know(&shared.schedule, &mut connection, queues.iter().copied());
        let looking = answer(looking).await;
        connection.release(looking)?;
    }
    let now = shared.now();
    shared.schedule.note(&queues.into_iter().map(|queue| (queue, now)).collect::<Vec<_>>());
    shared.wake();
    Ok(())
}

/// Polls all queues, pauses, breakers and watched webhooks.
async fn look_at_all(shared: &Shared) {
    if let Err(error) = look(shared).await {
        tracing::debug!(error = %error, "the queues could not be read; polling again soon");
    }
    look_at_watched(shared).await;
}

/// Reads the webhooks that are watched in this process, and announces changes that other replicas made.
async fn look_at_watched(shared: &Shared) {
    for ids in shared.changes.watched().chunks(WATCHED_AT_ONCE) {
        let Ok(mut connection) = shared.asking.get().await else { return };
        let stands = answer(queries::stand(&shared.schedule, &mut connection, ids)).await;
        match connection.release(stands) {
            Ok(stands) => shared.changes.announce(&stands),
            Err(error) => {
                tracing::debug!(error = %error, "watched webhooks could not be read; polling again soon");
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
