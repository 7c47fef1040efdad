//! The lock of a database file. Notices if the file or its write-ahead log is not where it was.

use std::fs::{File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use diesel::result::{DatabaseErrorKind, Error as QueryError};

use super::open_error::OpenError;

/// An exclusive lock of a database file, held until this value is dropped. The kernel also releases the lock
/// when the process ends, even by a crash.
#[derive(Debug)]
pub(super) struct Owner {
    file: File,
    id: FileId,
    /// The write-ahead log that this process has open, once it exists.
    log: OnceLock<(PathBuf, FileId)>,
}

/// Which file it is, by device and inode. No other file has the same as long as a process has this one open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId(u64, u64);

impl From<Metadata> for FileId {
    fn from(metadata: Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

impl FileId {
    /// False if the path leads to another file, or to none. True also if the path cannot be looked at.
    fn is_at(self, path: &Path) -> bool {
        match std::fs::metadata(path) {
            Ok(there) => Self::from(there) == self,
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
    }
}

/// What is not where it was.
enum Misplaced {
    /// The database file.
    File,
    /// Its write-ahead log alone.
    Log,
}

impl Owner {
    /// Locks the file itself, so that every name of it has the same lock. SQLite's own locks are of another kind
    /// and do not conflict. Fails with `Owned` if another process holds the lock.
    pub(super) fn of(path: &Path) -> Result<Self, OpenError> {
        let at = |source| OpenError::file(path, source);
        let file = File::options().read(true).write(true).open(path).map_err(at)?;
        match file.try_lock() {
            Ok(()) => {
                let id = file.metadata().map_err(at)?.into();
                Ok(Self { file, id, log: OnceLock::new() })
            }
            Err(TryLockError::WouldBlock) => {
                // Closed only with the process: if this process has the file open as a database too, closing it
                // here would release SQLite's locks of it (<https://www.sqlite.org/howtocorrupt.html>).
                std::mem::forget(file);
                Err(OpenError::Owned(path.to_owned()))
            }
            Err(TryLockError::Error(source)) => Err(at(source)),
        }
    }

    /// Notes which write-ahead log is open. Call it while a connection that has read the file is open. SQLite keeps the
    /// log as long as such a connection is.
    pub(super) fn note_log(&self, path: &Path) {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        if let Ok(metadata) = std::fs::metadata(&log) {
            // Fails if it is noted already.
            let _ = self.log.set((log.into(), metadata.into()));
        }
    }

    /// Fails if the file or its write-ahead log is not at its path any more. The error says what to do.
    pub(super) fn check(&self, path: &Path) -> Result<(), QueryError> {
        let misplaced = self.misplaced(path);
        let path = path.display();
        let text = match misplaced {
            None => return Ok(()),
            Some(Misplaced::File) => format!(
                "{path} was moved, deleted or replaced while hookbox uses it; put it back, with its -wal and -shm, before \
                 hookbox starts again"
            ),
            Some(Misplaced::Log) => format!(
                "{path}-wal was moved, deleted or replaced while hookbox uses it; put it back, or stop hookbox without killing \
                 it: the stop copies what the log has into {path}"
            ),
        };
        Err(QueryError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text)))
    }

    /// What was moved, deleted or replaced: the file at this path, or its write-ahead log.
    fn misplaced(&self, path: &Path) -> Option<Misplaced> {
        if !self.id.is_at(path) {
            return Some(Misplaced::File);
        }
        let (log, id) = self.log.get()?;
        (!id.is_at(log)).then_some(Misplaced::Log)
    }

    /// Whether the file is at this path, with its write-ahead log beside it. True also if one of them cannot be looked at.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.misplaced(path).is_none()
    }
}

impl Drop for Owner {
    /// Closing the file would not do: a program that is being started has it open as well, until it begins.
    fn drop(&mut self) {
        // Without this, the lock ends when that program begins.
        let _ = self.file.unlock();
    }
}
