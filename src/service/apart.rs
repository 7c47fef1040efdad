//! Keeps long computations from delaying other requests.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// From this many bytes on, reading a payload takes long enough to delay other requests: about a millisecond.
const LARGE_BYTES: usize = 256 * 1024;

/// How many large payloads are read at once: half of the cores, so that other requests have the rest. Reading needs a
/// copy of the payload, so this also limits the memory for these copies.
static READERS: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, usize::from);
    Semaphore::new(cores.div_ceil(2))
});

/// Runs `work` on a payload of this many bytes. If it is large, it waits until few others are read, and the other tasks
/// of this thread of the runtime go on meanwhile on another thread.
pub async fn apart<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let has_threads =
        || Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes < LARGE_BYTES || !has_threads() {
        return work();
    }
    // The semaphore is never closed.
    let _permit = READERS.acquire().await;
    tokio::task::block_in_place(work)
}
