//! Why webhooks are not moved, and what to do about it.

use std::path::PathBuf;

use diesel::result::{DatabaseErrorKind, Error as QueryError};
use jiff::Timestamp;

use super::row_counts::Differences;
use crate::domain::error::Error;
use crate::store::{postgres, sqlite};

/// Why webhooks are not moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// There is nothing to move from.
    #[error("there is no file {}; give the one that hookbox served, such as sqlite://hookbox.db", .0.display())]
    Missing(PathBuf),
    /// The file could not be opened.
    #[error("cannot open the file")]
    File(#[from] sqlite::OpenError),
    /// The database could not be opened.
    #[error("cannot open the database")]
    Database(#[source] Box<postgres::OpenError>),
    /// The file could not be read, or not be marked.
    #[error("cannot move the webhooks of {}; run the same command again, it goes on where it stopped", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the store said.
        source: Error,
    },
    /// The database could not be written, or not be read.
    #[error("cannot move webhooks to {to}; run the same command again, it goes on where it stopped")]
    Write {
        /// The database.
        to: postgres::Target,
        /// What the server said.
        source: QueryError,
    },
    /// A part of the webhooks is in another database.
    #[error(
        "the webhooks of {path} are being moved to {moved_to}, and {to} knows nothing of it; go on with the first one, \
         or, if it was thrown away, begin anew after `hookbox transfer --abandon --from sqlite://{path}`",
        path = .path.display()
    )]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// Where they are being moved to.
        moved_to: String,
        /// Where they should be moved to.
        to: postgres::Target,
    },
    /// The webhooks are in another database, all of them.
    #[error(
        "the webhooks of {path} were moved to {moved_to}, which was finished at {finished_at}, and {to} knows nothing of \
         it; start hookbox with the first one",
        path = .path.display()
    )]
    Moved {
        /// The file.
        path: PathBuf,
        /// Where they are.
        moved_to: String,
        /// Since when.
        finished_at: Timestamp,
        /// Where they should be moved to.
        to: postgres::Target,
    },
    /// The database holds other data.
    #[error(
        "{to} holds other data: {webhooks} webhooks that are not of this transfer; move to a database that is empty"
    )]
    Occupied {
        /// The database.
        to: postgres::Target,
        /// How many webhooks it holds.
        webhooks: u64,
    },
    /// Somebody serves from the database.
    #[error(
        "hookbox serves from {to} ({}); it would run jobs before all are moved: stop it, and start it after the transfer",
        .processes.join(", ")
    )]
    InUse {
        /// The database.
        to: postgres::Target,
        /// What the processes are called.
        processes: Vec<String>,
    },
    /// The database has it that another process moved the same webhooks, or has begun anew.
    #[error(
        "another `hookbox transfer` writes to {to}, from a copy of the file or from another one; end it, and run this one again"
    )]
    Overtaken {
        /// The database.
        to: postgres::Target,
    },
    /// The database was given webhooks besides.
    #[error(
        "{to} has one of these webhooks already, from elsewhere ({conflict}); move to a database that is empty"
    )]
    Collided {
        /// The database.
        to: postgres::Target,
        /// What the server said.
        conflict: String,
    },
    /// All were moved, and the two sides are not equal.
    #[error(
        "the counts differ: {differences}; something else has written to {to}. The file is as it was: begin anew with an \
         empty database, after `hookbox transfer --abandon --from sqlite://{path}`",
        path = .path.display()
    )]
    Different {
        /// The file.
        path: PathBuf,
        /// The database.
        to: postgres::Target,
        /// What differs.
        differences: Differences,
    },
}

/// What a statement that failed means for a transfer.
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
