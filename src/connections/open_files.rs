//! How many connections the system's limit on open files leaves room for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that are left for the store, for logs and traces, and for connections that are just being closed.
const OTHER_FILES: u64 = 160;

/// The most connections, however many files may be open. Bounds the memory that they take.
const MAX_CONNECTIONS: usize = 10_000;

/// Raises the limit on open files of this process to the most that the system allows. Nothing happens if that
/// fails: there are fewer connections then.
pub fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!(error = %error, "the limit on open files could not be raised");
    }
}

/// How many connections may be open at once, beside `handler_files` files that handlers may keep open.
pub fn connections_for_open_files(handler_files: usize) -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    connections_for(files, handler_files as u64)
}

fn connections_for(files: u64, handler_files: u64) -> usize {
    // Under a limit that is very low, half of the files. Handlers leave at least a quarter of them.
    let left = files.saturating_sub(OTHER_FILES).max(files / 2);
    let left = left.saturating_sub(handler_files).max(files / 4);
    usize::try_from(left).unwrap_or(MAX_CONNECTIONS).clamp(1, MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_for_the_store() {
        let connections = [64, 256, 1_024, 1_048_576, u64::MAX].map(|files| connections_for(files, 0));
        assert_eq!(connections, [32, 128, 864, 10_000, 10_000]);
    }

    #[test]
    fn files_are_left_for_handlers_but_not_all() {
        let for_programs = |workers: u64| connections_for(1_024, 3 * workers);
        assert_eq!([1, 128, 4_096].map(for_programs), [861, 480, 256]);
        assert_eq!(connections_for(1_048_576, 3 * 4_096), 10_000);
        assert_eq!(connections_for(0, 3), 1);
    }
}
