//! Disk space: purging makes the file smaller, in steps that are bounded.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use futures::future::join_all;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::retention::Retention;
use hookbox::internals::store::Purged;

use super::SqliteHarness;
use crate::store::behaviours::purging::{RETENTION, purge_all};
use crate::store::generate::within_limit;
use crate::store::inbox::{Inbox, seconds, webhook_with};

fn file_bytes(inbox: &Inbox<SqliteHarness>) -> u64 {
    std::fs::metadata(inbox.harness().path()).expect("is there").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_gets_smaller_after_a_large_purge() {
    within_limit(async {
        let mut inbox = Inbox::<SqliteHarness>::new().await;
        let payload = format!(r#""{}""#, "x".repeat(20_000));
        let keys = (0..400).map(|number| number.to_string()).collect::<Vec<_>>();
        for answer in join_all(keys.iter().map(|key| inbox.submit(webhook_with(key, &payload)))).await {
            answer.expect("accepted");
        }
        let jobs = inbox.claimed(1_000).await;
        join_all(jobs.iter().map(|job| inbox.end(job, Status::Completed))).await;
        inbox.close_and_reopen().await;
        let full = file_bytes(&inbox);
        assert!(full > 8_000_000, "{full} bytes");

        inbox.advance(seconds(10));
        let kept = Retention {
            completed: seconds(10),
            dead_lettered: seconds(10),
            keys: seconds(1_000),
            quarantined: seconds(10),
        };
        while inbox.purge(kept).await.expect("purges").more {}
        inbox.close_and_reopen().await;
        let purged = file_bytes(&inbox);
        assert!(purged < full / 2, "{full} bytes before, {purged} after");
        assert_eq!(inbox.counts().await.of(Status::Completed), 400);
    })
    .await;
}

#[tokio::test]
async fn a_purge_removes_a_bounded_number_of_attempts() {
    // Gives two webhooks more attempts than one step removes. Real attempts would take too long.
    const MORE_ATTEMPTS: &str = "PRAGMA busy_timeout = 5000;
        WITH RECURSIVE more (number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM more WHERE number < 10000)
        INSERT INTO attempts (webhook, queue, number, run, outcome, started_at, finished_at, worker)
        SELECT webhook, queue, number, 1, 1, 0, 0, 'process 1' FROM jobs, more";
    let inbox = Inbox::<SqliteHarness>::new().await;
    for key in ["1", "2", "3"] {
        inbox.ended_webhook(key, Status::Completed).await;
    }
    inbox.advance(RETENTION.completed);
    assert_eq!(purge_all(&inbox).await.payloads, 3);
    let path = inbox.harness().path();
    let mut shell = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
    shell.batch_execute(MORE_ATTEMPTS).expect("adds attempts");

    inbox.advance(RETENTION.keys - RETENTION.completed);
    for _ in 0..3 {
        let purged = inbox.purge(RETENTION).await.expect("purges");
        assert_eq!(purged, Purged { webhooks: 1, more: true, ..Purged::default() });
    }
    assert_eq!(purge_all(&inbox).await, Purged::default());
}
