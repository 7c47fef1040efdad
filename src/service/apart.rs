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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_of_the_thread_go_on_while_a_large_payload_is_read() {
        let (other_ran, wait_for_other) = mpsc::channel();
        let reading = tokio::spawn(async move {
            // It waits for this thread of the runtime, which is the only one.
            tokio::spawn(async move { other_ran.send(()) });
            apart(LARGE_BYTES, move || wait_for_other.recv_timeout(Duration::from_secs(30))).await
        });
        assert_eq!(reading.await.unwrap(), Ok(()), "the other task ran during the reading");
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_reads_large_payloads_itself() {
        assert_eq!(apart(LARGE_BYTES, || 1).await, 1);
    }
}
