//! The clock is set back while more jobs wait than one transaction looks at.

use super::SqliteHarness;
use crate::store::generate::within_limit;
use crate::store::inbox::{Inbox, keys, seconds};
use crate::store::routes::{job, ordered, policy};

const WEBHOOKS: usize = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_jobs_that_were_due_before_the_clock_was_set_back_are_due_after_it() {
    within_limit(async {
        let inbox = Inbox::<SqliteHarness>::with_routes([policy("plain"), policy("ordered")]).await;
        inbox.accept_for("first", [ordered("ordered", "x")]).await;
        inbox.accept_many("k", WEBHOOKS, &[job("plain"), ordered("ordered", "x")]).await;
        inbox.go_back(seconds(3_600));
        inbox.claim_nothing().await;
        inbox.follow_clock().await.expect("follows");
        let claimed = inbox.claimed(2 * WEBHOOKS).await;
        let (lane, plain) = claimed.into_iter().partition::<Vec<_>, _>(|job| job.order.is_some());
        assert_eq!((keys(&lane), plain.len()), (vec!["first"], WEBHOOKS));
    })
    .await;
}
