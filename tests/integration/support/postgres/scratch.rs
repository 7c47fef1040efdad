//! A folder for a server, gone when the test process is, however that ends.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::programs::Account;

/// Reads until no process can write any more, which is when the test process drops the folder or is
/// gone. A server that still runs by then is killed: it removes `postmaster.pid` as its last act.
const WATCHDOG: &str = r#"
read -r _
if server=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null); then
    kill -QUIT "$server"
    looks=0
    while [ -e "$1/data/postmaster.pid" ] && [ "$looks" -lt 100 ]; do
        sleep 0.1
        looks=$((looks + 1))
    done
fi
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// An empty folder and the process that removes it.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    owner: Option<Account>,
    watchdog: Child,
}

impl Scratch {
    /// Makes one for `owner`, or for who runs the tests.
    pub(super) fn new(owner: Option<Account>) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("hookbox-postgres-").tempdir()?;
        if let Some(Account { user, group }) = owner {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
        }
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", WATCHDOG, "watchdog"]).arg(folder.path()).current_dir("/");
        watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Whatever interrupts the tests leaves it alone.
        let watchdog = watchdog.process_group(0).spawn()?;
        Ok(Self { path: folder.keep(), owner, watchdog })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the server keeps its files.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Writes a file among the server's that only its owner can read.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut options = std::fs::File::options();
        let path = self.data().join(name);
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        if let Some(Account { user, group }) = self.owner {
            std::os::unix::fs::chown(&path, Some(user), Some(group))?;
        }
        file.write_all(text.as_bytes())
    }

    /// Where it writes what it does.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        drop(self.watchdog.wait());
    }
}
