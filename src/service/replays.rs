//! Replays: starting, watching and cancelling them, and the task that does their steps.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Service;
use super::actions::to_its_end;
use crate::domain::action::ActionKind;
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::replay::ReplayState;
use crate::domain::route::Rate;
use crate::store::{
    ActionTarget, CancelledReplay, NewReplay, Replay, ReplayFilter, ReplayStep, replay_not_found,
};
use crate::telemetry::repeated::Repeated;
use crate::telemetry::tasks::restarted;

/// How many jobs one step restarts: at most, at first, and at least while they start more slowly than they are
/// restarted. A step is a transaction, so other writes wait for it.
const STEP_JOBS: usize = 250;
const FIRST_STEP_JOBS: usize = 50;
const SMALLEST_STEP_JOBS: usize = 10;

/// How soon a replay that another process has started, or that an earlier process has left, is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most steps of a dry run before its start is answered. The other steps follow in the background.
const STEPS_BEFORE_ANSWER: usize = 50;

/// How long a dry run waits for a step that another process does. The wait counts as a step.
const STEP_OF_ANOTHER: Duration = Duration::from_millis(20);

static STEPS: Repeated = Repeated::new("the store is asked for replays again");

/// One page of replays.
#[derive(Clone, Debug, Default)]
pub struct ReplayPage {
    /// The replays, newest first. May be fewer than were asked for even if `next` is set.
    pub replays: Vec<Replay>,
    /// The number before which the next page begins; none if this page is the last.
    pub next: Option<u64>,
}

/// Reads the field `rate` of a replay. Errors: `InvalidField`.
pub fn rate(text: Option<String>) -> Result<Option<Rate>> {
    let wrong = |()| Error::invalid("rate", "must be a number per s, m or h, such as 50/s");
    text.map(|text| text.parse::<Rate>().map_err(wrong)).transpose()
}

impl Service {
    /// Starts a replay: the finished jobs of the webhooks that match `filter` now run again, at most `rate` of them. With
    /// the statuses, the route and the error of the filter, only jobs that match all of them. A dry run only counts; if
    /// there is not too much to look at, it is over when this returns.
    ///
    /// Errors: `InvalidField` if the filter is not valid or empty, or has statuses of jobs that are not finished;
    /// `RouteNotFound` for a route that is not in the settings and never had a job; `RouteNotFound` and `SourceNotFound`
    /// for what the caller does not see; `Forbidden` for a caller who is limited, unless the filter names a source and a
    /// route; `ReplayRunning`.
    pub async fn start_replay(
        &self,
        filter: ReplayFilter,
        rate: Option<Rate>,
        dry_run: bool,
    ) -> Result<Replay> {
        let filter = self.replayed(checked(filter)?)?;
        if let Some(route) = &filter.route {
            self.check_known(route).await?;
        }
        let (reason, actor) = (self.reason.clone(), self.caller.name().to_owned());
        let new = NewReplay { filter, reason, actor, rate, dry_run };
        let service = self.clone();
        to_its_end(async move { service.begin_replay(new).await }).await
    }

    async fn begin_replay(&self, new: NewReplay) -> Result<Replay> {
        let dry_run = new.dry_run;
        let target = ActionTarget {
            route: new.filter.route.clone(),
            source: new.filter.source.clone(),
            ..ActionTarget::default()
        };
        let replay = match self.store.start_replay(new).await {
            Ok(replay) => replay,
            Err(error) => return Err(self.seen_refusal(error).await),
        };
        let number = replay.number;
        tracing::info!(actor = self.caller.name(), replay = number, dry_run, "a replay is started");
        if !dry_run {
            let target = ActionTarget { replay: Some(number), ..target };
            self.record(ActionKind::StartReplay, target, None).await;
            self.replay_started.notify_one();
            return Ok(replay);
        }
        for _ in 0..STEPS_BEFORE_ANSWER {
            let step = self.store.step_replay(STEP_JOBS).await;
            let is_idle = matches!(step, Ok(ReplayStep::Idle));
            if is_idle && self.is_running(number).await {
                self.clock.sleep(STEP_OF_ANOTHER).await;
            } else if !matches!(step, Ok(ReplayStep::Moved)) {
                // After an error, the replay goes on in the background as well.
                break;
            }
        }
        self.replay_started.notify_one();
        self.store.replay(number).await
    }

    async fn is_running(&self, number: u64) -> bool {
        self.store.replay(number).await.is_ok_and(|replay| replay.state == ReplayState::Running)
    }

    /// A replay. Errors: `ReplayNotFound`, also for a replay of what the caller does not see.
    pub async fn replay(&self, number: u64) -> Result<Replay> {
        let replay = self.store.replay(number).await?;
        if self.sees_replay(&replay) { Ok(replay) } else { Err(replay_not_found(number)) }
    }

    /// At most `limit` replays with numbers less than `before` that the caller sees, newest first.
    pub async fn replays(&self, before: Option<u64>, limit: usize) -> Result<ReplayPage> {
        // One more, to learn whether there is another page.
        let mut replays = self.store.replays(before, limit.saturating_add(1)).await?;
        let has_more = replays.len() > limit;
        replays.truncate(limit);
        let next = replays.last().filter(|_| has_more).map(|replay| replay.number);
        replays.retain(|replay| self.sees_replay(replay));
        Ok(ReplayPage { replays, next })
    }

    /// Ends a running replay. Jobs that it has restarted still run. Errors: `ReplayNotFound`; `WrongStatus` if it is
    /// completed.
    pub async fn cancel_replay(&self, number: u64) -> Result<Replay> {
        let filter = self.replay(number).await?.filter;
        let service = self.clone();
        let cancelling = to_its_end(async move {
            let CancelledReplay { replay, changed } = service.store.cancel_replay(number).await?;
            if !changed {
                return Ok(replay);
            }
            tracing::info!(actor = service.caller.name(), replay = number, "a replay is cancelled");
            let target = ActionTarget {
                replay: Some(number),
                route: filter.route,
                source: filter.source,
                ..ActionTarget::default()
            };
            service.record(ActionKind::CancelReplay, target, None).await;
            Ok(replay)
        });
        cancelling.await
    }
}

/// Checks the filter of a replay. Errors: `InvalidField` if it is not valid or empty, or has statuses of jobs that are not
/// finished.
pub fn checked(filter: ReplayFilter) -> Result<ReplayFilter> {
    filter.query()?;
    let is_of_jobs = |status: &Status| Status::OF_JOBS.contains(status) && status.is_final();
    if !filter.statuses.iter().all(is_of_jobs) {
        let problem =
            "of a replay must be completed, dead_lettered or cancelled: only finished jobs run again";
        return Err(Error::invalid("status", problem));
    }
    if filter == ReplayFilter::default() {
        let problem = "is empty, so everything would run again; name what to replay. If it is really everything, give \
                       `accepted_before`";
        return Err(Error::invalid("filter", problem));
    }
    Ok(filter)
}

/// The running task that does the steps of replays.
#[derive(Debug)]
pub struct Replayer {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replayer {
    /// Starts the task. A replay that an earlier process has left goes on.
    pub fn start(service: Service) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = restarted("replays", move || go_on(service.clone(), stopped.clone()));
        Self { stop, task: tokio::spawn(task) }
    }

    /// Stops after the step under way. For use before the store is closed.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Does steps until `stopped` is cancelled. Each replica does so, and the store lets one of them do a step at a time.
async fn go_on(service: Service, stopped: CancellationToken) {
    let mut jobs = FIRST_STEP_JOBS;
    while !stopped.is_cancelled() {
        let step = service.store.step_replay(jobs).await;
        if step.is_ok() {
            STEPS.works();
        }
        let wait = match step {
            Ok(ReplayStep::Moved) => {
                jobs = (jobs * 2).min(STEP_JOBS);
                continue;
            }
            Ok(ReplayStep::Behind(wait)) => {
                // So that few jobs are in front of others whose route starts jobs slowly.
                jobs = (jobs / 2).max(SMALLEST_STEP_JOBS);
                wait
            }
            Ok(ReplayStep::Paced(wait)) => wait,
            Ok(ReplayStep::Idle) => {
                jobs = FIRST_STEP_JOBS;
                LOOK_EVERY
            }
            Err(error) => {
                // The store did not say whether one is running.
                STEPS.failed(|times| {
                    tracing::warn!(times, error = %error, "the store could not be asked for replays that go on; trying again every second");
                });
                LOOK_EVERY
            }
        };
        tokio::select! {
            () = stopped.cancelled() => {}
            () = service.replay_started.notified() => {}
            () = service.clock.sleep(wait) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_filter_names_something_and_only_finished_jobs() {
        let of = |statuses: &[Status]| ReplayFilter {
            statuses: statuses.iter().copied().collect::<BTreeSet<_>>(),
            ..ReplayFilter::default()
        };
        for good in [&[Status::DeadLettered][..], &[Status::Completed, Status::Cancelled]] {
            assert!(checked(of(good)).is_ok(), "{good:?}");
        }
        for bad in [&[Status::Pending][..], &[Status::Completed, Status::Retrying], &[Status::Filtered]] {
            assert_eq!(checked(of(bad)).expect_err("refused").field(), Some("status"), "{bad:?}");
        }
        assert_eq!(checked(of(&[])).expect_err("refused").field(), Some("filter"));
        let wrong = ReplayFilter { trace_id: Some("7".to_owned()), ..ReplayFilter::default() };
        assert_eq!(checked(wrong).expect_err("refused").field(), Some("trace_id"));
    }

    #[test]
    fn a_rate_is_written_as_in_the_settings() {
        let read = rate(Some("50/s".to_owned())).expect("valid");
        assert_eq!(read.map(|rate| rate.to_string()).as_deref(), Some("50/s"));
        assert!(rate(None).expect("valid").is_none());
        for bad in ["", "50", "0/s", "50/d"] {
            assert_eq!(rate(Some(bad.to_owned())).expect_err(bad).field(), Some("rate"));
        }
    }
}
