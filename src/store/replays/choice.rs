//! Chooses the jobs that a step of a replay restarts. Pure functions.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::job::{JobId, JobStatus, QueueId, Status};
use crate::domain::policy::Policies;
use crate::domain::replay::ReplayCounts;
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookStatus;
use crate::store::ListQuery;
use crate::store::by_hand::can_be_replayed;

/// If a job of a queue has been due for longer, no more jobs of that queue are restarted.
const BEHIND: Duration = Duration::from_millis(100);

/// The pauses until another step is tried, while jobs that are due wait to start.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The queues whose due jobs wait to start.
#[derive(Debug, Default)]
pub(in crate::store) struct Behind {
    pub(in crate::store) queues: HashSet<QueueId>,
    /// For how long the first of these jobs has been due.
    pub(in crate::store) longest: Duration,
}

impl Behind {
    /// Adds a queue if its first waiting job has been due for too long. `due` is when that job was due.
    pub(in crate::store) fn note(&mut self, queue: QueueId, due: Option<Timestamp>, now: Timestamp) {
        if let Some(waited) = behind_for(due, now) {
            self.queues.insert(queue);
            self.longest = self.longest.max(waited);
        }
    }
}

/// The inputs for the choice of the jobs that a step restarts.
pub(in crate::store) struct Choice<'a> {
    /// The filter of the replay.
    pub(in crate::store) filter: &'a ListQuery,
    /// The policies in force.
    pub(in crate::store) policies: &'a Policies,
    /// Queues of which no jobs are restarted now.
    pub(in crate::store) behind: &'a HashSet<QueueId>,
    /// The most jobs to restart, at least 1. The jobs of one webhook are restarted together, however many they are.
    pub(in crate::store) most: usize,
}

/// The jobs that a step restarts.
#[derive(Debug, Default)]
pub(in crate::store) struct Chosen {
    /// The jobs, each with the status that it has.
    pub(in crate::store) jobs: Vec<(JobId, Status)>,
    /// The counts of the webhooks that the step has passed, without the jobs that it restarts. `webhooks` is their
    /// number; they are the first ones.
    pub(in crate::store) counts: ReplayCounts,
    /// The route whose jobs are behind, if the next webhook waits for it.
    pub(in crate::store) held_by: Option<RouteName>,
}

impl Choice<'_> {
    /// Chooses jobs of webhooks that match the filter, in the order of the webhooks.
    pub(in crate::store) fn of(&self, webhooks: &[WebhookStatus]) -> Chosen {
        let mut chosen = Chosen::default();
        for webhook in webhooks {
            if chosen.jobs.len() >= self.most {
                break;
            }
            let without_jobs = u64::from(webhook.jobs.is_empty());
            let mut counts = ReplayCounts { webhooks: 1, without_jobs, ..ReplayCounts::default() };
            let mut restarted = Vec::new();
            for job in wanted(webhook, self.filter) {
                if !can_be_replayed(job.status) {
                    counts.unfinished += 1;
                } else if self.policies.get(&job.route).is_none() {
                    counts.route_gone += 1;
                } else {
                    restarted.push(job);
                }
            }
            if let Some(held) = restarted.iter().find(|job| self.behind.contains(&job.queue)) {
                chosen.held_by = Some(held.route.clone());
                break;
            }
            chosen.counts = chosen.counts.plus(counts);
            let named = |job: &JobStatus| (JobId { webhook: webhook.id, queue: job.queue }, job.status);
            chosen.jobs.extend(restarted.into_iter().map(named));
        }
        chosen
    }
}

/// The queues of the finished jobs that a filter wants of these webhooks.
pub(in crate::store) fn queues(webhooks: &[WebhookStatus], filter: &ListQuery) -> BTreeSet<QueueId> {
    let jobs = webhooks.iter().flat_map(|webhook| wanted(webhook, filter));
    jobs.filter(|job| can_be_replayed(job.status)).map(|job| job.queue).collect()
}

/// The jobs of a webhook that a filter wants: those of its route that have one of its statuses, and an error with its
/// text.
fn wanted<'a>(webhook: &'a WebhookStatus, filter: &'a ListQuery) -> impl Iterator<Item = &'a JobStatus> {
    webhook.jobs.iter().filter(move |job| {
        let error = job.last_error.as_deref();
        filter.route.as_ref().is_none_or(|route| *route == job.route)
            && (filter.statuses.is_empty() || filter.statuses.contains(&job.status))
            && filter
                .error_contains
                .as_ref()
                .is_none_or(|text| error.is_some_and(|error| error.contains(text.as_str())))
    })
}

/// For how long the first waiting job of a queue has been due, if that is too long. `due` is when it was due.
fn behind_for(due: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let waited = now.duration_since(due?);
    (!waited.is_negative()).then(|| waited.unsigned_abs()).filter(|waited| *waited > BEHIND)
}

/// How long to wait until another step is tried if a job has been due for this long.
pub(in crate::store) fn pause(behind_for: Duration) -> Duration {
    (behind_for / 5).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::filter::FilterText;
    use crate::domain::id::WebhookId;
    use crate::domain::policy::Policy;
    use crate::domain::webhook::{EventType, IdempotencyKey, Source};

    /// A webhook with jobs of these queues. The queue 1 is of the route `a`, 2 of `b`, and 3 of `c`, which is gone.
    fn webhook(number: u8, jobs: &[(u32, Status)]) -> WebhookStatus {
        let job = |(queue, status): &(u32, Status)| JobStatus {
            queue: QueueId(*queue),
            route: route(["a", "b", "c"][*queue as usize - 1]),
            status: *status,
            attempt_count: 1,
            updated_at: Timestamp::UNIX_EPOCH,
            revision: 1,
            last_error: None,
            next_attempt_at: None,
        };
        WebhookStatus {
            id: WebhookId::from_bytes([number; 16]),
            source: Source::default(),
            idempotency_key: IdempotencyKey::new("k").expect("valid"),
            event_type: EventType::new("t").expect("valid"),
            accepted_at: Timestamp::UNIX_EPOCH,
            is_quarantined: false,
            jobs: jobs.iter().map(job).collect(),
        }
    }

    fn route(name: &str) -> RouteName {
        RouteName::new(name).expect("valid")
    }

    fn policies() -> Policies {
        Policies::new(["a", "b"].map(|name| Policy::unlimited(route(name))))
    }

    /// Chooses jobs; returns their webhooks and queues, and what is counted.
    fn choose(
        webhooks: &[WebhookStatus],
        filter: &ListQuery,
        behind: &[u32],
        most: usize,
    ) -> (Vec<(u8, u32)>, Chosen) {
        let behind = behind.iter().copied().map(QueueId).collect();
        let chosen = Choice { filter, policies: &policies(), behind: &behind, most }.of(webhooks);
        let jobs = chosen.jobs.iter().map(|(job, _)| (job.webhook.as_bytes()[0], job.queue.0)).collect();
        (jobs, chosen)
    }

    #[test]
    fn finished_jobs_are_restarted_and_others_are_counted() {
        use Status::{Cancelled, Completed, DeadLettered, Pending, Processing, Retrying};
        let webhooks = [
            webhook(1, &[(1, Completed), (2, Pending)]),
            webhook(2, &[]),
            webhook(3, &[(1, Processing), (2, Cancelled), (3, Completed)]),
            webhook(4, &[(1, Retrying), (2, DeadLettered)]),
        ];
        let (jobs, chosen) = choose(&webhooks, &ListQuery::default(), &[], 100);
        assert_eq!(jobs, [(1, 1), (3, 2), (4, 2)]);
        let counts =
            ReplayCounts { webhooks: 4, unfinished: 3, route_gone: 1, without_jobs: 1, ..Default::default() };
        assert_eq!((chosen.counts, chosen.held_by), (counts, None));
    }

    #[test]
    fn only_jobs_of_the_route_and_the_statuses_of_the_filter_are_restarted() {
        use Status::{Completed, DeadLettered, Pending};
        let webhooks = [webhook(1, &[(1, Completed), (2, DeadLettered)]), webhook(2, &[(1, Pending)])];
        let of_route = ListQuery { route: Some(route("a")), ..ListQuery::default() };
        let (jobs, chosen) = choose(&webhooks, &of_route, &[], 100);
        assert_eq!((jobs, chosen.counts.unfinished), (vec![(1, 1)], 1));
        assert_eq!(queues(&webhooks, &of_route), BTreeSet::from([QueueId(1)]));
        let of_status = ListQuery { statuses: BTreeSet::from([DeadLettered]), ..ListQuery::default() };
        let (jobs, chosen) = choose(&webhooks, &of_status, &[], 100);
        assert_eq!((jobs, chosen.counts.unfinished), (vec![(1, 2)], 0));
    }

    #[test]
    fn only_jobs_with_the_error_of_the_filter_are_restarted() {
        use Status::{Completed, DeadLettered, Retrying};
        let mut failed = webhook(1, &[(1, DeadLettered), (2, DeadLettered), (3, Retrying)]);
        let errors = ["answered 503", "no such order", "answered 503"];
        for (job, error) in failed.jobs.iter_mut().zip(errors) {
            job.last_error = Some(error.to_owned());
        }
        let webhooks = [failed, webhook(2, &[(1, Completed)])];
        let error_contains = Some(FilterText::new("error_contains", "503").expect("valid"));
        let of_error = ListQuery { error_contains, ..ListQuery::default() };
        let (jobs, chosen) = choose(&webhooks, &of_error, &[], 100);
        assert_eq!((jobs, chosen.counts.unfinished), (vec![(1, 1)], 1));
    }

    #[test]
    fn a_step_ends_once_it_has_enough_jobs_and_does_not_divide_a_webhook() {
        let two = [(1, Status::Completed), (2, Status::Completed)];
        let webhooks = [1, 2, 3].map(|number| webhook(number, &two));
        for (most, expected) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
            let (jobs, chosen) = choose(&webhooks, &ListQuery::default(), &[], most);
            assert_eq!((jobs.len(), chosen.counts.webhooks), (2 * expected, expected as u64), "{most}");
        }
    }

    #[test]
    fn a_step_ends_at_a_webhook_whose_route_is_behind() {
        use Status::{Completed, Pending};
        let webhooks =
            [webhook(1, &[(1, Completed), (2, Pending)]), webhook(2, &[(2, Completed)]), webhook(3, &[])];
        let (jobs, chosen) = choose(&webhooks, &ListQuery::default(), &[2], 100);
        assert_eq!((jobs, chosen.counts.webhooks, chosen.held_by), (vec![(1, 1)], 1, Some(route("b"))));
    }

    #[test]
    fn jobs_are_behind_once_one_has_been_due_for_a_tenth_of_a_second() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).expect("in range");
        assert_eq!(behind_for(None, at(1_000)), None);
        for (due, behind) in [(2_000, None), (1_000, None), (900, None), (899, Some(101)), (0, Some(1_000))] {
            assert_eq!(behind_for(Some(at(due)), at(1_000)), behind.map(Duration::from_millis), "{due}");
        }
    }

    #[test]
    fn the_pause_grows_with_the_wait() {
        let pauses = [0, 101, 1_000, 4_000, 3_600_000].map(|ms| pause(Duration::from_millis(ms)).as_millis());
        assert_eq!(pauses, [20, 20, 200, 800, 1_000]);
    }
}
