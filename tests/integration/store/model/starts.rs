//! Which jobs are startable, written as directly as in the contract of `JobQueue::claim`.

use std::collections::HashMap;

use hookbox::internals::domain::job::JobId;
use hookbox::internals::domain::route::RouteName;
use hookbox::internals::store::{ClaimedJob, PauseTarget};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::reference::Reference;
use super::webhooks::Job;

/// A startable job, and since when it has been startable. The contract permits an earliest and a latest time: an
/// ordered job counts from its own due time or from the end of the jobs before it.
#[derive(Clone, Debug)]
pub(super) struct Startable {
    pub(super) job: Job,
    since: (Timestamp, Timestamp),
}

impl Reference {
    /// Jobs that are startable at `now`, without regard to the limits of their routes.
    pub(super) fn startable(&self, now: Timestamp) -> Vec<Startable> {
        self.due(now).into_iter().filter(|one| self.is_free(&one.job)).collect()
    }

    /// Waiting jobs that are due at `now` and first in their lane.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Startable> {
        let due = self.jobs().filter(|job| job.waits() && job.due <= now && self.is_first(job));
        due.map(|job| Startable { job: job.clone(), since: self.since(job) }).collect()
    }

    /// Since when the oldest job of a queue has been due, as the earliest and the latest permitted time.
    pub(super) fn oldest_due(&self, of: &Job, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let due = self.due(now);
        let queue = due.iter().filter(|one| one.job.route == of.route && one.job.source == of.source);
        let (earliest, latest): (Vec<_>, Vec<_>) = queue.map(|one| one.since).unzip();
        Some((earliest.into_iter().min()?, latest.into_iter().min()?))
    }

    /// Whether the policies contain the job's route and no pause applies to the job.
    fn is_free(&self, job: &Job) -> bool {
        let paused = [
            PauseTarget::Everything,
            PauseTarget::Route(job.route.clone()),
            PauseTarget::Source(job.source.clone()),
        ];
        self.policies.get(&job.route).is_some()
            && !paused.iter().any(|target| self.paused.contains_key(target))
    }

    /// Whether the job is first in its lane: no earlier job is unfinished, and no job of the lane runs or blocks.
    pub(super) fn is_first(&self, job: &Job) -> bool {
        let Some(lane) = job.lane() else { return true };
        let mut others =
            self.jobs().filter(|other| other.id != job.id && other.lane().as_ref() == Some(&lane));
        others.all(|other| !other.occupies_lane() || (other.id > job.id && other.waits()))
    }

    fn since(&self, job: &Job) -> (Timestamp, Timestamp) {
        let lane = job.lane().and_then(|lane| self.lanes.get(&lane).copied());
        let (earliest, latest) = lane.unwrap_or((job.due, job.due));
        (job.due.min(earliest), job.due.max(latest))
    }

    /// How many more jobs of the route may run at once.
    fn places(&self, route: &RouteName) -> usize {
        let most = self.policies.get(route).and_then(|policy| policy.concurrency);
        let running = self.jobs().filter(|job| job.route == *route && job.runs()).count();
        most.map_or(usize::MAX, |most| (most.get() as usize).saturating_sub(running))
    }

    /// Checks the jobs of a claim: it must lease as many startable jobs as possible, share its threads evenly between
    /// routes, and prefer those jobs of a route and source that have been due longest.
    pub(super) fn check_claimed(
        &self,
        claimed: &[ClaimedJob],
        threads: usize,
        running: &HashMap<RouteName, usize>,
        now: Timestamp,
    ) -> Result<(), TestCaseError> {
        let startable = self.startable(now);
        let mut routes: HashMap<&RouteName, (usize, usize)> = HashMap::new();
        for one in &startable {
            routes.entry(&one.job.route).or_default().1 += 1;
        }
        for (route, (_, most)) in &mut routes {
            *most = (*most).min(self.places(route));
        }
        let is_claimed = |one: &Startable| {
            claimed.iter().any(|claim| claim.lease.job.webhook == one.job.id && claim.route == one.job.route)
        };
        for claim in claimed {
            let found = startable
                .iter()
                .any(|one| one.job.id == claim.lease.job.webhook && one.job.route == claim.route);
            prop_assert!(found, "may not start: {claim:?}");
            routes.entry(&claim.route).or_default().0 += 1;
        }
        let ids = claimed.iter().map(|claim| claim.lease.job).collect::<std::collections::HashSet<JobId>>();
        prop_assert_eq!(ids.len(), claimed.len(), "no job is claimed twice");
        let possible = routes.values().map(|(_, most)| most).sum::<usize>();
        prop_assert_eq!(
            claimed.len(),
            threads.min(possible),
            "all startable jobs are claimed, up to the threads: {:?}",
            routes
        );

        let before = |route: &RouteName| running.get(route).copied().unwrap_or(0);
        for (route, (got, most)) in &routes {
            prop_assert!(got <= most, "{route} starts {got} of {most}");
            for (other, (others, _)) in routes.iter().filter(|(_, (others, _))| *others > 0 && got < most) {
                let (its, of_other) = (before(route) + got, before(other) + others - 1);
                prop_assert!(of_other <= its, "{other} got {others} threads while {route} got {got}");
            }
        }
        // Between sources, a store goes by what it last knew of their queues, and corrects that as it reads them.
        let is_of_same = |one: &Job, other: &Job| one.route == other.route && one.source == other.source;
        for waits in startable.iter().filter(|one| !is_claimed(one)) {
            let queue = startable.iter().filter(|one| is_of_same(&one.job, &waits.job));
            for starts in queue.filter(|one| is_claimed(one)) {
                prop_assert!(starts.since.0 <= waits.since.1, "{waits:?} is due longer than {starts:?}");
            }
        }
        Ok(())
    }

    /// Whether any job is startable at `now`.
    pub(super) fn may_start(&self, now: Timestamp) -> bool {
        self.startable(now).iter().any(|one| self.places(&one.job.route) > 0)
    }

    /// Checks the time of the next claim: it must not be later than the next startable job, and it must be in the
    /// future if no job is startable now.
    pub(super) fn check_next(&self, next: Option<Timestamp>, now: Timestamp) -> Result<(), TestCaseError> {
        let later = self.jobs().filter(|job| {
            job.waits()
                && job.due > now
                && self.is_first(job)
                && self.is_free(job)
                && self.places(&job.route) > 0
        });
        match later.map(|job| job.due).min() {
            _ if self.may_start(now) => prop_assert!(next.is_some_and(|next| next <= now), "{next:?}"),
            Some(due) => {
                prop_assert!(next.is_some_and(|next| next > now && next <= due), "{next:?}, not {due}")
            }
            None => prop_assert!(next.is_none_or(|next| next > now), "{next:?}"),
        }
        Ok(())
    }
}
