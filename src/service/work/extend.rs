//! Extends leases, but not beyond the timeout of their routes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use super::ExtendRequest;
use crate::domain::attempt::Lease;
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
        // Jobs of one claim have the same time left, so that most requests need one renewal.
        let mut by_time: BTreeMap<Duration, Vec<Lease>> = BTreeMap::new();
        for job in held {
            let timeout = policies.get(&job.route).and_then(|policy| policy.timeout);
            let left = timeout.map_or(lease, |timeout| timeout.saturating_sub(job.held_for).min(lease));
            if !left.is_zero() {
                by_time.entry(left).or_default().push(job.lease);
            }
        }
        let mut ends: HashMap<Lease, Timestamp> = HashMap::new();
        for (time, leases) in by_time {
            let until = self.clock.now().saturating_add(time).unwrap_or(Timestamp::MAX);
            let lost = self.store.renew(&worker, leases.clone(), time).await?;
            let kept = leases.into_iter().filter(|lease| !lost.contains(lease));
            ends.extend(kept.map(|lease| (lease, until)));
        }
        let extended = request.leases.into_iter().zip(leases);
        Ok(extended
            .map(|(text, lease)| ExtendedLease { lease: text, until: ends.get(&lease).copied() })
            .collect())
    }
}
