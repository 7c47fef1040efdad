//! The file that is copied.

use std::fs::{File, TryLockError};
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::sqlite::SqliteConnection;

use super::error::BackupError;
use crate::store::sqlite::connection::{self, APPLICATION_ID};
use crate::store::sqlite::open_error::OpenError;

/// How a SQLite database begins (<https://www.sqlite.org/fileformat.html#the_database_header>).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Where the header has the application id, four bytes with the highest first.
const APPLICATION_ID_AT: u64 = 68;

/// A file of hookbox.
#[derive(Debug)]
pub(super) struct Source {
    /// The canonical path of the file.
    path: PathBuf,
    /// Closed only with the process: closing it would release the locks that SQLite has on it.
    file: ManuallyDrop<File>,
}

impl Source {
    /// Opens the file to read it. Errors: it is missing, or not hookbox's.
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let unread = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => BackupError::Missing(path.to_owned()),
            _ => BackupError::reading(path, source),
        };
        // SQLite finds the log beside the file itself, not beside a link to it.
        let canonical = std::fs::canonicalize(path).map_err(unread)?;
        let file = ManuallyDrop::new(File::open(&canonical).map_err(unread)?);
        if is_of_hookbox(&file).map_err(unread)? {
            Ok(Self { path: canonical, file })
        } else {
            Err(BackupError::Foreign(canonical))
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Begins a read transaction. While it is open, the file and its log can be copied.
    pub(super) fn snapshot(&self) -> Result<SqliteConnection, BackupError> {
        let mut connection = connection::open_reader(&self.path).map_err(BackupError::Open)?;
        connection
            .batch_execute("BEGIN")
            .map_err(|source| BackupError::Open(OpenError::Setup { path: self.path.clone(), source }))?;
        // The first read begins the transaction: this one reads the names of the migrations.
        match connection::check_versions(&self.path, &mut connection) {
            Ok(()) => Ok(connection),
            Err(OpenError::Newer { path, migration }) => Err(BackupError::Newer { path, migration }),
            Err(error) => Err(BackupError::Open(error)),
        }
    }

    /// Refuses a file that a process has open to serve or move it: without a read transaction, a copy would be of
    /// several moments. Holds the lock, so that none opens it meanwhile.
    pub(super) fn refuse_served(&self) -> Result<(), BackupError> {
        match self.file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(BackupError::Served(self.path.clone())),
            // Some file systems have no locks; hookbox cannot serve a file there.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        }
    }
}

fn is_of_hookbox(file: &File) -> io::Result<bool> {
    let (mut magic, mut id) = ([0; 16], [0; 4]);
    let read = file.read_exact_at(&mut magic, 0);
    match read.and_then(|()| file.read_exact_at(&mut id, APPLICATION_ID_AT)) {
        Ok(()) => Ok(magic == *MAGIC && i64::from(u32::from_be_bytes(id)) == APPLICATION_ID),
        // Shorter than a header.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
