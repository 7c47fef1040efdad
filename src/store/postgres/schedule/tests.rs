use std::num::NonZeroU32;

use super::*;
use crate::domain::policy::Policy;
use crate::store::pulled::Wanted;
use crate::store::types::PauseTarget;

const QUEUE: QueueId = QueueId(1);

pub(super) fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).expect("in range")
}

/// A schedule with one queue, of a route with that limit.
fn schedule(concurrency: Option<u32>) -> Schedule {
    let concurrency = concurrency.and_then(NonZeroU32::new);
    schedule_of(|policy| Policy { concurrency, ..policy })
}

/// A schedule with one queue, of a route with a policy that is made of one without limits.
pub(super) fn schedule_of(change: impl FnOnce(Policy) -> Policy) -> Schedule {
    let policy = change(Policy::unlimited(RouteName::default()));
    let schedule = Schedule::new(Arc::new(Policies::new([policy])));
    schedule.add_queues([(QUEUE, RouteName::default(), Source::default())]);
    schedule
}

/// Whether a claim reads the queue.
fn is_read(schedule: &Schedule) -> bool {
    !schedule.plan(at(0), 1, &HashMap::new(), &Wanted::Run).shares.is_empty()
}

/// The earliest time at which a job may start.
fn next(schedule: &Schedule) -> Option<Timestamp> {
    schedule.next(at(0), &Wanted::Run)
}

fn found(job: Option<Timestamp>) -> Found {
    Found { queue: QUEUE, job, lane: None }
}

#[test]
fn a_queue_is_read_from_when_its_first_job_is_due() {
    let schedule = schedule(None);
    assert_eq!((is_read(&schedule), next(&schedule)), (false, None));
    schedule.note(&[(QUEUE, at(1))]);
    assert_eq!((is_read(&schedule), next(&schedule)), (false, Some(at(1))));
    schedule.note(&[(QUEUE, at(0))]);
    assert!(is_read(&schedule));
    schedule.found(schedule.moment(), &[found(None)]);
    assert_eq!((is_read(&schedule), next(&schedule)), (false, None));
}

#[test]
fn a_job_that_is_noted_while_its_queue_is_read_is_not_forgotten() {
    let schedule = schedule(None);
    let before = schedule.moment();
    schedule.note(&[(QUEUE, at(0))]);
    schedule.found(before, &[found(None)]);
    assert!(is_read(&schedule));
    schedule.found(before, &[found(Some(at(5)))]);
    assert!(is_read(&schedule));
}

#[test]
fn a_full_route_is_read_again_when_one_of_its_jobs_has_ended() {
    let (schedule, route) = (schedule(Some(1)), RouteName::default());
    schedule.note(&[(QUEUE, at(0))]);
    schedule.limited(schedule.moment(), &route, Pace::default(), true);
    assert_eq!((is_read(&schedule), next(&schedule)), (false, None));
    assert!(schedule.free([&route]));
    assert!(is_read(&schedule));
    // The job ended while a claim was finding the route full.
    let before = schedule.moment();
    assert!(!schedule.free([&route]));
    schedule.limited(before, &route, Pace::default(), true);
    assert!(is_read(&schedule));
}

#[test]
fn a_paused_queue_is_not_read() {
    let schedule = schedule(None);
    schedule.note(&[(QUEUE, at(0))]);
    let pause = Pause::of(PauseTarget::Everything, at(0));
    assert!(schedule.set_paused(schedule.moment(), vec![pause.clone()]));
    assert!(!schedule.set_paused(schedule.moment(), vec![pause]), "nothing new");
    assert_eq!((is_read(&schedule), next(&schedule)), (false, None));
    schedule.set_paused(schedule.moment(), Vec::new());
    assert!(is_read(&schedule));
}

#[test]
fn pauses_that_were_read_before_this_process_changed_one_are_outdated() {
    let schedule = schedule(None);
    schedule.note(&[(QUEUE, at(0))]);
    let before = schedule.moment();
    let pause = Pause::of(PauseTarget::Everything, at(0));
    schedule.pauses_written(Vec::new());
    assert!(!schedule.set_paused(before, vec![pause.clone()]));
    assert!(is_read(&schedule));
    assert!(schedule.set_paused(schedule.moment(), vec![pause]));
    assert!(!is_read(&schedule));
}

#[test]
fn a_claim_that_began_before_the_cursors_were_forgotten_sets_none() {
    let schedule = schedule(None);
    schedule.note(&[(QUEUE, at(0))]);
    let plan = || schedule.plan(at(0), 1, &HashMap::new(), &Wanted::Run);
    let Planned { shares, moment, .. } = plan();
    let queue = shares[0].queues[0];
    schedule.forget_cursors();
    schedule.read_from(moment, &queue, at(0));
    assert!(plan().shares[0].queues[0].cursor.is_none());
    schedule.read_from(schedule.moment(), &queue, at(0));
    assert!(plan().shares[0].queues[0].cursor.is_some());
}
