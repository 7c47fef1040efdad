//! The file with the webhooks that `hookbox listen` has delivered, so that the next one continues there.
//!
//! Each line has a position and, unless only the position has changed, the id of a webhook that was delivered. Lines
//! are added one by one. A line that a crash has cut is ignored: its webhook is then delivered again. The file is not
//! synced, so after a crash of the machine the last webhooks can be delivered again too.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::place::{Place, is_id};

/// The size from which on the file is written anew, with only what is still needed. Later if that alone is as large:
/// when the file has twice the size.
const MAX_BYTES: u64 = 1024 * 1024;

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
    /// Whether the file had a place when it was opened.
    is_known: bool,
    /// Locked as long as it is open. Apart from the file with the place, which is replaced.
    _lock: File,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "another `hookbox listen` delivers the same webhooks to the same place; stop it, or give this one another --name"
    )]
    InUse,
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
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(&path)(error)),
        };
        let place = read(&text);
        let is_known = !place.resume_after().is_empty();
        let (file, bytes) = rewrite(&path, &place).map_err(failed(&path))?;
        Ok(Self { path, file, bytes, needed_bytes: bytes, place, is_known, _lock: lock })
    }

    /// Where the last process that had the journal has come to; none if there was none.
    pub fn last(&self) -> Option<&Place> {
        self.is_known.then_some(&self.place)
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
        self.place.handle(id, resume_after);
        self.add(&format!("{resume_after} {id}\n"))
    }

    /// Notes the position of the stream.
    pub fn advance(&mut self, resume_after: &str) -> Result<(), JournalError> {
        self.place.advance(resume_after);
        self.add(&format!("{resume_after}\n"))
    }

    fn add(&mut self, line: &str) -> Result<(), JournalError> {
        if self.bytes > MAX_BYTES.max(2 * self.needed_bytes) {
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

/// Replaces the file by one with this place, and opens it to add lines. Returns its size too.
fn rewrite(path: &Path, place: &Place) -> io::Result<(File, u64)> {
    let position = place.resume_after();
    let mut text = if position.is_empty() { String::new() } else { format!("{position}\n") };
    place.handled().for_each(|id| text.push_str(&format!("{position} {id}\n")));
    let new = path.with_extension("new");
    fs::write(&new, &text)?;
    fs::rename(&new, path)?;
    Ok((OpenOptions::new().append(true).open(path)?, text.len() as u64))
}

/// The place that the lines of a file name. Lines that are not complete are ignored.
fn read(text: &str) -> Place {
    let mut place = Place::default();
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        match line.split_once(' ') {
            Some((position, id)) if is_id(position) && is_id(id) => place.handle(id, position),
            None => place.advance(line),
            Some(_) => {}
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> String {
        format!("0193811c-2b7b-7000-8000-{number:012}")
    }

    fn handled(journal: &Journal) -> Vec<String> {
        journal.place().handled().map(str::to_owned).collect()
    }

    #[test]
    fn the_next_journal_goes_on_where_the_last_one_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("state/listen");
        let open = || Journal::open(&folder, "what").expect("opens");
        let mut journal = open();
        assert!(journal.last().is_none());
        journal.advance(&id(1)).expect("writes");
        journal.handle(&id(3), &id(1)).expect("writes");
        journal.handle(&id(2), &id(1)).expect("writes");
        assert!(matches!(Journal::open(&folder, "what"), Err(JournalError::InUse)));
        assert!(Journal::open(&folder, "other").expect("opens").last().is_none());
        drop(journal);

        let mut journal = open();
        assert_eq!(journal.last().map(Place::resume_after), Some(id(1).as_str()));
        assert_eq!(handled(&journal), [id(2), id(3)]);
        journal.begin(Place::after(&id(7)).expect("an id")).expect("writes");
        drop(journal);
        let journal = open();
        assert_eq!((journal.place().resume_after(), handled(&journal).len()), (id(7).as_str(), 0));
    }

    #[test]
    fn a_line_that_was_cut_is_ignored() {
        let text = format!("{}\n{} {}\n{} {}", id(1), id(1), id(2), id(1), id(3));
        let place = read(&text);
        assert_eq!(place.handled().collect::<Vec<_>>(), [id(2)]);
        let cut = text.get(..text.len() - 40).expect("is longer");
        assert_eq!(read(cut).resume_after(), id(1));
        assert_eq!(read("nonsense\n\n a\n"), Place::default());
    }

    #[test]
    fn the_file_does_not_grow_without_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path(), "what").expect("opens");
        for number in 0..20_000 {
            journal.handle(&id(number), &id(number)).expect("writes");
        }
        let size = fs::metadata(&journal.path).expect("is there").len();
        assert!(size <= MAX_BYTES + 100, "{size}");
        assert_eq!(read(&fs::read_to_string(&journal.path).expect("reads")).resume_after(), id(19_999));
    }

    #[test]
    fn a_large_file_is_rewritten_only_after_it_has_doubled() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path(), "what").expect("opens");
        let mut times = 0;
        for number in 1..=20_000 {
            let before = journal.needed_bytes;
            journal.handle(&id(number), &id(0)).expect("writes");
            times += usize::from(journal.needed_bytes != before);
        }
        assert!(journal.needed_bytes > MAX_BYTES, "every webhook is needed");
        assert_eq!((times, handled(&journal).len()), (1, 20_000));
    }
}
