//! Statements use their indexes even if PostgreSQL's statistics about the sizes of the tables are wrong.

use std::time::Duration;

use hookbox::internals::domain::attempt::AttemptWindow;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::route::NewJob;
use hookbox::internals::domain::webhook::WebhookName;
use hookbox::internals::store::{Finish, ListQuery};
use jiff::Timestamp;

use super::PostgresHarness;
use crate::store::inbox::{Inbox, LEASE, key_of, milliseconds, seconds, source, webhook};
use crate::store::routes::{default_job, ordered, policy};
use crate::support::postgres::Session;

const JOBS: usize = 1_000;
const AT_ONCE: usize = 50;

/// The maximum number of index entries read per job, from its acceptance to its end. Each change leaves a dead entry, which
/// is read until it is vacuumed; a complete scan for each claim would read hundreds.
const READS: i64 = 20;

#[tokio::test]
async fn tables_that_were_vacuumed_while_empty_are_not_scanned_completely() {
    let reads = reads_of_lives(|_| default_job(), &["jobs_pkey"]).await;
    assert!(reads[0] > JOBS as i64, "the index is used");
    assert!(reads[0] < READS * JOBS as i64, "{reads:?} entries were read for {JOBS} jobs");
}

#[tokio::test]
async fn lanes_are_not_scanned_completely() {
    // Enough lanes for four claims, so that each lane is read several times.
    let job = |number: usize| vec![ordered("default", &(number % (4 * AT_ONCE)).to_string())];
    let reads = reads_of_lives(job, &["jobs_pkey", "lanes_pkey", "jobs_in_lane"]).await;
    assert!(reads.iter().all(|reads| *reads > JOBS as i64), "the indexes are used");
    // Every change of a lane leaves a dead index entry, which is read until it is vacuumed.
    let most = 3 * READS * JOBS as i64;
    assert!(reads.iter().all(|reads| *reads < most), "{reads:?} entries were read for {JOBS} jobs");
}

#[tokio::test]
async fn keys_and_quarantined_webhooks_are_found_by_their_indexes() {
    const WEBHOOKS: usize = 100;
    let inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    for number in 0..WEBHOOKS {
        let key = number.to_string();
        inbox.quarantine(vec![webhook(&key)]).await.expect("is stored").expect("has room");
        inbox.accept_new(&key).await;
        assert!(inbox.submit(webhook(&key)).await.expect("is answered").duplicate);
        let name = WebhookName::Key(source("default"), key_of(&key));
        assert!(!inbox.status(name).await.expect("is found").is_quarantined);
    }
    let reads = reads_at_end(&inbox, &session, &["webhooks_by_key", "webhooks_quarantined"]).await;
    let many = WEBHOOKS as i64;
    // The insert of a duplicate, its look-up, and the look-up of the status read an entry each.
    assert!((3 * many..READS * many).contains(&reads[0]), "{reads:?} entries were read for {many} keys");
    // Each webhook counts those before it.
    let counted = many * (many - 1) / 2;
    assert!((counted..counted + many).contains(&reads[1]), "{reads:?} entries were read to count {counted}");
}

#[tokio::test]
async fn lists_by_status_and_by_key_read_what_they_list() {
    const OTHERS: usize = 500;
    const INDEXES: [&str; 4] =
        ["finished_jobs_by_status", "webhooks_by_key", "webhooks_quarantined", "webhooks_pkey"];
    let mut inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    let dead = inbox.ended_webhook("dead", Status::DeadLettered).await;
    // Now the planner assumes that the tables have at most one row.
    for table in ["webhooks", "finished_jobs"] {
        session.ask(&format!("ALTER TABLE {table} SET (autovacuum_enabled = false)")).expect("asks");
    }
    session.ask("VACUUM (ANALYZE, TRUNCATE false) webhooks, finished_jobs").expect("asks");
    inbox.accept_many("other", OTHERS, &[]).await;
    let before = reads_at_end(&inbox, &session, &INDEXES).await;

    inbox.close_and_reopen().await;
    let by_status = ListQuery { statuses: [Status::DeadLettered].into(), ..ListQuery::default() };
    let by_key = ListQuery { idempotency_key: Some(key_of("dead")), ..ListQuery::default() };
    for query in [by_status, by_key] {
        let listed = inbox.listed(&ListQuery { limit: 10, ..query }).await;
        assert_eq!(listed, std::slice::from_ref(&dead));
    }
    let after = reads_at_end(&inbox, &session, &INDEXES).await;
    for ((index, before), after) in INDEXES.iter().zip(before).zip(after) {
        assert!(after - before < 50, "{} entries of {index} were read", after - before);
    }
}

#[tokio::test]
async fn attempts_that_are_not_asked_for_are_not_read() {
    const INDEX: [&str; 1] = ["attempts_pkey"];
    let mut inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    let id = inbox.ended_webhook("k", Status::DeadLettered).await.id;
    let ask = |sql: &str| session.ask(sql).expect("asks");
    // As if it had been retried by hand again and again. The planner assumes that there are few attempts.
    ask("ALTER TABLE attempts SET (autovacuum_enabled = false)");
    ask("INSERT INTO attempts (webhook, queue, number, run, outcome, started_at, finished_at, worker)
         SELECT webhook, queue, number, number, 1, completed_at, completed_at, 'process 1'
         FROM finished_jobs, generate_series(1, 20000) AS number");
    ask("UPDATE finished_jobs SET attempts = 20001");
    let before = reads_at_end(&inbox, &session, &INDEX).await;

    inbox.close_and_reopen().await;
    for (skip, numbers) in [(0, 19_972..=20_001), (10_000, 9_972..=10_001), (20_000, 1..=1)] {
        let read = inbox.webhook_with(id, AttemptWindow { skip, limit: 30 }).await.expect("is kept");
        let read = read.jobs[0].attempts.iter().map(|attempt| attempt.number);
        assert_eq!(read.collect::<Vec<_>>(), numbers.collect::<Vec<u32>>(), "after {skip}");
    }
    let after = reads_at_end(&inbox, &session, &INDEX).await;
    assert!(after[0] - before[0] < 200, "{} entries were read", after[0] - before[0]);
}

/// Counts the entries of these indexes that are read while jobs are accepted, claimed, renewed and ended.
async fn reads_of_lives(jobs: impl Fn(usize) -> Vec<NewJob>, indexes: &[&str]) -> Vec<i64> {
    let inbox = Inbox::<PostgresHarness>::with_routes([policy("default")]).await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    let ask = |sql: &str| session.ask(sql).expect("asks");
    // Now the planner assumes that the tables have at most one row.
    inbox.accept_for("before", jobs(0)).await;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    for table in ["jobs", "finished_jobs", "webhooks", "attempts", "lanes", "status_counts", "queues"] {
        ask(&format!("ALTER TABLE {table} SET (autovacuum_enabled = false)"));
    }
    ask("VACUUM (ANALYZE, TRUNCATE false) jobs, lanes, status_counts, queues");

    let accepting = (0..JOBS).map(|number| inbox.accept(webhook(&format!("k{number}")), jobs(number)));
    for accepted in futures::future::join_all(accepting).await {
        accepted.expect("accepted");
    }
    for turn in 0..JOBS / AT_ONCE {
        let jobs = inbox.claimed(AT_ONCE).await;
        assert_eq!(jobs.len(), AT_ONCE);
        let leases = jobs.iter().map(|job| job.lease).collect::<Vec<_>>();
        assert!(inbox.renew(leases.clone(), LEASE).await.expect("renews").is_empty());
        assert_eq!(inbox.leased("process 1", leases.clone()).await.expect("looks").len(), AT_ONCE);
        assert_eq!(inbox.take_over_expired(leases.clone()).await.expect("looks"), 0);
        let always = Timestamp::UNIX_EPOCH..=inbox.now();
        assert_eq!(inbox.give_back_unheld("process 1", leases, always).await.expect("looks"), 0);
        // Lets the lanes take turns.
        inbox.advance(milliseconds(1));
        let is_last = turn % 2 == 0 || jobs[0].order.is_some();
        let next = if is_last { Status::Completed } else { Status::Retrying };
        let available_at = inbox.now() + seconds(3_600);
        let ended = jobs.iter().map(|job| Finish { available_at, ..inbox.ended(job, next) }).collect();
        let held = inbox.finish("process 1", ended).await.expect("ends");
        assert!(held.into_iter().all(|held| held));
    }
    reads_at_end(&inbox, &session, indexes).await
}

/// Closes the store, and counts the entries of these indexes that were read.
async fn reads_at_end(inbox: &Inbox<PostgresHarness>, session: &Session, indexes: &[&str]) -> Vec<i64> {
    let ask = |sql: &str| session.ask(sql).expect("asks");
    // A connection reports its statistics when it closes.
    inbox.close().await;
    let connections = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND application_name LIKE 'hookbox %'";
    let closed = async {
        while ask(connections) != ["0"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(seconds(60), closed).await.expect("its connections close");
    let reads = |index: &&str| {
        let reads = format!("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = '{index}'");
        ask(&reads)[0].parse().expect("a number")
    };
    indexes.iter().map(reads).collect()
}
