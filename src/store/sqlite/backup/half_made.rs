//! A copy that is not finished. It has another name until it is, so that it is not taken for a whole one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::error::BackupError;
use crate::store::sqlite::connection::OWNER_ONLY;

/// What the names of other files of a database end with. SQLite would take these as parts of a new file of that name.
const LOGS: [&str; 2] = ["-wal", "-journal"];

/// A copy that is not finished. Dropping it removes it.
#[derive(Debug)]
pub(super) struct HalfMade {
    path: PathBuf,
}

impl HalfMade {
    /// Creates an empty file for the copy `to`, which only its owner can read. Errors: the copy, or this file, exists.
    pub(super) fn create(to: &Path) -> Result<(Self, File), BackupError> {
        refuse_existing(to)?;
        let path = beside(to, ".partial");
        let created = File::options().read(true).write(true).create_new(true).mode(OWNER_ONLY).open(&path);
        let file = created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::HalfMade(path.clone()),
            _ => BackupError::writing(to, error),
        })?;
        let half_made = Self { path };
        half_made.remove_logs();
        Ok((half_made, file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the finished copy its name, on disk. Errors: a file has that name by now, or it cannot be written.
    pub(super) fn publish(self, to: &Path) -> Result<(), BackupError> {
        // Unlike a rename, a link never replaces a file.
        match fs::hard_link(&self.path, to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists(to.to_owned()));
            }
            // Some file systems have no links.
            Err(_) => {
                refuse_existing(to)?;
                fs::rename(&self.path, to).map_err(|error| BackupError::writing(to, error))?;
            }
        }
        // Removes the other name.
        drop(self);
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        synced.map_err(|error| {
            let _ = fs::remove_file(to);
            BackupError::writing(to, error)
        })
    }

    /// Removes what a copy of this name has left behind that was killed.
    fn remove_logs(&self) {
        for suffix in LOGS.into_iter().chain(["-shm"]) {
            // Mostly there is none.
            let _ = fs::remove_file(beside(&self.path, suffix));
        }
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        self.remove_logs();
        let _ = fs::remove_file(&self.path);
    }
}

/// Refuses a folder, and the name of a file that exists, also if it is a link to nothing, or that has a log.
fn refuse_existing(to: &Path) -> Result<(), BackupError> {
    if to.is_dir() {
        return Err(BackupError::Folder(to.to_owned()));
    }
    let mut paths = [""].into_iter().chain(LOGS).map(|suffix| beside(to, suffix));
    match paths.find(|path| fs::symlink_metadata(path).is_ok()) {
        Some(path) => Err(BackupError::Exists(path)),
        None => Ok(()),
    }
}

/// A path with something at its end.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
