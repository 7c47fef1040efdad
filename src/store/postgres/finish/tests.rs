//! How outcomes are put into batches, and by which clock they are recorded.

use super::*;
use crate::domain::attempt::{Lease, Outcome};
use crate::domain::id::WebhookId;
use crate::domain::job::{JobId, QueueId, Status};

/// An outcome of the job with this number, with an error of `error` bytes.
fn finish(job: u16, token: u64, error: usize) -> Finish {
    let mut id = [0; 16];
    id[14..].copy_from_slice(&(job / 2).to_be_bytes());
    let job = JobId { webhook: WebhookId::from_bytes(id), queue: QueueId(u32::from(job % 2)) };
    Finish {
        lease: Lease { job, token },
        order: None,
        attempt: 1,
        outcome: Outcome::Failed,
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: Timestamp::UNIX_EPOCH,
        error: Some("e".repeat(error)),
        result: None,
        delivery: None,
        health: None,
        next: Status::DeadLettered,
        available_at: Timestamp::UNIX_EPOCH,
        counts: true,
        blocks: false,
    }
}

/// The size of each batch.
fn sizes(finishes: impl IntoIterator<Item = Finish>) -> Vec<usize> {
    let finishes = finishes.into_iter().collect::<Vec<_>>();
    let batches = batches(&finishes);
    for batch in &batches {
        let job = |at: &usize| finishes[*at].lease.job;
        assert!(batch.is_sorted_by(|one, next| job(one) < job(next)), "each job once");
    }
    batches.iter().map(Vec::len).collect()
}

#[test]
fn a_batch_has_a_limited_number_of_outcomes() {
    let most = u16::try_from(BATCH_OUTCOMES).unwrap_or(u16::MAX);
    assert_eq!(sizes((0..most + 1).rev().map(|job| finish(job, 1, 0))), [BATCH_OUTCOMES, 1]);
}

#[test]
fn a_batch_has_a_limited_number_of_bytes_or_one_outcome() {
    assert_eq!(sizes((0..4).map(|job| finish(job, 1, BATCH_BYTES / 2))), [2, 2]);
    assert_eq!(sizes((0..2).map(|job| finish(job, 1, BATCH_BYTES + 1))), [1, 1]);
    let method = "x".repeat(BATCH_BYTES / 2);
    let delivery = Some(Delivery { method, ..Delivery::default() }.into());
    let delivered = |job| Finish { delivery: delivery.clone(), ..finish(job, 1, 0) };
    assert_eq!(sizes((0..4).map(delivered)), [2, 2]);
}

#[test]
fn a_retry_keeps_its_delay_by_the_time_of_the_database() {
    let at = |second| Timestamp::from_second(second).expect("in range");
    let times = |next| {
        let mut finish = Finish {
            started_at: at(1_000),
            finished_at: at(1_003),
            next,
            available_at: at(1_010),
            ..finish(1, 1, 0)
        };
        go_by_database(&mut finish, at(50));
        (finish.started_at, finish.finished_at, finish.available_at)
    };
    assert_eq!(times(Status::Retrying), (at(47), at(50), at(57)));
    assert_eq!(times(Status::Completed), (at(47), at(50), at(1_010)), "it was due then");
}

#[test]
fn two_outcomes_of_one_job_are_recorded_one_after_the_other() {
    assert_eq!(sizes([finish(1, 2, 0), finish(2, 1, 0), finish(1, 1, 0), finish(1, 3, 0)]), [2, 1, 1]);
}
