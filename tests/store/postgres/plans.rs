//! The plans of statements do not turn bad, whatever PostgreSQL believes of the tables' sizes.

use std::time::Duration;

use hookbox::domain::job::Status;
use hookbox::store::Finish;
use jiff::Timestamp;

use super::PostgresHarness;
use crate::inbox::{Inbox, LEASE, seconds, webhook};
use crate::support::Session;

const JOBS: usize = 1_000;
const AT_ONCE: usize = 50;

/// Entries of the key's index that may be read for a job, from its acceptance to its end.
const READS: i64 = 10;

#[tokio::test]
async fn a_table_that_was_vacuumed_while_it_was_empty_is_not_read_from_end_to_end() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    let ask = |sql: &str| session.ask(sql).expect("asks");
    // Now PostgreSQL believes that there is at most one row, and plans accordingly.
    inbox.accept_new("before").await;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    for table in ["jobs", "finished_jobs", "webhooks", "attempts"] {
        ask(&format!("ALTER TABLE {table} SET (autovacuum_enabled = false)"));
    }
    ask("VACUUM (ANALYZE, TRUNCATE false) jobs");

    let accepting = (0..JOBS).map(|number| inbox.accept(webhook(&format!("k{number}"))));
    for accepted in futures::future::join_all(accepting).await {
        accepted.expect("accepted");
    }
    for turn in 0..JOBS / AT_ONCE {
        let jobs = inbox.claim(AT_ONCE, LEASE).await.expect("claims").jobs;
        assert_eq!(jobs.len(), AT_ONCE);
        let leases = jobs.iter().map(|job| job.lease).collect::<Vec<_>>();
        assert!(inbox.renew(Vec::clone(&leases), LEASE).await.expect("renews").is_empty());
        assert_eq!(inbox.take_over_expired(Vec::clone(&leases)).await.expect("looks"), 0);
        let always = Timestamp::UNIX_EPOCH..=inbox.now();
        assert_eq!(inbox.give_back_unheld(leases, always).await.expect("looks"), 0);
        let is_last = turn % 2 == 0;
        let ending = jobs.iter().map(|job| {
            let next = if is_last { Status::Completed } else { Status::Retrying };
            let available_at = inbox.now() + seconds(3_600);
            inbox.finish(Finish { available_at, ..inbox.ended(job, next) })
        });
        for ended in futures::future::join_all(ending).await {
            assert!(ended.expect("ends"));
        }
    }
    // A connection tells what it has read when it ends.
    inbox.close().await;
    let connections = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND application_name LIKE 'hookbox %'";
    while ask(connections) != ["0"] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reads = ask("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'jobs_pkey'");
    let reads = reads[0].parse::<i64>().expect("a number");
    assert!(reads > JOBS as i64, "the index is used");
    assert!(reads < READS * JOBS as i64, "{reads} entries were read for {JOBS} jobs");
}
