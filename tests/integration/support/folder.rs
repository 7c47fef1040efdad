//! Folders for the files of stores.

use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// More than all tests that run at once store. Containers often have much less.
const ROOM_BYTES: u128 = 2 * 1024 * 1024 * 1024;

/// A folder whose files have to outlast a process of hookbox, but not the machine: in memory, if there is room, because
/// the syncs of all commits take much time on a disk.
pub(crate) fn store_folder() -> TempDir {
    in_memory().unwrap_or_else(|| tempfile::tempdir().expect("a folder"))
}

fn in_memory() -> Option<TempDir> {
    let room = statvfs(MEMORY).ok()?;
    let bytes = u128::from(room.blocks_available()) * u128::from(room.fragment_size());
    if bytes < ROOM_BYTES {
        return None;
    }
    TempDir::with_prefix_in("hookbox-test-", MEMORY).ok()
}
