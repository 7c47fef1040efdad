//! Why a store could not be opened, as a person who starts it is told.

use super::target::Target;
use super::tls::TlsError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// TLS could not be set up.
    #[error("cannot connect to {target} as its URL says")]
    Tls {
        /// The database.
        target: Target,
        /// What is wrong.
        source: TlsError,
    },
    /// There was no answer, or the server refused the connection.
    #[error(
        "cannot connect to {target}; check that it runs, and the user, the password and the name in the URL"
    )]
    Connect {
        /// The database.
        target: Target,
        /// What the server or the system said.
        source: diesel::ConnectionError,
    },
    /// The server is too old.
    #[error("{target} is PostgreSQL {major}; hookbox needs 15 or later")]
    OldServer {
        /// The database.
        target: Target,
        /// Its major version.
        major: i32,
    },
    /// A statement of the set-up failed.
    #[error("cannot set up {target}")]
    Setup {
        /// The database.
        target: Target,
        /// What the server said.
        source: diesel::result::Error,
    },
    /// The tables could not be brought up to date.
    #[error("cannot migrate {target}: {source}")]
    Migrate {
        /// The database.
        target: Target,
        /// What diesel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tables are of a later hookbox.
    #[error(
        "{target} was migrated by a later hookbox (migration {migration} is unknown here); start that version, or restore a backup"
    )]
    Newer {
        /// The database.
        target: Target,
        /// The first migration that is not known here.
        migration: String,
    },
    /// A part of its webhooks is not here yet.
    #[error(
        "webhooks are being moved to {target} by a `hookbox transfer` that is not finished: let it finish, or run it again; if \
         it was given up, take an empty database"
    )]
    Moving {
        /// The database.
        target: Target,
    },
    /// The process ended meanwhile.
    #[error("the migration was stopped")]
    Stopped(#[source] tokio::task::JoinError),
}
