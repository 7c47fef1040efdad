//! The errors of opening a store. Their texts say what to do next.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the file.
    #[error(
        "another hookbox process owns {}; only one process can use a SQLite file: stop the other process, or use another file",
        .0.display()
    )]
    Owned(PathBuf),
    /// The file or its folder cannot be used.
    #[error("cannot use {}; check that its folder exists and is writable", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is there, but its rights do not let this process read and write it.
    #[error(
        "may not read and write {}; give it to the user that runs hookbox (`chown`), with the rights 0600",
        .path.display()
    )]
    Rights {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The path leads to a folder.
    #[error("{} is a folder; name a file in it in database_url", .0.display())]
    Folder(PathBuf),
    /// SQLite may not write the file, or make its other files beside it.
    #[error(
        "cannot write {file}, or {file}-wal and {file}-shm beside it; check that the user that runs hookbox may write these \
         files and their folder, and that the file system is not mounted read-only",
        file = .path.display()
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: diesel::result::Error,
    },
    /// The file is no database.
    #[error(
        "{} is not a SQLite database, or its beginning is damaged; nothing was changed: name another file in database_url, \
         or restore a backup",
        .0.display()
    )]
    NoDatabase(PathBuf),
    /// The file belongs to another program.
    #[error(
        "{} is a database of another program, or of a hookbox before its first release; nothing was changed: use another file",
        .0.display()
    )]
    Foreign(PathBuf),
    /// SQLite refused the file.
    #[error(
        "cannot open {} as a SQLite database; raise the limit on open files (`ulimit -n`) if it is low, and check the \
         rights of the file and its folder",
        .path.display()
    )]
    Connect {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: diesel::ConnectionError,
    },
    /// SQLite cannot open the file, its write-ahead log or the index of the log.
    #[error(
        "cannot open {file} or what lies beside it ({file}-wal, {file}-shm); raise the limit on open files (`ulimit -n`) \
         if it is low, and check the rights of these files and of their folder",
        file = .path.display()
    )]
    Files {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: diesel::result::Error,
    },
    /// A statement of the set-up failed.
    #[error("cannot set up {}", .path.display())]
    Setup {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: diesel::result::Error,
    },
    /// A migration failed.
    #[error("cannot migrate {}", .path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// The error of diesel.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A later version of hookbox has migrated the tables.
    #[error(
        "{} was written by a later hookbox (migration {migration} is unknown here); start that version, or restore a backup",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The first migration that this version does not know.
        migration: String,
    },
    /// The webhooks of the file are being moved to a database.
    #[error(
        "the webhooks of {file} are being moved to {moved_to}: finish that `hookbox transfer`; or, if that database was \
         deleted, use the file again after `hookbox transfer --abandon --from sqlite://{file}`",
        file = .path.display()
    )]
    Moving {
        /// The file.
        path: PathBuf,
        /// The URL of the database, without user and password.
        moved_to: String,
    },
    /// The webhooks of the file were moved to a database.
    #[error(
        "the webhooks of {file} were moved to {moved_to} (finished at {finished_at}): start hookbox with the URL of that \
         database; or, if it was deleted, use the file again after `hookbox transfer --abandon --from sqlite://{file}`",
        file = .path.display()
    )]
    Moved {
        /// The file.
        path: PathBuf,
        /// The URL of the database, without user and password.
        moved_to: String,
        /// When the transfer was finished.
        finished_at: jiff::Timestamp,
    },
    /// The linked SQLite library has a bug that can corrupt the file.
    #[error(
        "the linked SQLite {0} can corrupt a database; build hookbox with the bundled SQLite (3.51.3 or later)"
    )]
    OldLibrary(String),
    /// The jobs of the previous process could not be taken over.
    #[error("cannot take over the jobs of the previous process")]
    TakeOver(#[source] crate::domain::error::Error),
    /// What waits for the time before the clock was set back could not be moved.
    #[error("cannot move the due times of jobs to the present time of the clock")]
    FollowClock(#[source] crate::domain::error::Error),
    /// A thread of the store could not be started.
    #[error("cannot start a thread of the store; check the limit on threads")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// The file at `path` could not be opened.
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::IsADirectory => Self::Folder(path),
            ErrorKind::PermissionDenied if path.exists() => Self::Rights { path, source },
            _ => Self::File { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_rights_is_told_apart_from_a_folder_without_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inbox.db");
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        assert!(OpenError::file(&path, denied()).to_string().contains("check that its folder"));
        std::fs::write(&path, "").expect("writes");
        let error = OpenError::file(&path, denied()).to_string();
        assert!(error.contains("may not read and write") && error.contains("inbox.db"), "{error}");
    }
}
