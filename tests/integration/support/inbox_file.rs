//! A SQLite file for one hookbox that has its tables already.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::LazyLock;

use hookbox::internals::store::sqlite;

/// What the migrations of hookbox leave of a new file. They run once in a process: they take more time than many a test.
static EMPTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("empty.db");
    sqlite::migrate(&path).expect("migrates");
    let files = std::fs::read_dir(folder.path()).expect("reads").count();
    assert_eq!(files, 1, "nothing is left in a write-ahead log");
    std::fs::read(&path).expect("reads")
});

/// Creates a file with nothing but the tables of hookbox, as `hookbox migrate` does.
pub(crate) fn create_inbox_file(path: &Path) {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).expect("creates");
    file.write_all(&EMPTY).expect("writes");
}
