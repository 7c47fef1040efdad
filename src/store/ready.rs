//! Plans which queues a claim reads, and how idle threads are shared between routes.
//!
//! A claim reads only the planned queues. The queues of a paused, full or rate-limited route, and queues
//! with nothing due, are not planned and cost the claim nothing.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use jiff::Timestamp;

use super::pulled::Wanted;
use super::rule::{Allowance, Paused};
use crate::domain::job::QueueId;
use crate::domain::policy::{Policies, Policy};
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;

/// The known queues. Each queue holds the jobs of one route from one source.
#[derive(Debug, Default)]
pub(super) struct Queues {
    names: HashMap<QueueId, (RouteName, Source)>,
    ids: HashMap<RouteName, HashMap<Source, QueueId>>,
}

impl Queues {
    /// Adds a queue. Replaces what is known of its number, and of its route and source.
    pub(super) fn add(&mut self, id: QueueId, route: RouteName, source: Source) {
        if let Some((old_route, old_source)) = self.names.get(&id).cloned() {
            if old_route == route && old_source == source {
                return;
            }
            self.remove(&old_route, &old_source);
        }
        self.remove(&route, &source);
        self.ids.entry(route.clone()).or_default().insert(source.clone(), id);
        self.names.insert(id, (route, source));
    }

    /// Removes a queue, if it is known.
    pub(super) fn remove(&mut self, route: &RouteName, source: &Source) {
        if let Some(id) = self.ids.get_mut(route).and_then(|sources| sources.remove(source)) {
            self.names.remove(&id);
        }
    }

    /// The queue of a route and a source, if it is known.
    pub(super) fn id(&self, route: &RouteName, source: &Source) -> Option<QueueId> {
        self.ids.get(route)?.get(source).copied()
    }

    /// The route and the source of a queue, if it is known.
    pub(super) fn name(&self, id: QueueId) -> Option<&(RouteName, Source)> {
        self.names.get(&id)
    }

    /// The queues of a route.
    pub(super) fn of_route(&self, route: &RouteName) -> Vec<QueueId> {
        self.ids.get(route).map(|sources| sources.values().copied().collect()).unwrap_or_default()
    }

    /// Every queue with its route and source.
    pub(super) fn iter(&self) -> impl Iterator<Item = (QueueId, &(RouteName, Source))> {
        self.names.iter().map(|(id, name)| (*id, name))
    }
}

/// When the first waiting job of each queue is due, as far as is known. A queue without an entry has no
/// waiting job.
#[derive(Debug, Default)]
pub(super) struct Ready {
    due: HashMap<QueueId, Timestamp>,
    /// The same entries, ordered by time.
    by_time: BTreeSet<(Timestamp, QueueId)>,
}

/// What decides which queues have jobs that may start.
pub(super) struct Circumstances<'a> {
    pub(super) now: Timestamp,
    /// Which jobs are claimed.
    pub(super) wanted: &'a Wanted,
    pub(super) queues: &'a Queues,
    pub(super) policies: &'a Policies,
    pub(super) paused: &'a Paused,
}

/// The threads that a route gets, and where a claim finds jobs for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) route: RouteName,
    /// The route's queues that have something due.
    pub(super) queues: Vec<QueueId>,
    /// How many jobs to start, at least 1.
    pub(super) threads: usize,
}

/// A wanted route with at least one due job that is not held or paused.
struct Candidate<'a> {
    route: &'a RouteName,
    queues: Vec<QueueId>,
    /// How many jobs may start.
    allowed: usize,
    /// How many jobs run in this process.
    running: usize,
    threads: usize,
}

impl Ready {
    /// Notes that a job of the queue is due at `due`. Keeps the earlier of this and the known time.
    pub(super) fn note(&mut self, queue: QueueId, due: Timestamp) {
        if self.due.get(&queue).is_none_or(|known| due < *known) {
            self.found(queue, Some(due));
        }
    }

    /// Replaces what is known of the queue with what a read found: when its first waiting job is due, or
    /// `None` if it has none.
    pub(super) fn found(&mut self, queue: QueueId, next: Option<Timestamp>) {
        let known = match next {
            Some(due) => self.due.insert(queue, due),
            None => self.due.remove(&queue),
        };
        self.by_time.extend(next.map(|due| (due, queue)));
        if let Some(known) = known.filter(|known| Some(*known) != next) {
            self.by_time.remove(&(known, queue));
        }
    }

    /// Shares idle threads between the wanted routes that have something due. The route with the fewest jobs `running`
    /// in this process comes first; of these, the one whose oldest job has been due longest. `allowance`
    /// returns how many of a route's jobs may start; it is called at most once for each route.
    pub(super) fn plan(
        &self,
        circumstances: &Circumstances<'_>,
        threads: usize,
        running: &HashMap<RouteName, usize>,
        mut allowance: impl FnMut(&Policy) -> Allowance,
    ) -> Vec<Share> {
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        let mut places: HashMap<&RouteName, usize> = HashMap::new();
        let mut unserved = 0;
        for (due, queue, policy) in self.startable(circumstances) {
            // As many routes as there are threads run nothing, and have been due longest: each gets one thread.
            if due > circumstances.now || unserved == threads {
                break;
            }
            let place = *places.entry(&policy.route).or_insert_with(|| {
                let allowed = allowance(policy).starts;
                let running = running.get(&policy.route).copied().unwrap_or(0);
                unserved += usize::from(allowed > 0 && running == 0);
                let (route, queues) = (&policy.route, Vec::new());
                candidates.push(Candidate { route, queues, allowed, running, threads: 0 });
                candidates.len() - 1
            });
            candidates[place].queues.push(queue);
        }
        share(&mut candidates, threads);
        let shares = candidates
            .into_iter()
            .filter(|candidate| candidate.threads > 0)
            .map(|Candidate { route, queues, threads, .. }| Share { route: route.clone(), queues, threads });
        shares.collect()
    }

    /// The earliest time at which a wanted job may start: not later than `now` if one may start already, `None` if
    /// no job can start without another event.
    pub(super) fn next(
        &self,
        circumstances: &Circumstances<'_>,
        mut allowance: impl FnMut(&Policy) -> Allowance,
    ) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        for (due, _, policy) in self.startable(circumstances) {
            if due > circumstances.now {
                return next.map_or(Some(due), |next| Some(next.min(due)));
            }
            let allowed = allowance(policy);
            if allowed.starts > 0 {
                return Some(due);
            }
            next = next.into_iter().chain(allowed.next).min();
        }
        next
    }

    /// The wanted queues that are neither held nor paused, with the times at which they are or were due, in the
    /// order of these times.
    fn startable<'a>(
        &self,
        circumstances: &Circumstances<'a>,
    ) -> impl Iterator<Item = (Timestamp, QueueId, &'a Policy)> {
        let Circumstances { wanted, queues, policies, paused, .. } = *circumstances;
        self.by_time.iter().filter_map(move |(due, queue)| {
            let (route, source) = queues.name(*queue)?;
            let policy = policies.get(route).filter(|policy| wanted.wants(policy))?;
            (!paused.holds(route, source)).then_some((*due, *queue, policy.as_ref()))
        })
    }
}

/// Gives threads to candidates one by one, each thread to the candidate with the fewest running jobs; of these,
/// to the first one.
fn share(candidates: &mut [Candidate<'_>], threads: usize) {
    let may_start = candidates.iter().enumerate().filter(|(_, candidate)| candidate.allowed > 0);
    let mut order =
        may_start.map(|(place, candidate)| Reverse((candidate.running, place))).collect::<BinaryHeap<_>>();
    for _ in 0..threads {
        let Some(Reverse((running, place))) = order.pop() else { return };
        let candidate = &mut candidates[place];
        candidate.threads += 1;
        if candidate.threads < candidate.allowed {
            order.push(Reverse((running + 1, place)));
        }
    }
}

#[cfg(test)]
mod tests;
