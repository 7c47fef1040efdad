//! Readiness while the file can be written, but takes no webhook.

use std::cell::RefCell;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::SqliteHarness;
use crate::store::generate::within_limit;
use crate::store::inbox::Inbox;
use crate::store::readiness;

/// A fault of the store for webhooks alone, as a disk is on which only small writes fit.
const REFUSE: &str =
    "CREATE TRIGGER refuse BEFORE INSERT ON webhooks BEGIN SELECT RAISE(ABORT, 'for a test'); END";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_has_refused_every_webhook_for_some_seconds_is_not_ready_until_the_next_try_is_due() {
    within_limit(async {
        let inbox = Inbox::<SqliteHarness>::new().await;
        let path = inbox.harness().path();
        let shell = RefCell::new(SqliteConnection::establish(&path.to_string_lossy()).expect("connects"));
        let ask = |sql: &str| shell.borrow_mut().batch_execute(sql).expect("changes the trigger");
        readiness::follows_what_is_refused(&inbox, || ask(REFUSE), || ask("DROP TRIGGER refuse")).await;
    })
    .await;
}
