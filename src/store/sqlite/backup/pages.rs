//! Copies the write-ahead log and the file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
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
    let unread = |source| BackupError::reading(from.path(), source);
    let log = match File::open(beside(from.path(), "-wal")) {
        Ok(log) => Some(log),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unread(error)),
    };
    let log_bytes = log.as_ref().map_or(Ok(0), length).map_err(unread)?;
    let file_bytes = length(from.file()).map_err(unread)?;
    progress.begin(log_bytes.saturating_add(file_bytes));
    let unwritten = |source| BackupError::writing(path, source);
    if let Some(log) = log.filter(|_| log_bytes > 0) {
        copy_log(&log, &beside(path, "-wal"), log_bytes, progress).map_err(unwritten)?;
    }
    copy_file(from.file(), to, file_bytes, progress).map_err(unwritten)
}

fn length(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// Copies a log. If all of it was in the file when the transaction began, the writer starts it over with its next
/// write, which can be while it is copied: then the beginning and the end of the copy are of two logs. The header
/// shows this, and the log is copied anew. The writer does not start it over again, because the transaction keeps
/// every process from copying it back into the file.
fn copy_log(from: &File, path: &Path, bytes: u64, progress: &Progress) -> io::Result<()> {
    let to = File::options().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    for _ in 0..LOG_COPIES {
        let before = header(from)?;
        copy_file(from, &to, bytes, progress)?;
        if header(from)? == before {
            return Ok(());
        }
        let (mut read, mut written) = (from, &to);
        read.rewind()?;
        written.rewind()?;
        to.set_len(0)?;
    }
    Err(io::Error::other("its write-ahead log starts over again and again; try again"))
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
fn copy_file(from: &File, mut to: &File, bytes: u64, progress: &Progress) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        if progress.is_stopped() {
            return Err(io::Error::other("stopped"));
        }
        let copied = io::copy(&mut from.take(left.min(PIECE_BYTES)), &mut to)?;
        if copied == 0 {
            break;
        }
        to.sync_data()?;
        progress.add(copied);
        left = left.saturating_sub(copied);
    }
    Ok(())
}
