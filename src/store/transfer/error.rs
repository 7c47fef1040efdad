//! The errors of a transfer. Their texts say what to do next.

use std::path::PathBuf;

use diesel::result::{DatabaseErrorKind, Error as QueryError};
use jiff::Timestamp;

use super::row_counts::Differences;
use crate::domain::error::Error;
use crate::store::{postgres, sqlite};

/// Why a transfer could not begin, continue or finish.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file to move from does not exist.
    #[error("there is no file {}; give the one that hookbox served, such as sqlite://hookbox.db", .0.display())]
    Missing(PathBuf),
    /// The file could not be opened.
    #[error("cannot open the file")]
    File(#[from] sqlite::OpenError),
    /// The database could not be opened.
    #[error("cannot open the database")]
    Database(#[source] Box<postgres::OpenError>),
    /// The file could not be read or marked.
    #[error("cannot move the webhooks of {}; run the same command again, it continues where it stopped", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the store.
        source: Error,
    },
    /// The database could not be written or read.
    #[error("cannot move webhooks to {to}; run the same command again, it continues where it stopped")]
    Write {
        /// The database.
        to: postgres::Target,
        /// The error of the server.
        source: QueryError,
    },
    /// A transfer of the file to another database is not finished.
    #[error(
        "the webhooks of {path} are being moved to {moved_to}, not to {to}; finish that transfer, or, if that database was \
         deleted, start again after `hookbox transfer --abandon --from sqlite://{path}`",
        path = .path.display()
    )]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// The database of the transfer that is not finished.
        moved_to: String,
        /// The database of this transfer.
        to: postgres::Target,
    },
    /// A transfer of the file to another database is finished.
    #[error(
        "the webhooks of {path} were moved to {moved_to} (finished at {finished_at}), not to {to}; start hookbox with \
         {moved_to}",
        path = .path.display()
    )]
    Moved {
        /// The file.
        path: PathBuf,
        /// The database that has the webhooks.
        moved_to: String,
        /// When that transfer was finished.
        finished_at: Timestamp,
        /// The database of this transfer.
        to: postgres::Target,
    },
    /// The database holds webhooks of something else.
    #[error(
        "{to} holds other data: {webhooks} webhooks that are not from this transfer; move to an empty database"
    )]
    Occupied {
        /// The database.
        to: postgres::Target,
        /// The number of webhooks in the database.
        webhooks: u64,
    },
    /// Processes are serving from the database.
    #[error(
        "hookbox serves from {to} (processes: {}) and would run jobs before all webhooks are moved; stop it, and start it after the transfer",
        .processes.join(", ")
    )]
    InUse {
        /// The database.
        to: postgres::Target,
        /// The names of the processes.
        processes: Vec<String>,
    },
    /// The position in the database has changed: another process moves webhooks to it.
    #[error(
        "another `hookbox transfer` writes to {to}, from a copy of this file or from another file; stop it, and run this one again"
    )]
    Overtaken {
        /// The database.
        to: postgres::Target,
    },
    /// The database has a webhook with the same id or key that is not from this transfer.
    #[error("{to} already has one of these webhooks, from elsewhere ({conflict}); move to an empty database")]
    Collided {
        /// The database.
        to: postgres::Target,
        /// The conflict, as the server reports it.
        conflict: String,
    },
    /// All webhooks were moved, but the counts of the two sides differ.
    #[error(
        "the counts differ: {differences}; something else has written to {to}. The file is unchanged: start again with an \
         empty database, after `hookbox transfer --abandon --from sqlite://{path}`",
        path = .path.display()
    )]
    Different {
        /// The file.
        path: PathBuf,
        /// The database.
        to: postgres::Target,
        /// The differing counts.
        differences: Differences,
    },
}

/// The transfer error for a failed statement. `NotFound` means that the position has changed.
pub(super) fn refused(to: &postgres::Target, error: QueryError) -> TransferError {
    let to = to.clone();
    match error {
        QueryError::NotFound => TransferError::Overtaken { to },
        QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, said) => {
            let conflict = said.details().unwrap_or(said.message()).to_owned();
            TransferError::Collided { to, conflict }
        }
        source => TransferError::Write { to, source },
    }
}
