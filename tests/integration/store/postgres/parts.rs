//! A fault between the statements of one call: what the earlier ones have committed is not lost.

use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::policy::Policy;
use hookbox::internals::store::{Claim, Finish, Wanted};

use super::EmptiedPostgres;
use super::purging::done_or_waiting;
use crate::store::inbox::{Inbox, milliseconds, seconds};
use crate::store::routes::{concurrent, job, pulled, route};
use crate::support::postgres::Session;

/// More than half of what fits into one statement.
const ERROR_BYTES: usize = 600 * 1024;

/// Closes the connections whose statements wait for a lock.
const CLOSE_WAITING: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                             WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_that_were_recorded_before_a_fault_are_recognised_when_all_are_sent_again() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    inbox.accept_new("first").await;
    let second = inbox.accept_new("second").await.id;
    let jobs = inbox.claimed(2).await;
    let error = Some("e".repeat(ERROR_BYTES));
    let ended = jobs.iter().map(|job| inbox.ended(job, Status::DeadLettered));
    let ends = ended.map(|ended| Finish { error: error.clone(), ..ended }).collect::<Vec<_>>();

    let session = Session::open(&inbox.harness().url()).expect("connects");
    session.ask(&format!("BEGIN; SELECT 1 FROM jobs WHERE webhook = '{second}' FOR UPDATE")).expect("locks");
    let (store, sent) = (inbox.shared(), ends.clone());
    let finishing = tokio::spawn(async move { store.finish("process 1", sent).await });
    done_or_waiting(&session, &finishing, 1).await;
    session.ask(CLOSE_WAITING).expect("closes");
    finishing.await.expect("ran").expect_err("the second statement has failed");
    session.ask("COMMIT").expect("unlocks");

    let recorded = inbox.finish("process 1", ends).await.expect("finishes");
    assert_eq!(recorded, [true, true], "no lease was lost");
    assert_eq!(inbox.counts().await.of(Status::DeadLettered), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_were_leased_for_a_worker_elsewhere_before_a_fault_are_given_back() {
    let limited = Policy { concurrency: concurrent("limited", 1).concurrency, ..pulled("limited") };
    let inbox = Inbox::<EmptiedPostgres>::with_routes([pulled("free"), limited]).await;
    for name in ["free", "limited"] {
        inbox.accept_for(name, [job(name)]).await;
    }
    let wanted = Wanted::Pulled(["free", "limited"].map(route).into());
    let claim = Claim { worker: "puller-1".into(), wanted, ..inbox.claim_for(10) };

    let session = Session::open(&inbox.harness().url()).expect("connects");
    // Of the claim, only the statements for routes with a limit need it.
    session.ask("BEGIN; LOCK TABLE paces IN ACCESS EXCLUSIVE MODE").expect("locks");
    let (store, first) = (inbox.shared(), claim.clone());
    let claiming = tokio::spawn(async move { store.claim(first).await });
    let failing = async {
        while inbox.counts().await.of(Status::Processing) == 0 {
            tokio::time::sleep(milliseconds(5)).await;
        }
        // Other statements of the process may wait for the table, too.
        while !claiming.is_finished() {
            session.ask(CLOSE_WAITING).expect("closes");
            tokio::time::sleep(milliseconds(5)).await;
        }
    };
    tokio::time::timeout(seconds(30), failing)
        .await
        .expect("the free one is leased, and the other claim fails");
    claiming.await.expect("ran").expect_err("the other statements have failed");
    session.ask("COMMIT").expect("unlocks");

    let mut jobs = inbox.claim(claim).await.expect("claims").jobs;
    jobs.sort_by(|one, other| one.route.cmp(&other.route));
    let attempts = jobs.iter().map(|job| (job.route.as_str(), job.attempt)).collect::<Vec<_>>();
    assert_eq!(attempts, [("free", 1), ("limited", 1)], "no lease is left");
}
