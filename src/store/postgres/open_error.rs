//! The errors of opening a store. Their texts say what to do next.

use super::target::Target;
use super::tls::TlsError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// TLS could not be set up.
    #[error("cannot connect to {target} with the TLS parameters of its URL")]
    Tls {
        /// The database.
        target: Target,
        /// The error of the TLS set-up.
        source: TlsError,
    },
    /// The server did not respond, or refused the connection.
    #[error(
        "cannot connect to {target}; check that the server runs, and the user, the password and the database in the URL"
    )]
    Connect {
        /// The database.
        target: Target,
        /// The error of the server or the operating system.
        source: diesel::ConnectionError,
    },
    /// The server is too old.
    #[error("{target} is PostgreSQL {major}; hookbox needs 15 or later")]
    OldServer {
        /// The database.
        target: Target,
        /// The major version of the server.
        major: i32,
    },
    /// The database cannot hold every text.
    #[error(
        "{target} has the encoding {encoding}; hookbox needs UTF8: create the database anew with `CREATE DATABASE ... ENCODING \
         'UTF8' TEMPLATE template0`"
    )]
    Encoding {
        /// The database.
        target: Target,
        /// Its encoding.
        encoding: String,
    },
    /// The server takes no writes.
    #[error(
        "{target} is read-only, as a standby is: name the primary in the URL, or all hosts with `target_session_attrs=read-write`"
    )]
    ReadOnly {
        /// The database.
        target: Target,
    },
    /// The schema is missing, and the user may not create it.
    #[error(
        "{target} has no schema {schema}, and the user of the URL may not create one: run `GRANT CREATE ON DATABASE \
         {database} TO ...` for that user, or `CREATE SCHEMA {schema} AUTHORIZATION ...`"
    )]
    NoSchema {
        /// The database.
        target: Target,
        /// The name of the schema.
        schema: String,
        /// The name of the database, quoted if it needs quotes.
        database: String,
    },
    /// The schema is there, and the user may not use it.
    #[error(
        "the user of the URL may not use the schema {schema} of {target}: have its owner run {grants} for that user"
    )]
    NoRights {
        /// The database.
        target: Target,
        /// The name of the schema.
        schema: String,
        /// The statements that give the rights.
        grants: String,
    },
    /// The schema has tables, but not those of hookbox.
    #[error(
        "the schema of {target} has tables that are not hookbox's, such as {table}; nothing was changed: name another schema \
         in the URL, for example `?schema=webhook_inbox`"
    )]
    Foreign {
        /// The database.
        target: Target,
        /// One of the tables, after the name of the schema.
        table: String,
    },
    /// A statement of the set-up failed.
    #[error("cannot set up {target}")]
    Setup {
        /// The database.
        target: Target,
        /// The error of the server.
        source: diesel::result::Error,
    },
    /// A migration failed.
    #[error("cannot migrate {target}")]
    Migrate {
        /// The database.
        target: Target,
        /// The error of diesel.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A later version of hookbox has migrated the tables.
    #[error(
        "{target} was migrated by a later hookbox (migration {migration} is unknown here); start that version, or restore a backup"
    )]
    Newer {
        /// The database.
        target: Target,
        /// The first migration that this version does not know.
        migration: String,
    },
    /// A transfer to the database is not finished.
    #[error(
        "webhooks are being moved to {target} by a `hookbox transfer` that is not finished: let it finish, or run it again; if \
         you have abandoned it, use an empty database"
    )]
    Moving {
        /// The database.
        target: Target,
    },
    /// The task of the migration was cancelled or panicked.
    #[error("the migration was stopped")]
    Stopped(#[source] tokio::task::JoinError),
}

impl OpenError {
    /// Whether another try may succeed: the server could not be reached, is starting, or is a standby, which may be
    /// promoted soon.
    pub fn is_temporary(&self) -> bool {
        use diesel::ConnectionError::InvalidConnectionUrl;
        match self {
            Self::Connect { source, .. } => !matches!(source, InvalidConnectionUrl(_)),
            Self::ReadOnly { .. } => true,
            _ => false,
        }
    }
}
