//! Plans which queues a claim reads, and how idle threads are shared between routes.
//!
//! A claim reads only the planned queues. The queues of a paused, full or rate-limited route, and queues
//! with nothing due, are not planned and cost the claim nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use jiff::Timestamp;

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
    /// Adds a queue.
    pub(super) fn add(&mut self, id: QueueId, route: RouteName, source: Source) {
        self.ids.entry(route.clone()).or_default().insert(source.clone(), id);
        self.names.insert(id, (route, source));
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
}

/// The input of a plan.
pub(super) struct Circumstances<'a> {
    pub(super) now: Timestamp,
    /// Idle threads to share.
    pub(super) threads: usize,
    /// Jobs running in this process, by route.
    pub(super) running: &'a HashMap<RouteName, usize>,
    pub(super) queues: &'a Queues,
    pub(super) policies: &'a Policies,
    pub(super) paused: &'a Paused,
}

/// What a claim should read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// One share for each route that gets threads.
    pub(super) shares: Vec<Share>,
    /// The earliest time at which a job that is not planned now may start without any other event; `None` if
    /// there is no such job.
    pub(super) next: Option<Timestamp>,
}

/// The threads that a route gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) route: RouteName,
    /// The route's queues that have something due.
    pub(super) queues: Vec<QueueId>,
    /// How many jobs to start, at least 1.
    pub(super) threads: usize,
}

/// A route with at least one due job that is not held or paused.
struct Candidate {
    queues: Vec<QueueId>,
    oldest: Timestamp,
    allowed: usize,
    threads: usize,
}

impl Ready {
    /// Notes that a job of the queue is due at `due`. Keeps the earlier of this and the known time.
    pub(super) fn note(&mut self, queue: QueueId, due: Timestamp) {
        self.due.entry(queue).and_modify(|first| *first = due.min(*first)).or_insert(due);
    }

    /// Replaces what is known of the queue with what a read found: when its first waiting job is due, or
    /// `None` if it has none.
    pub(super) fn found(&mut self, queue: QueueId, next: Option<Timestamp>) {
        match next {
            Some(due) => drop(self.due.insert(queue, due)),
            None => drop(self.due.remove(&queue)),
        }
    }

    /// Shares idle threads between the routes that have something due. The route with the fewest jobs running
    /// in this process comes first; of these, the one whose oldest job has been due longest. `allowance`
    /// returns how many of a route's jobs may start; it is called once for each route with something due.
    pub(super) fn plan(
        &self,
        circumstances: &Circumstances<'_>,
        allowance: impl FnMut(&Policy) -> Allowance,
    ) -> Plan {
        let (mut candidates, next) = self.candidates(circumstances, allowance);
        share(&mut candidates, circumstances.threads, circumstances.running);
        let shares = candidates.into_iter().filter(|(_, candidate)| candidate.threads > 0).map(
            |(route, Candidate { queues, threads, .. })| Share { route: route.clone(), queues, threads },
        );
        Plan { shares: shares.collect(), next }
    }

    /// Shares idle threads between the routes of jobs that are about to be stored, as [`plan`](Self::plan)
    /// does. `accepted` has the number of these jobs, by queue. Plans nothing while a stored job may start: it
    /// has been due longer, and a claim decides whose turn it is. Routes with a limit get no threads, because
    /// only a claim counts their running jobs and starts.
    pub(super) fn plan_accepted(
        &self,
        circumstances: &Circumstances<'_>,
        accepted: &HashMap<QueueId, usize>,
        mut allowance: impl FnMut(&Policy) -> Allowance,
    ) -> Plan {
        let Circumstances { now, queues, .. } = circumstances;
        if self.next(circumstances, &mut allowance).is_some_and(|next| next <= *now) {
            return Plan::default();
        }
        let due = Self { due: accepted.keys().map(|queue| (*queue, *now)).collect() };
        due.plan(circumstances, |policy| {
            let jobs = || queues.of_route(&policy.route).iter().filter_map(|queue| accepted.get(queue)).sum();
            let starts = if allowance(policy) == Allowance::ANY { jobs() } else { 0 };
            Allowance { starts, next: None }
        })
    }

    /// The earliest time at which a job may start: not later than `now` if one may start already, `None` if
    /// no job can start without another event.
    pub(super) fn next(
        &self,
        circumstances: &Circumstances<'_>,
        allowance: impl FnMut(&Policy) -> Allowance,
    ) -> Option<Timestamp> {
        let (candidates, next) = self.candidates(circumstances, allowance);
        let may_start = candidates.values().filter(|candidate| candidate.allowed > 0);
        may_start.map(|candidate| candidate.oldest).chain(next).min()
    }

    /// The routes that have something due, and the earliest time at which a job that is not due or not
    /// allowed yet may start without another event.
    fn candidates<'a>(
        &self,
        circumstances: &Circumstances<'a>,
        mut allowance: impl FnMut(&Policy) -> Allowance,
    ) -> (HashMap<&'a RouteName, Candidate>, Option<Timestamp>) {
        let Circumstances { now, queues, policies, paused, .. } = circumstances;
        let mut next: Option<Timestamp> = None;
        let mut at_last = |due: Timestamp| next = Some(next.map_or(due, |next| next.min(due)));
        let mut candidates: HashMap<&RouteName, Candidate> = HashMap::new();
        for (queue, due) in &self.due {
            let Some((route, source)) = queues.name(*queue) else { continue };
            let Some(policy) = policies.get(route).filter(|_| !paused.holds(route, source)) else { continue };
            if due > now {
                at_last(*due);
                continue;
            }
            let candidate = candidates.entry(route).or_insert_with(|| {
                let Allowance { starts, next } = allowance(policy);
                next.into_iter().for_each(&mut at_last);
                Candidate { queues: Vec::new(), oldest: *due, allowed: starts, threads: 0 }
            });
            candidate.oldest = candidate.oldest.min(*due);
            candidate.queues.push(*queue);
        }
        (candidates, next)
    }
}

/// Gives threads to candidates one by one, each thread to the candidate with the fewest running jobs.
fn share(
    candidates: &mut HashMap<&RouteName, Candidate>,
    threads: usize,
    running: &HashMap<RouteName, usize>,
) {
    let mut order = candidates
        .iter_mut()
        .filter(|(_, candidate)| candidate.allowed > 0)
        .map(|(route, candidate)| {
            Reverse((running.get(*route).copied().unwrap_or(0), candidate.oldest, *route, ByPlace(candidate)))
        })
        .collect::<BinaryHeap<_>>();
    for _ in 0..threads {
        let Some(Reverse((running, oldest, route, ByPlace(candidate)))) = order.pop() else { return };
        candidate.threads += 1;
        if candidate.threads < candidate.allowed {
            order.push(Reverse((running + 1, oldest, route, ByPlace(candidate))));
        }
    }
}

/// A candidate in the heap. All values compare equal, so that they do not affect the order.
struct ByPlace<'a>(&'a mut Candidate);

impl PartialEq for ByPlace<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ByPlace<'_> {}

impl PartialOrd for ByPlace<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByPlace<'_> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

#[cfg(test)]
mod tests;
