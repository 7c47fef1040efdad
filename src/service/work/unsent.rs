//! Jobs that are leased for a worker and that it was not sent yet. They are given back if it does not get them: it has
//! gone, or there is no memory for the answer.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::domain::attempt::Lease;
use crate::store::JobQueue;
use crate::telemetry::repeated::Repeated;

static GIVING_BACK: Repeated =
    Repeated::new("jobs that were leased for workers that did not get them are given back again");

/// The jobs in an answer that is not sent yet. Gives them back when it is dropped, because the worker does not get them:
/// they may start at once, and not only when their leases expire. The default has no jobs.
#[derive(Debug, Default)]
pub struct Unsent(Option<Jobs>);

#[derive(Debug)]
struct Jobs {
    store: Arc<dyn JobQueue>,
    worker: Arc<str>,
    leases: Vec<Lease>,
}

impl Unsent {
    /// The jobs of these leases of `worker`.
    pub(super) fn new(store: Arc<dyn JobQueue>, worker: Arc<str>, leases: Vec<Lease>) -> Self {
        Self(Some(Jobs { store, worker, leases }))
    }

    /// Notes that the answer is sent now.
    pub fn sent(mut self) {
        self.0 = None;
    }

    /// Gives the jobs back, and waits until they are.
    pub async fn give_back(mut self) {
        if let Some(giving_back) = self.begin_to_give_back() {
            // It fails only if the task panics.
            let _ = giving_back.await;
        }
    }

    /// Gives the jobs back in a task, which goes on if the caller goes away.
    fn begin_to_give_back(&mut self) -> Option<JoinHandle<()>> {
        let jobs = self.0.take()?;
        // Without a runtime the process ends, and the leases expire.
        Some(Handle::try_current().ok()?.spawn(jobs.give_back()))
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.begin_to_give_back();
    }
}

impl Jobs {
    async fn give_back(self) {
        let Self { store, worker, leases } = self;
        match store.give_back(&worker, leases).await {
            Ok(()) => GIVING_BACK.works(),
            Err(error) => GIVING_BACK.failed(|times| {
                tracing::warn!(times, error = %error, "jobs that were leased for a worker that did not get them could not be given back; they are taken over when their leases expire");
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use tokio::sync::Notify;
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;
    use crate::domain::error::Result;
    use crate::domain::id::WebhookId;
    use crate::domain::job::{JobId, QueueId};
    use crate::store::{Claim, Claims, Finish, LeasedJob};

    /// How long giving back may take.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// A queue without jobs that sends what is given back.
    #[derive(Debug)]
    struct Queue(UnboundedSender<Vec<Lease>>);

    #[async_trait]
    impl JobQueue for Queue {
        async fn claim(&self, _claim: Claim) -> Result<Claims> {
            Ok(Claims { jobs: Vec::new(), next: None, held_until: Duration::MAX })
        }

        async fn finish(&self, _worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>> {
            Ok(vec![false; finishes.len()])
        }

        async fn renew(&self, _worker: &str, leases: Vec<(Lease, Duration)>) -> Result<Vec<Lease>> {
            Ok(leases.into_iter().map(|(lease, _)| lease).collect())
        }

        async fn leased(&self, _worker: &str, _leases: Vec<Lease>) -> Result<Vec<LeasedJob>> {
            Ok(Vec::new())
        }

        async fn follow_clock(&self) -> Result<()> {
            Ok(())
        }

        async fn take_over_expired(&self, _held: Vec<Lease>) -> Result<usize> {
            Ok(0)
        }

        async fn give_back(&self, worker: &str, leases: Vec<Lease>) -> Result<()> {
            assert_eq!(worker, "host-1");
            self.0.send(leases).expect("the test waits");
            Ok(())
        }

        fn on_due(&self, _wake: Arc<Notify>) {}
    }

    fn lease(token: u64) -> Lease {
        Lease { job: JobId { webhook: WebhookId::from_bytes([1; 16]), queue: QueueId(1) }, token }
    }

    #[tokio::test]
    async fn jobs_of_an_answer_that_is_dropped_or_refused_are_given_back_and_those_of_a_sent_one_are_not() {
        let (told, mut given_back) = unbounded_channel();
        let queue: Arc<dyn JobQueue> = Arc::new(Queue(told));
        let unsent = |token| Unsent::new(Arc::clone(&queue), "host-1".into(), vec![lease(token)]);
        unsent(1).sent();
        drop(unsent(2));
        let dropped = tokio::time::timeout(DEADLINE, given_back.recv()).await.expect("in time");
        assert_eq!(dropped, Some(vec![lease(2)]));
        unsent(3).give_back().await;
        assert_eq!(given_back.try_recv().ok(), Some(vec![lease(3)]), "it waits until they are given back");
        assert!(given_back.try_recv().is_err());
    }
}
