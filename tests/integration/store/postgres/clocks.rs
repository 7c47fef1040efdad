//! Clocks that differ, and clocks that are set. Jobs are due, and leases expire, by the clock of the database. If that
//! clock is set, nothing waits for an old time, and no lease is taken over that is held.

use std::sync::Arc;
use std::time::Duration;

use hookbox::internals::domain::clock::{Clock as _, ManualClock};
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::postgres::PostgresStore;
use hookbox::internals::store::{Claim, Finish, JobQueue as _, Store, Wanted};
use jiff::SignedDuration;

use super::EmptiedPostgres;
use super::harness::open;
use crate::store::harness::{Harness as _, Options};
use crate::store::inbox::{Inbox, LEASE, keys, milliseconds, refused, seconds, sorted_keys};
use crate::store::routes::{in_force, job, ordered, policy, pulled, route};
use crate::support::postgres::Session;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const AN_HOUR: Duration = Duration::from_secs(3_600);

/// How long after a step of the clock the rows are gone over again.
const GONE_OVER_AGAIN: Duration = Duration::from_secs(15);

/// Lets time pass. The clock of the process is ahead of that of the database.
fn pass(inbox: &Inbox<EmptiedPostgres>, ahead: SignedDuration, by: Duration) {
    inbox.clock.advance(by.try_into().expect("in range"));
    inbox.harness().set_time(inbox.now() - ahead);
}

/// Lets a process read the clock of the database twice, a second apart: a step counts once it is confirmed.
async fn notices(inbox: &Inbox<EmptiedPostgres>, store: &dyn Store) {
    assert_eq!(store.take_over_expired(Vec::new()).await.expect("looks"), 0);
    inbox.advance(seconds(1));
    assert_eq!(store.take_over_expired(Vec::new()).await.expect("looks"), 0);
}

/// Opens the store of another process, named `process-2`.
async fn another(inbox: &Inbox<EmptiedPostgres>, clock: Arc<ManualClock>) -> PostgresStore {
    let options = Options { max_backlog: 1_000, policies: in_force([policy("default")]), seed: 2 };
    open(&inbox.harness().url(), &options, clock).await.expect("opens")
}

#[tokio::test]
async fn a_webhook_accepted_by_a_process_whose_clock_was_ahead_is_due_at_once() {
    for ahead in [HOUR, DAY] {
        let inbox = Inbox::<EmptiedPostgres>::new().await;
        let start = inbox.now();
        inbox.clock.set_by(ahead);
        inbox.accept_new("k").await;
        inbox.clock.set_by(-ahead);
        assert_eq!(inbox.claim_one().await.available_at, start);
    }
}

#[tokio::test]
async fn a_retry_keeps_its_delay_whatever_the_clock_of_its_process_shows() {
    for ahead in [HOUR, -HOUR] {
        let inbox = Inbox::<EmptiedPostgres>::new().await;
        inbox.clock.set_by(ahead);
        inbox.accept_new("k").await;
        let job = inbox.claim_one().await;
        inbox.fail(&job, seconds(10)).await;
        let due = inbox.claims(1).await.next;
        assert_eq!(due, Some(inbox.now() + seconds(10)), "the dispatcher goes by its own clock");
        inbox.clock.set_by(-ahead);
        inbox.advance(seconds(10) - milliseconds(1));
        inbox.claim_nothing().await;
        inbox.advance(milliseconds(1));
        assert_eq!(inbox.claim_one().await.attempt, 2);
    }
}

#[tokio::test]
async fn a_process_whose_clock_is_a_day_off_runs_jobs_of_others_at_once() {
    for ahead in [DAY, -DAY] {
        let inbox = Inbox::<EmptiedPostgres>::new().await;
        inbox.accept_new("k").await;
        let clock = Arc::new(ManualClock::new(inbox.now() + ahead));
        let other = another(&inbox, Arc::clone(&clock)).await;
        let claim = Claim { worker: "process-2".into(), ..inbox.claim_for(1) };
        let [job] = <[_; 1]>::try_from(other.claim(claim).await.expect("claims").jobs).expect("one job");

        let ended = clock.now();
        let finish = Finish {
            started_at: ended - seconds(2),
            finished_at: ended,
            available_at: ended + seconds(10),
            ..inbox.ended(&job, Status::Retrying)
        };
        assert_eq!(other.finish("process-2", vec![finish]).await.expect("ends"), [true]);
        assert_eq!(inbox.claims(1).await.next, Some(inbox.now() + seconds(10)));
        let (_, detail) = inbox.job_of(job.lease.job.webhook, "default").await;
        let attempt = &detail.attempts[0];
        assert_eq!((attempt.started_at, attempt.finished_at), (inbox.now() - seconds(2), inbox.now()));
        other.close().await;
    }
}

#[tokio::test]
async fn the_oldest_due_job_is_as_old_by_any_clock() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    inbox.accept_new("k").await;
    inbox.clock.set_by(HOUR);
    pass(&inbox, HOUR, seconds(5));
    let stats = inbox.stats().await.expect("counts");
    assert_eq!(stats.queues[0].oldest_due, Some(inbox.now() - seconds(5)));
}

#[tokio::test]
async fn jobs_do_not_wait_for_a_clock_of_the_database_that_was_set_back() {
    let inbox = Inbox::<EmptiedPostgres>::with_routes(["default", "orders"].map(policy)).await;
    inbox.accept_new("retried").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(10)).await;
    inbox.accept_new("new").await;
    for key in ["first", "second"] {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    inbox.go_back(AN_HOUR);
    notices(&inbox, inbox.shared().as_ref()).await;

    let claims = inbox.claims(10).await;
    assert_eq!(sorted_keys(&claims.jobs), ["first", "new"]);
    assert_eq!(claims.next, Some(inbox.now() + seconds(10)), "the retry keeps its delay");
    for job in &claims.jobs {
        inbox.end(job, Status::Completed).await;
    }
    assert_eq!(keys(&inbox.claimed(10).await), ["second"]);
    inbox.advance(seconds(10));
    assert_eq!(keys(&inbox.claimed(10).await), ["retried"]);
}

#[tokio::test]
async fn a_lane_does_not_wait_for_a_clock_of_the_database_that_was_set_back() {
    let inbox = Inbox::<EmptiedPostgres>::with_routes([policy("orders")]).await;
    for key in ["first", "second"] {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    inbox.advance(2 * AN_HOUR);
    let first = inbox.claim_one().await;
    inbox.end(&first, Status::Completed).await;
    // The lane was freed by the old time, and the second job was accepted before the new one.
    inbox.go_back(AN_HOUR);
    notices(&inbox, inbox.shared().as_ref()).await;
    assert_eq!(keys(&inbox.claimed(10).await), ["second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_locked_when_the_clock_was_set_back_does_not_hold_up_the_others() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    let locked = inbox.accept_new("locked").await.id;
    inbox.accept_new("free").await;
    inbox.go_back(AN_HOUR);
    let session = Session::open(&inbox.harness().url()).expect("connects");
    session.ask(&format!("BEGIN; SELECT 1 FROM jobs WHERE webhook = '{locked}' FOR UPDATE")).expect("locks");
    notices(&inbox, inbox.shared().as_ref()).await;
    assert_eq!(keys(&inbox.claimed(10).await), ["free"]);

    session.ask("COMMIT").expect("unlocks");
    inbox.advance(GONE_OVER_AGAIN);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    assert_eq!(keys(&inbox.claimed(10).await), ["locked"]);
}

#[tokio::test]
async fn two_processes_that_notice_the_same_step_move_a_retry_once() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    let other = another(&inbox, Arc::clone(&inbox.clock)).await;
    inbox.accept_new("k").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(10)).await;
    inbox.go_back(AN_HOUR);
    notices(&inbox, inbox.shared().as_ref()).await;
    notices(&inbox, &other).await;
    assert_eq!(inbox.claims(1).await.next, Some(inbox.now() + seconds(9)), "a second has passed");
    other.close().await;
}

#[tokio::test]
async fn after_a_restart_no_job_waits_for_a_clock_of_the_database_that_was_set_back() {
    let mut inbox = Inbox::<EmptiedPostgres>::new().await;
    inbox.accept_new("k").await;
    inbox.go_back(AN_HOUR);
    inbox.close_and_reopen().await;
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    assert_eq!(inbox.claim_one().await.available_at, inbox.now());
}

#[tokio::test]
async fn a_lease_of_a_process_that_is_gone_does_not_last_longer_because_the_clock_was_set_back() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    inbox.accept_new("k").await;
    inbox.claim_one().await;
    inbox.go_back(AN_HOUR);
    notices(&inbox, inbox.shared().as_ref()).await;
    inbox.advance(LEASE - milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    inbox.advance(milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
}

#[tokio::test]
async fn a_lease_is_not_taken_over_because_the_clock_of_the_database_went_forward() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    inbox.accept_new("k").await;
    let job = inbox.claim_one().await;
    pass(&inbox, -HOUR, Duration::ZERO);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0, "the step is not confirmed");
    pass(&inbox, -HOUR, seconds(1));
    let refusal = refused(inbox.take_over_expired(Vec::new()).await);
    assert_eq!(refusal, Reason::StoreUnavailable, "every process has to renew its leases first");

    assert_eq!(inbox.renew(vec![job.lease], LEASE).await.expect("renews"), []);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    pass(&inbox, -HOUR, LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
}

#[tokio::test]
async fn two_processes_that_notice_the_same_step_forward_move_a_pulled_lease_once() {
    let inbox = Inbox::<EmptiedPostgres>::with_routes([pulled("pulled")]).await;
    let other = another(&inbox, Arc::clone(&inbox.clock)).await;
    inbox.accept_for("k", [job("pulled")]).await;
    let wanted = Wanted::Pulled([route("pulled")].into());
    let claim = Claim { worker: "puller".into(), wanted, lease: 4 * AN_HOUR, ..inbox.claim_for(1) };
    assert_eq!(inbox.claim(claim).await.expect("claims").jobs.len(), 1);
    // The lease has been held for longer than either step, so that its row does not tell whether it has moved.
    inbox.advance(2 * AN_HOUR);
    let one = inbox.shared();
    let both: [&dyn Store; 2] = [one.as_ref(), &other];
    for stores in [both, [both[1], both[0]]] {
        inbox.set_clocks_by(HOUR);
        for store in stores {
            assert_eq!(store.take_over_expired(Vec::new()).await.expect("looks"), 0);
        }
        inbox.advance(seconds(1));
        for store in stores {
            assert_eq!(refused(store.take_over_expired(Vec::new()).await), Reason::StoreUnavailable);
        }
        // Each process goes by the new time from the next reading on.
        inbox.advance(seconds(1));
        for store in stores {
            assert_eq!(store.take_over_expired(Vec::new()).await.expect("looks"), 0);
        }
    }

    inbox.advance(2 * AN_HOUR - seconds(4) - milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    inbox.advance(milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    other.close().await;
}

#[tokio::test]
async fn a_pulled_lease_that_is_extended_before_a_step_back_is_noticed_keeps_its_end() {
    let inbox = Inbox::<EmptiedPostgres>::with_routes([pulled("pulled")]).await;
    inbox.accept_for("k", [job("pulled")]).await;
    let wanted = Wanted::Pulled([route("pulled")].into());
    let claim = Claim { worker: "puller".into(), wanted, ..inbox.claim_for(1) };
    let claimed = inbox.claim(claim).await.expect("claims").jobs;
    inbox.go_back(seconds(3_600));
    let extended = vec![(claimed[0].lease, LEASE)];
    assert_eq!(inbox.shared().renew("puller", extended).await.expect("extends"), []);
    notices(&inbox, inbox.shared().as_ref()).await;

    inbox.advance(LEASE - seconds(1) - milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    inbox.advance(milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
}
