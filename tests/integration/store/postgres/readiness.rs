//! Readiness while the database can be written, but takes no webhook.

use super::PostgresHarness;
use super::refused::refuse;
use crate::store::inbox::Inbox;
use crate::store::readiness;
use crate::support::postgres::Session;

#[tokio::test]
async fn a_store_that_has_refused_every_webhook_for_some_seconds_is_not_ready_until_the_next_try_is_due() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    refuse(&session, "webhooks", "true", "'53100'");
    let ask = |change: &str| {
        session.ask(&format!("ALTER TABLE webhooks {change} TRIGGER refuse")).expect("changes the trigger");
    };
    readiness::follows_what_is_refused(&inbox, || ask("ENABLE"), || ask("DISABLE")).await;
}
