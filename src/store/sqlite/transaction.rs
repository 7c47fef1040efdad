//! A write transaction under way: what its commands may use, and what its commit will make known.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use diesel::result::Error as QueryError;
use diesel::sqlite::SqliteConnection;
use rand::rngs::SmallRng;

use super::connection::Owner;
use super::counts::Counts;
use super::wal;
use crate::domain::clock::{Clock, Signal};
use crate::domain::error::Error;
use crate::domain::id::WebhookIds;
use crate::store::changes::{Change, Changes};
use crate::telemetry::metrics::Metrics;

/// What commands need besides the connection.
pub(super) struct Context {
    pub(super) path: PathBuf,
    pub(super) _owner: Owner,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: WebhookIds<SmallRng>,
    pub(super) counts: Counts,
    pub(super) limits: Limits,
    pub(super) changes: Arc<Changes>,
    pub(super) wake: Arc<OnceLock<Arc<Signal>>>,
    pub(super) log: Arc<wal::Log>,
    pub(super) metrics: Arc<Metrics>,
}

/// Limits that the accepting transaction enforces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_backlog: u64,
    pub(super) max_attempts: u32,
}

/// Why a command did not go through.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The command is refused; it has written nothing.
    Domain(Error),
    /// A statement failed; the transaction must not be committed.
    Query(QueryError),
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Domain(error)
    }
}

/// A transaction under way, and what its commit will make known.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a mut SqliteConnection,
    pub(super) context: &'a mut Context,
    pub(super) changes: Vec<Change>,
    pub(super) made_due: bool,
}
