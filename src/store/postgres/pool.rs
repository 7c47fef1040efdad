//! The pool of connections, and the shares of it. A connection on which something failed is closed and not returned to
//! the pool. If the database did not respond in time, the idle connections of the pool are closed, too.

use std::sync::Arc;
use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::{Object, Pool as Deadpool, PoolError};
use diesel_async::pooled_connection::{self, AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::target::Connector;
use crate::domain::error::Error;
use crate::store::statement::is_constraint;
use crate::telemetry::repeated::Repeated;

/// How long to wait for a connection, including the time to open a new one.
const WAIT: Duration = Duration::from_secs(3);

/// How long to wait for a response. Longer than the server lets a statement run, so that it passes only if
/// the network is interrupted.
const ANSWER: Duration = Duration::from_secs(12);

/// A share of a pool. It can always have its number of connections, however many the others use. An idle connection
/// serves any share, so a process opens only as many as it uses at once.
#[derive(Clone)]
pub(super) struct Pool {
    connections: Deadpool<AsyncPgConnection>,
    /// A permit for each connection of the share.
    permits: Arc<Semaphore>,
}

impl Pool {
    /// The shares of a new pool, with these numbers of connections. They are opened on demand.
    pub(super) fn shares<const N: usize>(connector: Arc<Connector>, sizes: [usize; N]) -> [Self; N] {
        let mut config = ManagerConfig::default();
        // The URL is not used: the connector knows the hosts.
        config.custom_setup = Box::new(move |_| {
            let connector = Arc::clone(&connector);
            async move { connector.connect().await }.boxed()
        });
        config.recycling_method = RecyclingMethod::Fast;
        let manager = AsyncDieselConnectionManager::new_with_config("", config);
        let mut pool = Deadpool::builder(manager).max_size(sizes.iter().sum());
        // Uses the most recently used connection first, so that few connections are in use under light load.
        pool = pool.queue_mode(deadpool::managed::QueueMode::Lifo);
        // Building fails only if timeouts are set without a runtime.
        #[expect(clippy::expect_used, reason = "no timeouts are set")]
        let connections = pool.build().expect("a pool without timeouts");
        sizes.map(|size| Self { connections: connections.clone(), permits: Arc::new(Semaphore::new(size)) })
    }

    /// Connects for the first time: waits as long as the hosts may take. The error says why there is no connection.
    pub(super) async fn connect(&self) -> ConnectionResult<Connection> {
        self.next().await.map_err(|error| match error {
            PoolError::Backend(pooled_connection::PoolError::ConnectionError(error)) => error,
            error => ConnectionError::BadConnection(error.to_string()),
        })
    }

    /// Waits at most [`WAIT`] for a connection. The error is a fault, see [`is_fault`].
    pub(super) async fn get(&self) -> QueryResult<Connection> {
        match tokio::time::timeout(WAIT, self.next()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(unreachable_now(error)),
            Err(_) => Err(unreachable_now("no connection was free in time")),
        }
    }

    /// Closes the idle connections of the whole pool.
    pub(super) fn close(&self) {
        self.connections.close();
    }

    async fn next(&self) -> Result<Connection, PoolError> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        Ok(Connection { connection: self.connections.get().await?, _permit: permit })
    }
}

static STATEMENTS: Repeated = Repeated::new("the database answers again");

/// A connection of a pool.
pub(super) struct Connection {
    connection: Object<AsyncPgConnection>,
    /// Dropped last: the next holder of the permit finds the connection in the pool.
    _permit: Option<OwnedSemaphorePermit>,
}

impl std::ops::Deref for Connection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.connection
    }
}

impl std::ops::DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}

impl Connection {
    /// Returns the connection to the pool if `answer` is a success. Otherwise closes it, which also rolls
    /// back a transaction that is still open.
    pub(super) fn release<T>(self, answer: Answer<T>) -> QueryResult<T> {
        let answer = answer.unwrap_or_else(|_| {
            // The idle connections are probably interrupted as well, and each would cost the same wait.
            if let Some(pool) = Object::pool(&self.connection) {
                pool.retain(|_, _| false);
            }
            Err(late())
        });
        match &answer {
            Ok(_) => STATEMENTS.works(),
            Err(error) => {
                STATEMENTS.failed(|times| {
                    tracing::warn!(times, error = %error, "the database refused a statement, or did not answer; its connection is closed");
                });
                drop(Object::take(self.connection));
            }
        }
        answer
    }

    /// Takes the connection out of the pool, for a session with settings of its own.
    pub(super) fn detach(self) -> AsyncPgConnection {
        Object::take(self.connection)
    }
}

/// The result of statements, or an error if the database did not respond in time.
pub(super) type Answer<T> = Result<QueryResult<T>, tokio::time::error::Elapsed>;

/// Waits at most [`ANSWER`] for statements to finish.
pub(super) async fn answer<T>(asked: impl Future<Output = QueryResult<T>>) -> Answer<T> {
    tokio::time::timeout(ANSWER, asked).await
}

/// Whether the database or the connection is at fault, and not the statement. Errors of unknown kind count as faults, see
/// `one_by_one`.
pub(super) fn is_fault(error: &QueryError) -> bool {
    match error {
        QueryError::DatabaseError(kind, _) => !is_constraint(kind),
        QueryError::DeserializationError(_) | QueryError::SerializationError(_) => false,
        _ => true,
    }
}

/// The error of the domain for a failed statement.
pub(super) fn refused(error: QueryError) -> Error {
    if is_fault(&error) {
        Error::store_unavailable("the database is not available at the moment; try again", error)
    } else {
        Error::internal(error)
    }
}

/// The error for an answer that did not come within [`ANSWER`].
pub(super) fn late() -> QueryError {
    unreachable_now("the database did not answer in time")
}

fn unreachable_now(problem: impl ToString) -> QueryError {
    QueryError::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(problem.to_string()))
}

/// The error for a connection that could not be opened.
pub(super) fn not_connected(error: ConnectionError) -> QueryError {
    unreachable_now(error)
}
