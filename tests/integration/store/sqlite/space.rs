//! Disk space: purging makes the file smaller.

use futures::future::join_all;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::retention::Retention;

use super::SqliteHarness;
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
