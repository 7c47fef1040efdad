//! The settings file that is read if `--config` is not given.

use std::io::ErrorKind;
use std::path::Path;

/// Its name in the working directory.
const NAME: &str = "hookbox.toml";

/// The path of the file; none if it does not exist. A link that leads nowhere counts as a file: reading it then fails.
/// Otherwise hookbox would serve without the settings that somebody has put there.
pub(super) fn path() -> Option<&'static Path> {
    let path = Path::new(NAME);
    let is_absent = path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    (!is_absent).then_some(path)
}
