//! Opens and sets up connections to the file, and runs missing migrations.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::open_error::OpenError;
use super::owner::Owner;
use crate::store::statement::statement;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Marks a file as hookbox's: "hkbx" in ASCII. See `PRAGMA application_id`.
pub(super) const APPLICATION_ID: i64 = 0x686b_6278;

/// The oldest safe version: older libraries can corrupt a file in WAL mode that has several connections
/// (<https://www.sqlite.org/wal.html#walresetbug>).
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How long a connection waits for a lock of another process, such as a `sqlite3` shell.
const BUSY_TIMEOUT_MS: u32 = 5_000;

/// The size of the writer's page cache. A larger cache makes commits slower: after a page split, SQLite walks
/// the whole cache at the end of the transaction.
const WRITER_CACHE_KIB: u32 = 8 * 1024;

/// The size of a reader's page cache.
const READER_CACHE_KIB: u32 = 2 * 1024;

/// The size of the page cache of a connection that checks a copy.
const CHECKER_CACHE_KIB: u32 = 64 * 1024;

/// The permissions of a new file: only its owner can read and write it.
pub(super) const OWNER_ONLY: u32 = 0o600;

/// The size to which SQLite truncates the WAL file when writing starts over at its beginning.
const WAL_KEPT_BYTES: u64 = 192 * 1024 * 1024;

/// A locked file with all migrations run.
pub(super) struct OwnedFile {
    /// The canonical path of the file.
    pub(super) path: PathBuf,
    /// The writing connection. Dropped before `owner`, so that it is closed before the lock is released.
    pub(super) connection: SqliteConnection,
    pub(super) owner: Owner,
    /// The names of the migrations that this opening ran.
    pub(super) applied: Vec<String>,
}

impl OwnedFile {
    /// Locks and opens the file, and runs missing migrations. Creates a missing file.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let path = resolve(path)?;
        let owner = Owner::of(&path)?;
        // One connection for all of it: closing another one would copy the write-ahead log back first.
        let mut connection = connect(&path)?;
        claim_file(&path, &mut connection)?;
        set_up_writer(&path, &mut connection)?;
        let applied = migrate(&path, &mut connection)?;
        owner.note_log(&path);
        Ok(Self { path, connection, owner, applied })
    }
}

/// The canonical path of the file, so that a link to the file uses the same lock. Creates a missing file,
/// which only its owner can read, because it will hold payloads.
fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    let at = |source| OpenError::file(path, source);
    match File::options().write(true).create_new(true).mode(OWNER_ONLY).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(at(error)),
    }
    std::fs::canonicalize(path).map_err(at)
}

/// Marks an empty file as hookbox's, and refuses a file of another program before anything in it is changed.
fn claim_file(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let failed = |source: diesel::result::Error| match source.to_string().as_str() {
        // The text of SQLITE_NOTADB. Diesel does not pass its code on.
        "file is not a database" => OpenError::NoDatabase(path.to_owned()),
        _ => failed_setup(path, source),
    };
    let (id, objects) = SelectApplication {}.get_result::<(i64, i64)>(connection).map_err(failed)?;
    match (id, objects) {
        (APPLICATION_ID, _) => Ok(()),
        // The first write of the file: `auto_vacuum` cannot be changed later.
        (0, 0) => {
            let pragmas =
                ["auto_vacuum = INCREMENTAL".to_owned(), format!("application_id = {APPLICATION_ID}")];
            set_up(path, connection, &pragmas.map(|pragma| format!("PRAGMA {pragma}")))
        }
        _ => Err(OpenError::Foreign(path.to_owned())),
    }
}

/// Opens the writing connection.
pub(super) fn open_writer(path: &Path) -> Result<SqliteConnection, OpenError> {
    let mut connection = connect(path)?;
    set_up_writer(path, &mut connection)?;
    Ok(connection)
}

fn set_up_writer(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    set_up(
        path,
        connection,
        &[
            format!("PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}"),
            "PRAGMA journal_mode = WAL".to_owned(),
            "PRAGMA synchronous = FULL".to_owned(),
            "PRAGMA foreign_keys = ON".to_owned(),
            format!("PRAGMA journal_size_limit = {WAL_KEPT_BYTES}"),
            // `wal.rs` runs the checkpoints.
            "PRAGMA wal_autocheckpoint = 0".to_owned(),
            format!("PRAGMA cache_size = -{WRITER_CACHE_KIB}"),
        ],
    )
}

/// Opens a connection that cannot write.
pub(super) fn open_reader(path: &Path) -> Result<SqliteConnection, OpenError> {
    let mut connection = connect(path)?;
    set_up(
        path,
        &mut connection,
        &[
            format!("PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}"),
            "PRAGMA query_only = ON".to_owned(),
            format!("PRAGMA cache_size = -{READER_CACHE_KIB}"),
        ],
    )?;
    Ok(connection)
}

/// Opens the connection that copies the WAL back into the file.
pub(super) fn open_checkpointer(path: &Path) -> Result<SqliteConnection, OpenError> {
    let mut connection = connect(path)?;
    set_up(
        path,
        &mut connection,
        &[
            format!("PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}"),
            "PRAGMA synchronous = FULL".to_owned(),
            "PRAGMA wal_autocheckpoint = 0".to_owned(),
            // Opens the log: SQLite would delete it when the writer closes its connection after a fault.
            "SELECT count(*) FROM sqlite_schema".to_owned(),
            "PRAGMA busy_timeout = 0".to_owned(),
        ],
    )?;
    Ok(connection)
}

/// Opens a copy that no other process uses, and moves what is in its write-ahead log into the file. Then the file is
/// all of the copy. Nothing is synced.
pub(super) fn open_copy(path: &Path) -> Result<SqliteConnection, OpenError> {
    let mut connection = connect(path)?;
    set_up(
        path,
        &mut connection,
        &[
            format!("PRAGMA cache_size = -{CHECKER_CACHE_KIB}"),
            "PRAGMA synchronous = OFF".to_owned(),
            // Reads the log. A process that serves the file later sets it back to WAL.
            "PRAGMA journal_mode = DELETE".to_owned(),
        ],
    )?;
    Ok(connection)
}

/// Runs the missing migrations, and returns their names.
fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<Vec<String>, OpenError> {
    check_versions(path, connection)?;
    let failed = |source| OpenError::Migrate { path: path.to_owned(), source };
    let applied = connection.run_pending_migrations(MIGRATIONS).map_err(failed)?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

/// Refuses a SQLite library that can corrupt the file, and a file that a later version of hookbox has migrated.
pub(super) fn check_versions(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    check_library(connection).map_err(|source| match source {
        LibraryFault::Old(version) => OpenError::OldLibrary(version),
        LibraryFault::Query(source) => OpenError::Setup { path: path.to_owned(), source },
    })?;
    let failed = |source| OpenError::Migrate { path: path.to_owned(), source };
    let known = known_migrations().map_err(failed)?;
    let unknown = connection
        .applied_migrations()
        .map_err(failed)?
        .into_iter()
        .map(|version| version.to_string())
        .find(|version| !known.contains(version));
    match unknown {
        Some(migration) => Err(OpenError::Newer { path: path.to_owned(), migration }),
        None => Ok(()),
    }
}

/// Whether exactly the migrations that this version knows have run.
pub(super) fn is_current(connection: &mut SqliteConnection) -> diesel::migration::Result<bool> {
    let mut applied = connection.applied_migrations()?.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut known = known_migrations()?;
    applied.sort();
    known.sort();
    Ok(applied == known)
}

fn known_migrations() -> diesel::migration::Result<Vec<String>> {
    let known = diesel::migration::MigrationSource::<diesel::sqlite::Sqlite>::migrations(&MIGRATIONS)?;
    Ok(known.iter().map(|migration| migration.name().version().to_string()).collect())
}

fn connect(path: &Path) -> Result<SqliteConnection, OpenError> {
    SqliteConnection::establish(&path.to_string_lossy())
        .map_err(|source| OpenError::Connect { path: path.to_owned(), source })
}

/// Runs each statement on its own, because SQLite ignores some pragmas in a text of several
/// statements.
fn set_up(path: &Path, connection: &mut SqliteConnection, pragmas: &[String]) -> Result<(), OpenError> {
    pragmas
        .iter()
        .try_for_each(|pragma| connection.batch_execute(pragma).map_err(|source| failed_setup(path, source)))
}

fn failed_setup(path: &Path, source: diesel::result::Error) -> OpenError {
    let path = path.to_owned();
    match source.to_string().as_str() {
        // The text of SQLITE_CANTOPEN.
        "unable to open database file" => OpenError::Files { path, source },
        // The text of SQLITE_READONLY.
        "attempt to write a readonly database" => OpenError::ReadOnly { path, source },
        _ => OpenError::Setup { path, source },
    }
}

enum LibraryFault {
    Old(String),
    Query(diesel::result::Error),
}

fn check_library(connection: &mut SqliteConnection) -> Result<(), LibraryFault> {
    let version: String = diesel::select(diesel::dsl::sql::<Text>("sqlite_version()"))
        .get_result(connection)
        .map_err(LibraryFault::Query)?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < OLDEST_SQLITE {
        return Err(LibraryFault::Old(version));
    }
    Ok(())
}

// The mark of the program that the file belongs to, and the number of its tables, indexes and views.
statement! { Sqlite;
    struct SelectApplication {}
    returns (BigInt, BigInt);
    "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id"
}
