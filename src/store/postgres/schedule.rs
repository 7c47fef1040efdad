//! What this process knows of the queues, so that a claim reads only queues that may have jobs to start.
//!
//! This knowledge may be outdated; only the database is authoritative. The process learns of changes by other
//! replicas from notifications, and from a poll of all queues every few seconds. The results of claims
//! correct it, too.

mod breakers;
mod plan;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

pub(super) use self::breakers::{Finding, Learnt};
pub(super) use self::plan::{Planned, Share, SharedQueue};
use super::cursor::Cursor;
use crate::domain::job::QueueId;
use crate::domain::policy::Policies;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::breakers::Breakers;
use crate::store::ready::{Queues, Ready};
use crate::store::rule::{Pace, Paused};
use crate::store::types::{Pause, TrippedBreaker};

/// The knowledge of this process.
#[derive(Debug)]
pub(super) struct Schedule(Mutex<State>);

#[derive(Debug)]
struct State {
    queues: Queues,
    ready: Ready,
    /// The known pauses.
    pauses: Arc<[Pause]>,
    paused: Paused,
    /// When this process last changed a pause. Pauses that were read before are outdated.
    pauses_written: Moment,
    breakers: Breakers,
    /// The breakers that are known not to be closed.
    tripped: Arc<[TrippedBreaker]>,
    /// When this process last wrote a breaker. Breakers that were read before are outdated.
    breakers_written: Moment,
    policies: Arc<Policies>,
    limits: HashMap<RouteName, Limit>,
    /// Queues that have or had ordered jobs.
    ordered: HashSet<QueueId>,
    cursors: HashMap<QueueId, Cursor>,
    /// When the cursors were last forgotten. What a claim has read that began before moves none.
    cursors_forgotten: Moment,
    /// Increased with every event. A read that began before an event must not replace what the event has
    /// noted.
    moment: Moment,
    /// When each queue was last noted as due.
    noted: HashMap<QueueId, Moment>,
}

/// What is known of a route with a limit.
#[derive(Debug, Default)]
struct Limit {
    /// Whether as many of its jobs run as its `concurrency` or its breaker allows.
    is_full: bool,
    /// When one of its jobs last ended.
    freed: Moment,
    pace: Pace,
}

/// A logical time: the number of events that this process has noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// The result of reading a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) queue: QueueId,
    /// When the first waiting job without a lane is due.
    pub(super) job: Option<Timestamp>,
    /// When the first lane that may start is due.
    pub(super) lane: Option<Timestamp>,
}

impl Found {
    /// When the first job or lane is due.
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
            pauses_written: Moment::default(),
            breakers: Breakers::default(),
            tripped: Arc::default(),
            breakers_written: Moment::default(),
            policies,
            limits: HashMap::new(),
            ordered: HashSet::new(),
            cursors: HashMap::new(),
            cursors_forgotten: Moment::default(),
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

    /// The route and the source of a queue, if it is known.
    pub(super) fn name(&self, queue: QueueId) -> Option<(RouteName, Source)> {
        self.state().queues.name(queue).cloned()
    }

    /// The queues among `queues` that are not known.
    pub(super) fn unknown(&self, queues: impl Iterator<Item = QueueId>) -> HashSet<QueueId> {
        let state = self.state();
        queues.filter(|queue| state.queues.name(*queue).is_none()).collect()
    }

    /// Adds queues.
    pub(super) fn add_queues(&self, queues: impl IntoIterator<Item = (QueueId, RouteName, Source)>) {
        let mut state = self.state();
        for (id, route, source) in queues {
            state.queues.add(id, route, source);
        }
    }

    /// Takes the result of reading the queues `numbers`: a queue that was not found does not exist. Returns whether it
    /// differs from what was known.
    pub(super) fn set_queues(&self, numbers: &[QueueId], found: Vec<(QueueId, RouteName, Source)>) -> bool {
        let mut state = self.state();
        let before = state.names(numbers);
        for (route, source) in before.iter().flatten() {
            state.queues.remove(route, source);
        }
        for (id, route, source) in found {
            state.queues.add(id, route, source);
        }
        before != state.names(numbers)
    }

    pub(super) fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.state().policies)
    }

    /// Sets the policies in force. Forgets which routes are full, and their paces.
    pub(super) fn set_policies(&self, policies: Arc<Policies>) {
        let mut state = self.state();
        state.policies = policies;
        state.forget_limits();
    }

    /// Takes the pauses that are stored. `moment` is from before they were read. Returns whether they differ from what
    /// was known.
    pub(super) fn set_paused(&self, moment: Moment, pauses: Vec<Pause>) -> bool {
        let mut state = self.state();
        moment >= state.pauses_written && state.set_paused(pauses)
    }

    /// Takes the pauses that are stored after this process has changed one.
    pub(super) fn pauses_written(&self, pauses: Vec<Pause>) {
        let mut state = self.state();
        state.set_paused(pauses);
        state.moment.0 += 1;
        state.pauses_written = state.moment;
    }

    /// The current moment. Take it before a read, and pass it on with the result of the read.
    pub(super) fn moment(&self) -> Moment {
        self.state().moment
    }

    /// Notes that jobs of these queues are due at these times.
    pub(super) fn note(&self, due: &[(QueueId, Timestamp)]) {
        let mut state = self.state();
        state.moment.0 += 1;
        let moment = state.moment;
        for (queue, due) in due {
            state.ready.note(*queue, *due);
            state.noted.insert(*queue, moment);
        }
    }

    /// Notes that these queues have ordered jobs.
    pub(super) fn note_ordered(&self, queues: impl IntoIterator<Item = QueueId>) {
        self.state().ordered.extend(queues);
    }

    /// Notes that jobs of these routes have ended. Returns whether one of the routes was full.
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

    /// Forgets which routes are full, and their paces.
    pub(super) fn free_all(&self) {
        self.state().forget_limits();
    }

    /// Makes the next claim read every queue from its beginning.
    pub(super) fn forget_cursors(&self) {
        let mut state = self.state();
        state.moment.0 += 1;
        state.cursors_forgotten = state.moment;
        state.cursors.clear();
    }

    /// Takes the results of reading queues. `moment` is from before the read; what was noted since is kept.
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

    /// Moves the cursor of a queue after a claim has read it and found no job due before `oldest`. `moment` is from
    /// before the read.
    pub(super) fn read_from(&self, moment: Moment, queue: &SharedQueue, oldest: Timestamp) {
        let mut state = self.state();
        if moment >= state.cursors_forgotten {
            state.cursors.insert(queue.id, Cursor::after(queue.cursor, oldest));
        }
    }

    /// Sets the state of a route's limits after a claim. `moment` is from before the claim; if a job has
    /// ended since, the route does not count as full.
    pub(super) fn limited(&self, moment: Moment, route: &RouteName, pace: Pace, is_full: bool) {
        let mut state = self.state();
        let limit = state.limits.entry(route.clone()).or_default();
        limit.pace = pace;
        limit.is_full = is_full && limit.freed <= moment;
    }

    /// Forgets the pace of a route: starts were given back to its rate. The next claim reads it.
    pub(super) fn forget_pace(&self, route: &RouteName) {
        if let Some(limit) = self.state().limits.get_mut(route) {
            limit.pace = Pace::default();
        }
    }
}

impl State {
    /// The route and the source of each of these queues; `None` if it is not known.
    fn names(&self, queues: &[QueueId]) -> Vec<Option<(RouteName, Source)>> {
        queues.iter().map(|queue| self.queues.name(*queue).cloned()).collect()
    }

    fn set_paused(&mut self, pauses: Vec<Pause>) -> bool {
        let is_other = *self.pauses != *pauses;
        self.paused = Paused::new(&pauses);
        self.pauses = pauses.into();
        is_other
    }

    /// A claim under way may still find a route full: what it found is from before this moment.
    fn forget_limits(&mut self) {
        self.moment.0 += 1;
        let freed = self.moment;
        self.limits.values_mut().for_each(|limit| *limit = Limit { freed, ..Limit::default() });
    }
}

#[cfg(test)]
mod tests;
