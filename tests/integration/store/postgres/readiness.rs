//! Readiness while the database can be written, but takes no webhook.

use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::store::Submission;

use super::PostgresHarness;
use super::refused::refuse;
use crate::store::inbox::{Inbox, refused, seconds, webhook};
use crate::store::routes::default_job;
use crate::support::postgres::Session;

#[tokio::test]
async fn a_store_that_has_refused_every_webhook_for_some_seconds_is_not_ready_until_the_next_try_is_due() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    refuse(&session, "webhooks", "true", "'53100'");
    for in_batch in [false, true] {
        // Stores a webhook by itself, or as the only one of a request with several.
        let submit = async |key: &str| {
            let webhook = webhook(&format!("{key} {in_batch}"));
            if in_batch {
                let batch = vec![Submission { webhook, jobs: default_job() }];
                let stored = inbox.accept_batch(batch, OnConflict::Reject).await;
                stored.map(drop).map_err(|refused| refused.error)
            } else {
                inbox.submit(webhook).await.map(drop)
            }
        };
        let is_refused =
            async |key: &str| assert_eq!(refused(submit(key).await), Reason::StoreUnavailable, "{key}");

        session.ask("ALTER TABLE webhooks ENABLE TRIGGER refuse").expect("refuses");
        is_refused("1").await;
        inbox.probe().await.expect("one refusal is no sign of a fault");
        inbox.advance(seconds(3));
        is_refused("2").await;
        assert_eq!(refused(inbox.probe().await), Reason::StoreUnavailable);
        inbox.advance(seconds(10));
        inbox.probe().await.expect("is ready for a try");
        is_refused("3").await;
        assert_eq!(refused(inbox.probe().await), Reason::StoreUnavailable);

        session.ask("ALTER TABLE webhooks DISABLE TRIGGER refuse").expect("accepts");
        submit("4").await.expect("is stored");
        inbox.probe().await.expect("is ready");
    }
}
