//! What a claim should read, as far as this process knows.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Moment, Schedule, State};
use crate::domain::breaker::Trip;
use crate::domain::job::QueueId;
use crate::domain::policy::Policy;
use crate::domain::route::RouteName;
use crate::store::postgres::cursor::Cursor;
use crate::store::pulled::Wanted;
use crate::store::ready::{self, Circumstances};
use crate::store::rule::{self, Allowance};
use crate::store::types::{Pause, TrippedBreaker};

/// What a claim should read.
#[derive(Debug)]
pub(in crate::store::postgres) struct Planned {
    pub(in crate::store::postgres) shares: Vec<Share>,
    /// The pauses that the plan is based on.
    pub(in crate::store::postgres) pauses: Arc<[Pause]>,
    /// The breakers that are not closed, as the plan knows them.
    pub(in crate::store::postgres) tripped: Arc<[TrippedBreaker]>,
    /// The moment of the plan. To be passed to [`Schedule::found`] and [`Schedule::limited`].
    pub(in crate::store::postgres) moment: Moment,
}

/// The threads that a route gets.
#[derive(Debug)]
pub(in crate::store::postgres) struct Share {
    pub(in crate::store::postgres) policy: Arc<Policy>,
    /// What is known of the breaker of the route; none if it is closed.
    pub(in crate::store::postgres) trip: Option<Trip>,
    pub(in crate::store::postgres) queues: Vec<SharedQueue>,
    /// How many jobs to start, at least 1.
    pub(in crate::store::postgres) threads: usize,
}

/// A queue that a claim reads.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::postgres) struct SharedQueue {
    pub(in crate::store::postgres) id: QueueId,
    /// Where to begin to read jobs without a lane; `None`: at the beginning.
    pub(in crate::store::postgres) cursor: Option<Cursor>,
    /// Whether the queue may have lanes.
    pub(in crate::store::postgres) is_ordered: bool,
}

impl Planned {
    /// The policy of the route of each queue.
    pub(in crate::store::postgres) fn policies(&self) -> HashMap<QueueId, Arc<Policy>> {
        let of_share = |share: &Share| {
            let policy = &share.policy;
            share.queues.iter().map(|queue| (queue.id, Arc::clone(policy))).collect::<Vec<_>>()
        };
        self.shares.iter().flat_map(of_share).collect()
    }
}

impl Schedule {
    /// Decides what a claim should read.
    pub(in crate::store::postgres) fn plan(
        &self,
        now: Timestamp,
        threads: usize,
        running: &HashMap<RouteName, usize>,
        wanted: &Wanted,
    ) -> Planned {
        let state = self.state();
        let circumstances = state.circumstances(now, wanted);
        let shares =
            state.ready.plan(&circumstances, threads, running, |policy| state.allowance(policy, now));
        let share = |share: ready::Share| {
            let queue = |id| SharedQueue {
                id,
                cursor: state.cursors.get(&id).copied().filter(|cursor| cursor.from(now).is_some()),
                is_ordered: state.ordered.contains(&id),
            };
            Some(Share {
                policy: Arc::clone(state.policies.get(&share.route)?),
                trip: state.breakers.trip(&share.route),
                queues: share.queues.into_iter().map(queue).collect(),
                threads: share.threads,
            })
        };
        let shares = shares.into_iter().filter_map(share).collect();
        let (pauses, tripped) = (Arc::clone(&state.pauses), Arc::clone(&state.tripped));
        Planned { shares, pauses, tripped, moment: state.moment }
    }

    /// The earliest time at which a wanted job may start; see [`Ready::next`](ready::Ready::next).
    pub(in crate::store::postgres) fn next(&self, now: Timestamp, wanted: &Wanted) -> Option<Timestamp> {
        let state = self.state();
        state.ready.next(&state.circumstances(now, wanted), |policy| state.allowance(policy, now))
    }
}

impl State {
    fn circumstances<'a>(&'a self, now: Timestamp, wanted: &'a Wanted) -> Circumstances<'a> {
        let Self { queues, policies, paused, .. } = self;
        Circumstances { now, wanted, queues, policies, paused }
    }

    /// How many jobs of a route may start, as far as is known. The claim itself counts the running jobs of
    /// all replicas.
    fn allowance(&self, policy: &Policy, now: Timestamp) -> Allowance {
        match self.limits.get(&policy.route) {
            Some(limit) if limit.is_full => Allowance { starts: 0, next: None },
            limit => {
                let pace = limit.map(|limit| limit.pace).unwrap_or_default();
                rule::allowance(policy, 0, pace, self.breakers.trip(&policy.route), now)
            }
        }
    }
}
