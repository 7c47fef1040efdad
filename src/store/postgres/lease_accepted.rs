//! Leases jobs in the transaction that stores them, for a claim of this process that waits for such jobs.
//!
//! [`claim_accepted`] parks a claim. Before the committer stores a batch, it takes the parked claim if jobs of
//! the batch may start, and it answers the claim after the commit.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::accept::Incoming;
use super::insert::FirstLeases;
use super::schedule::PlannedStarts;
use super::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::domain::route::RouteName;
use crate::store::{Claim, ClaimedJob, Claims};

/// The claim of this process that waits for jobs to be accepted, if there is one.
#[derive(Debug, Default)]
pub(super) struct Parked(Mutex<Option<ParkedClaim>>);

#[derive(Debug)]
struct ParkedClaim {
    claim: Claim,
    answer: oneshot::Sender<Result<Claims>>,
}

/// A claim that was taken for a batch. It must be answered, except if storing the batch panics.
#[derive(Debug)]
pub(super) struct TakenClaim {
    parked: ParkedClaim,
    planned: PlannedStarts,
    /// See [`Claims::held_until`].
    held_until: Duration,
}

/// See [`JobQueue::claim_accepted`](crate::store::JobQueue::claim_accepted).
pub(super) async fn claim_accepted(
    shared: &Shared,
    claim: Claim,
    until: &CancellationToken,
    closing: &CancellationToken,
) -> Result<Claims> {
    let (answer, mut answered) = oneshot::channel();
    *shared.parked.lock() = Some(ParkedClaim { claim, answer });
    let lost = |error| Err(Error::internal(error));
    tokio::select! {
        claims = &mut answered => return claims.unwrap_or_else(lost),
        () = until.cancelled() => {}
        () = closing.cancelled() => {}
    }
    let withdrawn = shared.parked.lock().take();
    match withdrawn {
        Some(_) => Ok(Claims::default()),
        // A commit is under way that may lease jobs for the claim.
        None => answered.await.unwrap_or_else(lost),
    }
}

impl Parked {
    fn lock(&self) -> MutexGuard<'_, Option<ParkedClaim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TakenClaim {
    /// Takes the parked claim if jobs of this batch may start by the rule of
    /// [`Ready::plan_accepted`](crate::store::ready::Ready::plan_accepted).
    pub(super) fn take(shared: &Shared, batch: &[Incoming]) -> Option<Self> {
        let mut parked = shared.parked.lock();
        let Claim { threads, running, .. } = &parked.as_ref()?.claim;
        let unordered = batch.iter().flat_map(|Incoming { webhook, jobs }| {
            let jobs = jobs.iter().filter(|job| job.order.is_none());
            jobs.map(|job| (&job.route, &webhook.source))
        });
        let planned = shared.schedule.plan_accepted(shared.clock.now(), *threads, running, unordered);
        if planned.starts.is_empty() {
            return None;
        }
        let parked = parked.take_if(|parked| !parked.answer.is_closed())?;
        let held_until = shared.clock.monotonic().saturating_add(parked.claim.lease);
        Some(Self { parked, planned, held_until })
    }

    /// What the statement needs to lease these jobs.
    pub(super) fn leases(&self) -> FirstLeases<'_> {
        let Claim { worker, lease, .. } = &self.parked.claim;
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        FirstLeases { lease_ms, worker, pauses: &self.planned.pauses }
    }

    /// How many jobs of each route may start.
    pub(super) fn starts(&self) -> &HashMap<RouteName, usize> {
        &self.planned.starts
    }

    /// Answers the claim with the jobs that were leased, after the commit.
    pub(super) fn answer(self, leased: Result<Vec<ClaimedJob>>) {
        // Sending fails if the caller is gone. The leases of these jobs expire.
        let held_until = self.held_until;
        let _ = self.parked.answer.send(leased.map(|jobs| Claims { jobs, next: None, held_until }));
    }
}
