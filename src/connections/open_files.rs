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

/// How many connections may be open at once.
pub fn connections_for_open_files() -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    connections_for(files)
}

fn connections_for(files: u64) -> usize {
    // Under a limit that is very low, half of the files.
    let left = files.saturating_sub(OTHER_FILES).max(files / 2);
    usize::try_from(left).unwrap_or(MAX_CONNECTIONS).clamp(1, MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_for_the_store() {
        let connections = [64, 256, 1_024, 1_048_576, u64::MAX].map(connections_for);
        assert_eq!(connections, [32, 128, 864, 10_000, 10_000]);
    }
}
