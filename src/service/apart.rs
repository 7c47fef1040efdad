//! Keeps long computations from delaying other requests.

use tokio::runtime::{Handle, RuntimeFlavor};

/// From this many bytes on, reading a payload takes long enough to delay other requests: about a millisecond.
const LARGE_BYTES: usize = 256 * 1024;

/// Runs `work` on a payload of this many bytes. If it is large, the other tasks of this thread of the runtime go on
/// meanwhile on another thread.
pub fn apart<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let has_threads =
        || Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes >= LARGE_BYTES && has_threads() { tokio::task::block_in_place(work) } else { work() }
}
