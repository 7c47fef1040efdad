//! Readiness while the database can be written, but takes no webhook.

use hookbox::internals::domain::error::Reason;

use super::PostgresHarness;
use super::refused::refuse;
use crate::store::inbox::{Inbox, refused, seconds, webhook};
use crate::support::postgres::Session;

#[tokio::test]
async fn a_store_that_has_refused_every_webhook_for_some_seconds_is_not_ready_until_the_next_try_is_due() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    refuse(&session, "webhooks", "true", "'53100'");
    let is_refused = async |key: &str| {
        assert_eq!(refused(inbox.submit(webhook(key)).await), Reason::StoreUnavailable);
    };

    is_refused("1").await;
    inbox.probe().await.expect("one refusal is no sign of a fault");
    inbox.advance(seconds(3));
    is_refused("2").await;
    assert_eq!(refused(inbox.probe().await), Reason::StoreUnavailable);
    inbox.advance(seconds(10));
    inbox.probe().await.expect("is ready for a try");
    is_refused("3").await;
    assert_eq!(refused(inbox.probe().await), Reason::StoreUnavailable);

    session.ask("DROP TRIGGER refuse ON webhooks").expect("drops");
    inbox.accept_new("4").await;
    inbox.probe().await.expect("is ready");
}
