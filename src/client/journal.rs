//! The file with the webhooks that `hookbox listen` has delivered, so that the next one continues there.
//!
//! Each line has a position and, unless only the position has changed, the id of a webhook that was delivered. Lines
//! are added one by one. A line that a crash has cut is ignored: its webhook is then delivered again. Lines that are added
//! are not synced, so after a crash of the machine the last webhooks can be delivered again too. A file that is written
//! anew is synced, and so is the first position. So a file that names no position, and does not say either that there is
//! none yet, is damaged. Such a file is kept until another place is chosen: to begin with what comes from now on would leave
//! webhooks out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::place::{Place, is_id};

/// The size from which on the file is written anew, with only what is still needed. Later if that alone is as large:
/// when the file has twice the size.
const MAX_BYTES: u64 = 1024 * 1024;

/// The only line of a file that has no position yet.
const NO_POSITION: &str = "now";

/// How many digits of a digest are in the name of a file.
const DIGEST_DIGITS: usize = 16;

/// A file with a place, owned by one process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// How many bytes it had when it was last written anew.
    needed_bytes: u64,
    place: Place,
    /// What the file had when it was opened.
    found: Found,
    /// Locked as long as it is open. Apart from the file with the place, which is replaced.
    _lock: File,
}

/// What a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Place,
    /// No position yet.
    Nothing,
    Damage,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "another `hookbox listen` delivers the same webhooks to the same place; stop it, or give this one another --name"
    )]
    InUse,
    /// The file does not say where to go on.
    #[error(
        "{path} is damaged, so it is not known what was delivered; name the last webhook that your server has got with \
         --from ID, or begin with those that come from now on with --from now"
    )]
    Damaged {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file cannot be used.
    #[error("cannot use {path}, which remembers what was delivered")]
    Io {
        /// The path of the file or of its folder.
        path: PathBuf,
        /// The fault.
        source: io::Error,
    },
}

impl Journal {
    /// Opens the journal in this folder, which is made if it is not there. `what` is what distinguishes it from others:
    /// the hookbox, the target, and the filter.
    pub fn open(folder: &Path, what: &str) -> Result<Self, JournalError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::Io { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let digest = Sha256::digest(what.as_bytes());
        let digits = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let name = digits.get(..DIGEST_DIGITS).unwrap_or(&digits);
        let (path, lock_path) = (folder.join(name), folder.join(format!("{name}.lock")));
        let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse),
            Err(TryLockError::Error(error)) => return Err(failed(&lock_path)(error)),
        }
        let (place, found) = match fs::read(&path) {
            Ok(bytes) => read(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Place::default(), Found::Nothing),
            Err(error) => return Err(failed(&path)(error)),
        };
        let opened = match found {
            Found::Damage => for_lines(&path).map(|file| (file, 0)),
            Found::Place | Found::Nothing => rewrite(&path, &place),
        };
        let (file, bytes) = opened.map_err(failed(&path))?;
        Ok(Self { path, file, bytes, needed_bytes: bytes, place, found, _lock: lock })
    }

    /// Where the last process that had the journal has come to; none if there was none, or it came to no position.
    /// Errors: the file is damaged.
    pub fn last(&self) -> Result<Option<&Place>, JournalError> {
        match self.found {
            Found::Place => Ok(Some(&self.place)),
            Found::Nothing => Ok(None),
            Found::Damage => Err(JournalError::Damaged { path: self.path.clone() }),
        }
    }

    /// Begins at another place.
    pub fn begin(&mut self, place: Place) -> Result<(), JournalError> {
        self.place = place;
        self.rewrite()
    }

    /// The place.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Notes that a webhook was delivered, and the position of the stream after it.
    pub fn handle(&mut self, id: &str, resume_after: &str) -> Result<(), JournalError> {
        let is_first = self.place.resume_after().is_empty();
        self.place.handle(id, resume_after);
        self.add(&format!("{resume_after} {id}\n"), is_first)
    }

    /// Notes the position of the stream.
    pub fn advance(&mut self, resume_after: &str) -> Result<(), JournalError> {
        let is_first = self.place.resume_after().is_empty();
        self.place.advance(resume_after);
        self.add(&format!("{resume_after}\n"), is_first)
    }

    /// Adds a line. The first one with a position is synced, in a file that is written anew.
    fn add(&mut self, line: &str, is_first: bool) -> Result<(), JournalError> {
        if is_first || self.bytes > MAX_BYTES.max(2 * self.needed_bytes) {
            return self.rewrite();
        }
        self.file.write_all(line.as_bytes()).map_err(|source| self.failed(source))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn rewrite(&mut self) -> Result<(), JournalError> {
        let (file, bytes) = rewrite(&self.path, &self.place).map_err(|source| self.failed(source))?;
        (self.file, self.bytes, self.needed_bytes) = (file, bytes, bytes);
        Ok(())
    }

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), source }
    }
}

/// Replaces the file by one with this place, which is on disk then, and opens it to add lines. Returns its size too.
fn rewrite(path: &Path, place: &Place) -> io::Result<(File, u64)> {
    let position = place.resume_after();
    let mut text = format!("{}\n", if position.is_empty() { NO_POSITION } else { position });
    place.handled().for_each(|id| text.push_str(&format!("{position} {id}\n")));
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok((for_lines(path)?, text.len() as u64))
}

/// Opens a file to add lines.
fn for_lines(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

/// The place that the lines of a file name. Lines that are not complete, or damaged, are ignored.
fn read(bytes: &[u8]) -> (Place, Found) {
    let text = String::from_utf8_lossy(bytes);
    let (mut place, mut has_none_yet) = (Place::default(), false);
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        match line.split_once(' ') {
            Some((position, id)) if is_id(position) && is_id(id) => place.handle(id, position),
            Some(_) => {}
            None if line == NO_POSITION => has_none_yet = true,
            None => place.advance(line),
        }
    }
    let found = match place.resume_after() {
        "" if has_none_yet => Found::Nothing,
        "" => Found::Damage,
        _ => Found::Place,
    };
    (place, found)
}

#[cfg(test)]
mod tests;
