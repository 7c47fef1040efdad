//! The errors of a backup and of a restore. Their texts say what to do next.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::sqlite::OpenError;

/// Why a file was not copied. What was made of the copy is removed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no such file.
    #[error("there is no file {}", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file belongs to another program, or is no database.
    #[error("{} is not a database of hookbox", .0.display())]
    Foreign(PathBuf),
    /// A later version of hookbox has migrated the tables.
    #[error(
        "{} was written by a later hookbox (migration {migration} is unknown here); use that version",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The first migration that this version does not know.
        migration: String,
    },
    /// A process serves the file.
    #[error(
        "a hookbox process uses {}; make a backup of it with `hookbox backup`, and restore that",
        .0.display()
    )]
    Served(PathBuf),
    /// The file to write exists, or what SQLite would take as a part of it.
    #[error("{} is there already; nothing was changed: remove it, or name another file", .0.display())]
    Exists(PathBuf),
    /// The file to write is a folder.
    #[error("{} is a folder; nothing was changed: name a new file in it", .0.display())]
    Folder(PathBuf),
    /// The file that a copy is written to before it gets its name.
    #[error(
        "{} is there already: another backup or restore writes it, or one was killed. If none runs, remove it",
        .0.display()
    )]
    HalfMade(PathBuf),
    /// No space is left for the copy.
    #[error(
        "the disk of {} is full, or a quota is used up; nothing is left of the copy: make room, or name a file \
         elsewhere",
        .0.display()
    )]
    Full(PathBuf),
    /// The copy cannot be written.
    #[error("cannot write {}; check that its folder exists and is writable", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// SQLite cannot open the file.
    #[error(transparent)]
    Open(OpenError),
    /// The check of the copy found a fault, so the file has it too.
    #[error("{} is damaged, and was not copied: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first fault.
        what: String,
    },
    /// It was stopped.
    #[error("stopped; nothing is left of the copy")]
    Stopped,
}

impl BackupError {
    /// The copy at `path` could not be written.
    pub(super) fn writing(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path),
            _ => Self::Write { path, source },
        }
    }

    /// The file at `path` could not be read.
    pub(super) fn reading(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }
}
