//! Extends leases, but not beyond the timeout of their routes.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::ExtendRequest;
use crate::domain::error::Result;
use crate::service::Service;

/// The result of extending a lease.
#[derive(Clone, Debug)]
pub struct ExtendedLease {
    /// The lease, as the worker gave it.
    pub lease: String,
    /// When the lease ends; none if it was lost, or the timeout of its route is used up.
    pub until: Option<Timestamp>,
}

impl Service {
    /// Has leases last from now on, but at most until the timeout of their routes, counted from the claim. The result
    /// is in the order of the request. Errors: `InvalidField`, and those of the store.
    pub async fn extend_leases(&self, request: ExtendRequest) -> Result<Vec<ExtendedLease>> {
        let (worker, leases, lease) = request.check()?;
        let mut held = self.store.leased(&worker, leases.clone()).await?;
        held.retain(|job| self.caller.sees_route(&job.route));
        let policies = self.settings.policies().get();
        let renewals = held.into_iter().filter_map(|job| {
            let timeout = policies.get(&job.route).and_then(|policy| policy.timeout);
            let left = timeout.map_or(lease, |timeout| timeout.saturating_sub(job.held_for).min(lease));
            (!left.is_zero()).then_some((job.lease, left))
        });
        let renewals = renewals.collect::<Vec<_>>();
        // The time before the renewal, so that no lease ends earlier than the worker is told.
        let now = self.clock.now();
        let lost = self.store.renew(&worker, renewals.clone()).await?;
        let kept = renewals.into_iter().filter(|(lease, _)| !lost.contains(lease));
        let until = |left: Duration| now.saturating_add(left).unwrap_or(Timestamp::MAX);
        let ends = kept.map(|(lease, left)| (lease, until(left))).collect::<HashMap<_, _>>();
        let extended = request.leases.into_iter().zip(leases);
        Ok(extended
            .map(|(text, lease)| ExtendedLease { lease: text, until: ends.get(&lease).copied() })
            .collect())
    }
}
