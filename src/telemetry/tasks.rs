//! Tasks that run for as long as the process. A panic in one of them is logged, and then the task starts again, or the
//! process stops.
//!
//! tokio keeps the panic of a task in the task's handle, and nothing awaits these handles before the stop. Without the
//! functions here, the process would go on without the task, and look healthy.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::domain::error::message_of_panic;

/// How long after a panic a task starts again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Runs a task to its end. If it panics, logs that, and starts it again after a second. For tasks that the process can
/// do without for a while. `task` is the name in the log.
pub async fn restarted<F>(task: &'static str, mut start: impl FnMut() -> F)
where
    F: Future<Output = ()>,
{
    while let Err(panic) = caught(start()).await {
        let error = message_of_panic(panic.as_ref());
        tracing::error!(task, error, "a task of hookbox panicked; it starts again after a second");
        tokio::time::sleep(START_AGAIN_AFTER).await;
    }
}

/// The tasks without which the process must not go on: those that accept, claim, record and renew.
#[derive(Debug, Default)]
pub struct VitalTasks {
    failed: CancellationToken,
}

impl VitalTasks {
    /// Runs a task to its end. If it panics, logs that, and has the process stop. `task` is the name in the log.
    pub async fn run(&self, task: &'static str, running: impl Future<Output = ()>) {
        if let Err(panic) = caught(running).await {
            let error = message_of_panic(panic.as_ref());
            tracing::error!(task, error, "a task that hookbox needs panicked; the process stops");
            self.failed.cancel();
        }
    }

    /// Ready once a task has panicked.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Whether a task has panicked.
    pub fn have_failed(&self) -> bool {
        self.failed.is_cancelled()
    }
}

/// Runs a future to its end, or to its panic.
async fn caught(running: impl Future<Output = ()>) -> Result<(), Box<dyn Any + Send>> {
    // Unwind safe: the future is not polled again, and the locks that it shares with others ignore poisoning.
    AssertUnwindSafe(running).catch_unwind().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_starts_again_and_one_that_ends_does_not() {
        let mut starts = 0;
        restarted("test", || {
            starts += 1;
            let panics = starts == 1;
            async move { assert!(!panics, "the first run fails") }
        })
        .await;
        assert_eq!(starts, 2);
    }

    #[tokio::test]
    async fn the_panic_of_a_vital_task_is_told_and_its_end_is_not() {
        let tasks = VitalTasks::default();
        tasks.run("test", async {}).await;
        assert_eq!((tasks.failed().now_or_never(), tasks.have_failed()), (None, false));
        tasks.run("test", async { panic!("a fault") }).await;
        assert_eq!((tasks.failed().now_or_never(), tasks.have_failed()), (Some(()), true));
    }
}
