use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::content_type::ContentType;
use crate::domain::id::WebhookId;
use crate::domain::job::{JobId, QueueId};
use crate::domain::policy::Policy;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, IdempotencyKey, Source};

pub(super) const THREADS: usize = 4;

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

pub(in crate::worker) fn job(number: u8, route: &str) -> ClaimedJob {
    let webhook = WebhookId::from_bytes([number; 16]);
    ClaimedJob {
        lease: Lease { job: JobId { webhook, queue: QueueId(1) }, token: 1 },
        route: RouteName::new(route).expect("valid"),
        order: None,
        source: Source::default(),
        idempotency_key: IdempotencyKey::new("key").expect("valid"),
        event_type: EventType::new("type").expect("valid"),
        payload: None,
        content_type: ContentType::JSON,
        traceparent: Traceparent::new(1, 1, true),
        attempt: 1,
        attempt_of_run: 1,
        run: 1,
        available_at: second(0),
        claimed_at: second(0),
    }
}

/// An attempt that starts at the monotonic time 0.
pub(super) fn started(job: &ClaimedJob, timeout: Option<Duration>) -> Arc<Started> {
    let policy = Policy { timeout, ..Policy::unlimited(job.route.clone()) };
    Arc::new(Started::new(job.clone(), Arc::new(policy), &ManualClock::new(second(0))))
}

#[test]
fn jobs_take_threads_until_the_recorder_has_their_outcomes() {
    let slots = Slots::new(THREADS);
    let (reserved, running) = slots.reserve();
    assert_eq!((reserved, running.len()), (THREADS, 0));
    assert_eq!(slots.len(), THREADS);
    let jobs = [job(1, "a"), job(2, "a"), job(3, "b")];
    slots.begin(reserved, &jobs, Duration::MAX);
    let (idle, running) = slots.reserve();
    assert_eq!(idle, 1);
    let count = |route| running.get(&RouteName::new(route).expect("valid")).copied();
    assert_eq!((count("a"), count("b")), (Some(2), Some(1)));
    slots.begin(idle, &[], Duration::MAX);
    slots.free([jobs[0].lease, jobs[2].lease]);
    let (idle, running) = slots.reserve();
    assert_eq!((idle, running.into_values().collect::<Vec<_>>()), (3, vec![1]));
}

#[test]
fn no_thread_is_reserved_while_payloads_fill_the_memory() {
    let slots = Slots::new(THREADS);
    let (reserved, _) = slots.reserve();
    let mut large = job(1, "a");
    large.payload = Some(vec![b' '; HELD_BYTES]);
    slots.begin(reserved, &[large.clone(), job(2, "a")], Duration::MAX);
    assert_eq!(slots.reserve().0, 0);
    slots.free([large.lease]);
    assert_eq!(slots.reserve().0, THREADS - 1);
}

#[test]
fn an_attempt_keeps_its_lease_until_its_outcome_is_on_disk() {
    let slots = Slots::new(THREADS);
    let (reserved, _) = slots.reserve();
    let job = job(1, "a");
    slots.begin(reserved, std::slice::from_ref(&job), Duration::MAX);
    slots.free([job.lease]);
    assert_eq!((slots.len(), slots.leases()), (1, vec![job.lease]));
    slots.end([job.lease]);
    assert_eq!((slots.len(), slots.leases()), (0, vec![]));
    assert_eq!(slots.reserve().0, THREADS);
}

#[test]
fn attempts_that_are_left_are_told_apart_by_whether_they_have_ended() {
    let slots = Slots::new(THREADS);
    let (reserved, _) = slots.reserve();
    let jobs = [job(1, "a"), job(2, "a"), job(3, "a")];
    slots.begin(reserved, &jobs, Duration::MAX);
    let attempts = jobs.each_ref().map(|job| started(job, None));
    assert!(attempts.iter().all(|attempt| slots.start(attempt, Duration::ZERO)));
    assert_eq!(slots.left(), Left { running: 3, unrecorded: 0 });
    // The recorder has the outcome of the first one, and no room for that of the second.
    assert!(attempts[0].returns() && attempts[1].returns());
    slots.free([jobs[0].lease]);
    assert_eq!(slots.left(), Left { running: 1, unrecorded: 2 });
    slots.end([jobs[0].lease]);
    assert_eq!(slots.left(), Left { running: 1, unrecorded: 1 });
}

#[test]
fn a_handler_starts_only_while_its_lease_is_surely_held() {
    let slots = Slots::new(THREADS);
    let (reserved, _) = slots.reserve();
    let (kept, renewed) = (job(1, "a"), job(2, "a"));
    slots.begin(reserved, &[kept.clone(), renewed.clone()], Duration::from_secs(10));
    slots.renewed(&[renewed.lease], Duration::from_secs(20));
    let starts =
        |now| [&kept, &renewed].map(|job| slots.start(&started(job, None), Duration::from_secs(now)));
    assert_eq!([starts(9), starts(10), starts(20)], [[true, true], [false, true], [false, false]]);
    slots.end([renewed.lease]);
    assert_eq!(starts(9), [true, false], "it has ended");
    slots.stop(&kept.lease);
    assert_eq!(starts(9), [false, false], "it was told to stop");
}

#[test]
fn leases_are_unknown_only_after_a_lost_answer_and_a_pause() {
    let slots = Slots::new(THREADS);
    assert_eq!(slots.unknown_leases(Duration::MAX), None);
    slots.answer_lost(second(5), second(7), Duration::from_secs(17));
    // The time of day was set back by two seconds.
    slots.answer_lost(second(8), second(7), Duration::from_secs(18));
    let (reserved, _) = slots.reserve();
    assert_eq!(slots.unknown_leases(Duration::MAX), None, "some are being leased");
    let known = job(1, "a");
    slots.begin(reserved, std::slice::from_ref(&known), Duration::MAX);
    assert_eq!(slots.unknown_leases(Duration::from_secs(18)), None, "a commit may be under way");
    assert_eq!(
        slots.unknown_leases(Duration::from_secs(19)),
        Some((vec![known.lease], second(5)..=second(8)))
    );
    slots.all_known();
    assert_eq!(slots.unknown_leases(Duration::MAX), None);
}

#[test]
fn attempts_that_begin_after_the_stop_are_stopped_as_well() {
    let slots = Slots::new(THREADS);
    assert_eq!(slots.stop_all(), 0);
    let (reserved, _) = slots.reserve();
    let stops = slots.begin(reserved, &[job(1, "a")], Duration::MAX);
    assert!(stops[0].is_raised());
    assert_eq!(slots.len(), 1);
}
