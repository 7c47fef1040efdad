//! Copies the write-ahead log and the file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::Progress;
use super::error::BackupError;
use super::half_made::beside;
use super::source::Source;
use crate::store::sqlite::connection::OWNER_ONLY;

/// How much is copied between two syncs. A sync of the process that serves can wait for one of the copy, so
/// larger pieces make its commits slower, and smaller ones the copy.
const PIECE_BYTES: u64 = 1024 * 1024;

/// How often the log is copied anew if its header changes. Once is enough: see [`copy_log`].
const LOG_COPIES: usize = 3;

/// The header of the log: its salts change whenever the log starts over.
const LOG_HEADER_BYTES: usize = 32;

/// Copies the log of `from` to the log of `path`, and then the file to `to`, which is the file at `path`.
///
/// Both are copied as far as they reach at the beginning. What checkpoints write meanwhile, behind the end of the file
/// too, are pages that the copied log has.
pub(super) fn copy(from: &Source, path: &Path, to: &File, progress: &Progress) -> Result<(), BackupError> {
    let paths = Paths { from: from.path(), to: path };
    let unread = |error| paths.unread(error);
    let log = match File::open(beside(from.path(), "-wal")) {
        Ok(log) => Some(log),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unread(error)),
    };
    let log_bytes = log.as_ref().map_or(Ok(0), length).map_err(unread)?;
    let file_bytes = length(from.file()).map_err(unread)?;
    progress.begin(log_bytes.saturating_add(file_bytes));
    if let Some(log) = log.filter(|_| log_bytes > 0) {
        copy_log(&paths, &log, log_bytes, progress)?;
    }
    copy_file(&paths, from.file(), to, file_bytes, progress)
}

fn length(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// The files that errors name. Errors of the logs name the files beside them.
struct Paths<'a> {
    from: &'a Path,
    to: &'a Path,
}

impl Paths<'_> {
    fn unread(&self, error: io::Error) -> BackupError {
        BackupError::reading(self.from, error)
    }

    fn unwritten(&self, error: io::Error) -> BackupError {
        BackupError::writing(self.to, error)
    }
}

/// Copies a log. If all of it was in the file when the transaction began, the writer starts it over with its next
/// write, which can be while it is copied: then the beginning and the end of the copy are of two logs. The header
/// shows this, and the log is copied anew. The writer does not start it over again, because the transaction keeps
/// every process from copying it back into the file.
fn copy_log(paths: &Paths<'_>, mut from: &File, bytes: u64, progress: &Progress) -> Result<(), BackupError> {
    let (unread, unwritten) = (|error| paths.unread(error), |error| paths.unwritten(error));
    let path = beside(paths.to, "-wal");
    let created = File::options().write(true).create_new(true).mode(OWNER_ONLY).open(path);
    let mut to = created.map_err(unwritten)?;
    for _ in 0..LOG_COPIES {
        let before = header(from).map_err(unread)?;
        copy_file(paths, from, &to, bytes, progress)?;
        if header(from).map_err(unread)? == before {
            return Ok(());
        }
        from.rewind().map_err(unread)?;
        to.rewind().map_err(unwritten)?;
        to.set_len(0).map_err(unwritten)?;
    }
    Err(unread(io::Error::other("its write-ahead log starts over again and again; try again")))
}

/// The header of a log; none if it has no whole one.
fn header(log: &File) -> io::Result<Option<[u8; LOG_HEADER_BYTES]>> {
    let mut header = [0; LOG_HEADER_BYTES];
    match log.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(Some(header)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Copies `bytes` bytes, or fewer if the file ends before.
fn copy_file(
    paths: &Paths<'_>,
    from: &File,
    mut to: &File,
    bytes: u64,
    progress: &Progress,
) -> Result<(), BackupError> {
    let mut left = bytes;
    let mut piece = Vec::new();
    while left > 0 {
        if progress.is_stopped() {
            return Err(BackupError::Stopped);
        }
        // Not `io::copy`, whose error does not say which of the two files has failed.
        piece.clear();
        from.take(left.min(PIECE_BYTES)).read_to_end(&mut piece).map_err(|error| paths.unread(error))?;
        if piece.is_empty() {
            break;
        }
        let written = to.write_all(&piece).and_then(|()| to.sync_data());
        written.map_err(|error| paths.unwritten(error))?;
        let copied = piece.len() as u64;
        progress.add(copied);
        left = left.saturating_sub(copied);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_reading_or_writing_has_failed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let (from, to) = (path("from"), path("to"));
        for path in [&from, &to] {
            std::fs::write(path, "pages").expect("writes");
        }
        let paths = Paths { from: &from, to: &to };
        let readable = |path: &Path| File::open(path).expect("opens");
        let writable = |path: &Path| File::options().write(true).open(path).expect("opens");
        let copied = |from: &File, to: &File| copy_file(&paths, from, to, 5, &Progress::default());

        let error = copied(&writable(&from), &writable(&to)).expect_err("cannot read");
        assert!(matches!(&error, BackupError::Read { path, .. } if *path == from), "{error:?}");
        let error = copied(&readable(&from), &readable(&to)).expect_err("cannot write");
        assert!(matches!(&error, BackupError::Write { path, .. } if *path == to), "{error:?}");
        copied(&readable(&from), &writable(&to)).expect("copies");
    }
}
