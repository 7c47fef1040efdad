//! The size of the store on disk.

use std::path::Path;
use std::{fs, io};

/// The size of the file and of its write-ahead log, in bytes.
pub(super) fn bytes(path: &Path) -> io::Result<u64> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log_bytes = match fs::metadata(log) {
        Ok(log) => log.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(fs::metadata(path)?.len().saturating_add(log_bytes))
}
