//! What this process knows of the queues, so that a claim reads only those it may start jobs of.
//!
//! Nothing here is the truth: the database is. Other replicas' jobs become known by notifications and
//! by a look at all queues every few seconds, and what a claim finds corrects what was believed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::cursor::Cursor;
use crate::domain::job::QueueId;
use crate::domain::policy::{Policies, Policy};
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::ready::{self, Circumstances, Queues, Ready};
use crate::store::rule::{self, Allowance, Pace, Paused};
use crate::store::types::Pause;

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule(Mutex<State>);

#[derive(Debug)]
struct State {
    queues: Queues,
    ready: Ready,
    /// Everything that is paused, as far as is known.
    pauses: Arc<[Pause]>,
    paused: Paused,
    policies: Arc<Policies>,
    limits: HashMap<RouteName, Limit>,
    /// Queues that have, or had, ordered jobs.
    ordered: HashSet<QueueId>,
    cursors: HashMap<QueueId, Cursor>,
    /// Counts what becomes known. What was read before something newer does not replace it.
    moment: Moment,
    noted: HashMap<QueueId, Moment>,
}

/// What is known of a route with a limit.
#[derive(Debug, Default)]
struct Limit {
    /// As many of its jobs run as may.
    is_full: bool,
    /// When one of them ended last.
    freed: Moment,
    pace: Pace,
}

/// A moment in what this process has learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// What a claim should read.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) shares: Vec<Share>,
    /// The pauses that were known.
    pub(super) pauses: Arc<[Pause]>,
    pub(super) moment: Moment,
}

/// The threads that a route gets.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) policy: Arc<Policy>,
    pub(super) queues: Vec<SharedQueue>,
    /// How many jobs to start, at least 1.
    pub(super) threads: usize,
}

/// A queue to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedQueue {
    pub(super) id: QueueId,
    pub(super) cursor: Option<Cursor>,
    pub(super) is_ordered: bool,
}

/// What reading a queue found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) queue: QueueId,
    /// When the first waiting job without a lane is due.
    pub(super) job: Option<Timestamp>,
    /// When the first lane that may start is due.
    pub(super) lane: Option<Timestamp>,
}

impl Found {
    /// When the first job that may start is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.job.into_iter().chain(self.lane).min()
    }
}

impl Schedule {
    pub(super) fn new(policies: Arc<Policies>) -> Self {
        Self(Mutex::new(State {
            queues: Queues::default(),
            ready: Ready::default(),
            pauses: Arc::default(),
            paused: Paused::default(),
            policies,
            limits: HashMap::new(),
            ordered: HashSet::new(),
            cursors: HashMap::new(),
            moment: Moment::default(),
            noted: HashMap::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue of a route and a source, if it is known.
    pub(super) fn queue(&self, route: &RouteName, source: &Source) -> Option<QueueId> {
        self.state().queues.id(route, source)
    }

    /// The route of a queue, if it is known.
    pub(super) fn route(&self, queue: QueueId) -> Option<RouteName> {
        self.state().queues.name(queue).map(|(route, _)| route.clone())
    }

    /// Those of the queues that are not known.
    pub(super) fn unknown(&self, queues: impl Iterator<Item = QueueId>) -> HashSet<QueueId> {
        let state = self.state();
        queues.filter(|queue| state.queues.name(*queue).is_none()).collect()
    }

    /// Makes queues known.
    pub(super) fn add_queues(&self, queues: impl IntoIterator<Item = (QueueId, RouteName, Source)>) {
        let mut state = self.state();
        for (id, route, source) in queues {
            state.queues.add(id, route, source);
        }
    }

    pub(super) fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.state().policies)
    }

    pub(super) fn set_policies(&self, policies: Arc<Policies>) {
        let mut state = self.state();
        state.policies = policies;
        state.limits.clear();
    }

    /// Takes what is paused. Answers whether that is something else than before.
    pub(super) fn set_paused(&self, pauses: Vec<Pause>) -> bool {
        let mut state = self.state();
        let is_other = *state.pauses != *pauses;
        state.paused = Paused::new(&pauses);
        state.pauses = pauses.into();
        is_other
    }

    /// Takes what was read before as older than what becomes known from here on.
    pub(super) fn moment(&self) -> Moment {
        self.state().moment
    }

    /// Jobs of these queues are due then.
    pub(super) fn note(&self, due: &[(QueueId, Timestamp)]) {
        let mut state = self.state();
        state.moment.0 += 1;
        let moment = state.moment;
        for (queue, due) in due {
            state.ready.note(*queue, *due);
            state.noted.insert(*queue, moment);
        }
    }

    /// These queues have ordered jobs.
    pub(super) fn note_ordered(&self, queues: impl IntoIterator<Item = QueueId>) {
        self.state().ordered.extend(queues);
    }

    /// Jobs of these routes have ended. Answers whether a route was full.
    pub(super) fn free<'a>(&self, routes: impl IntoIterator<Item = &'a RouteName>) -> bool {
        let mut state = self.state();
        state.moment.0 += 1;
        let moment = state.moment;
        let mut was_full = false;
        for route in routes {
            let limit = state.limits.entry(route.clone()).or_default();
            limit.freed = moment;
            was_full |= std::mem::take(&mut limit.is_full);
        }
        was_full
    }

    /// Any route may have a place again.
    pub(super) fn free_all(&self) {
        self.state().limits.values_mut().for_each(|limit| limit.is_full = false);
    }

    /// The next claim reads every queue from its beginning.
    pub(super) fn forget_cursors(&self) {
        self.state().cursors.clear();
    }

    /// Decides what a claim should read.
    pub(super) fn plan(
        &self,
        now: Timestamp,
        threads: usize,
        running: &HashMap<RouteName, usize>,
    ) -> Planned {
        let state = self.state();
        let circumstances = state.circumstances(now, threads, running);
        let plan = state.ready.plan(&circumstances, |policy| state.allowance(policy, now));
        let share = |share: ready::Share| {
            let queue = |id| SharedQueue {
                id,
                cursor: state.cursors.get(&id).copied().filter(|cursor| cursor.from(now).is_some()),
                is_ordered: state.ordered.contains(&id),
            };
            Some(Share {
                policy: Arc::clone(state.policies.get(&share.route)?),
                queues: share.queues.into_iter().map(queue).collect(),
                threads: share.threads,
            })
        };
        let shares = plan.shares.into_iter().filter_map(share).collect();
        Planned { shares, pauses: Arc::clone(&state.pauses), moment: state.moment }
    }

    /// When the first job is due that may start then; none if time alone lets none start.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let state = self.state();
        let nothing_runs = HashMap::new();
        let circumstances = state.circumstances(now, 0, &nothing_runs);
        state.ready.next(&circumstances, |policy| state.allowance(policy, now))
    }

    /// Takes what reading queues has found. `moment` is from before they were read.
    pub(super) fn found(&self, moment: Moment, found: &[Found]) {
        let mut state = self.state();
        for found in found {
            let next = found.next();
            if state.noted.get(&found.queue).is_some_and(|noted| *noted > moment) {
                next.into_iter().for_each(|due| state.ready.note(found.queue, due));
            } else {
                state.ready.found(found.queue, next);
            }
            if found.lane.is_some() {
                state.ordered.insert(found.queue);
            }
        }
    }

    /// A claim has read a queue, and found no job due before `oldest`.
    pub(super) fn read_from(&self, queue: &SharedQueue, oldest: Timestamp) {
        self.state().cursors.insert(queue.id, Cursor::after(queue.cursor, oldest));
    }

    /// How a route stands to its limits after a claim. `moment` is from before it.
    pub(super) fn limited(&self, moment: Moment, route: &RouteName, pace: Pace, is_full: bool) {
        let mut state = self.state();
        let limit = state.limits.entry(route.clone()).or_default();
        limit.pace = pace;
        limit.is_full = is_full && limit.freed <= moment;
    }
}

impl State {
    fn circumstances<'a>(
        &'a self,
        now: Timestamp,
        threads: usize,
        running: &'a HashMap<RouteName, usize>,
    ) -> Circumstances<'a> {
        let Self { queues, policies, paused, .. } = self;
        Circumstances { now, threads, running, queues, policies, paused }
    }

    /// How many jobs of a route may start, as far as is known: what runs elsewhere is counted in the claim.
    fn allowance(&self, policy: &Policy, now: Timestamp) -> Allowance {
        match self.limits.get(&policy.route) {
            Some(limit) if limit.is_full => Allowance { starts: 0, next: None },
            limit => rule::allowance(policy, 0, limit.map(|limit| limit.pace).unwrap_or_default(), now),
        }
    }
}

#[cfg(test)]
mod tests;
