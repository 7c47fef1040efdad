//! Readiness while the file can be written, but takes no webhook.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::store::Submission;

use super::SqliteHarness;
use crate::store::generate::within_limit;
use crate::store::inbox::{Inbox, refused, seconds, webhook};
use crate::store::routes::default_job;

/// A fault of the store for webhooks alone, as a disk is on which only small writes fit.
const REFUSE: &str =
    "CREATE TRIGGER refuse BEFORE INSERT ON webhooks BEGIN SELECT RAISE(ABORT, 'for a test'); END";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_has_refused_every_webhook_for_some_seconds_is_not_ready_until_the_next_try_is_due() {
    within_limit(async {
        let inbox = Inbox::<SqliteHarness>::new().await;
        let path = inbox.harness().path();
        let mut shell = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
        for in_batch in [false, true] {
            // Stores a webhook by itself, or as one of two in a request.
            let submit = async |key: &str| {
                let only = webhook(&format!("{key} {in_batch}"));
                if in_batch {
                    let both = [only, webhook(&format!("{key} other"))];
                    let batch = both.map(|webhook| Submission { webhook, jobs: default_job() });
                    let stored = inbox.accept_batch(batch.into(), OnConflict::Reject).await;
                    stored.map(drop).map_err(|refused| refused.error)
                } else {
                    inbox.submit(only).await.map(drop)
                }
            };
            let is_refused =
                async |key: &str| assert_eq!(refused(submit(key).await), Reason::StoreUnavailable, "{key}");

            shell.batch_execute(REFUSE).expect("refuses");
            is_refused("1").await;
            inbox.probe().await.expect("one refusal is no sign of a fault");
            inbox.advance(seconds(3));
            is_refused("2").await;
            assert_eq!(refused(inbox.probe().await), Reason::StoreUnavailable);
            inbox.advance(seconds(10));
            inbox.probe().await.expect("is ready for a try");
            is_refused("3").await;
            assert_eq!(refused(inbox.probe().await), Reason::StoreUnavailable);

            shell.batch_execute("DROP TRIGGER refuse").expect("accepts");
            submit("4").await.expect("is stored");
            inbox.probe().await.expect("is ready");
        }
    })
    .await;
}
