//! How many connections a process opens.

use hookbox::internals::domain::job::Status;

use super::EmptiedPostgres;
use crate::store::inbox::Inbox;
use crate::support::client::eventually;
use crate::support::postgres::Session;

/// Counts the connections of the process.
const OPEN: &str = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'hookbox %'";

/// One to listen, one to notify, one that accepting, claiming, recording and reading take in turn, and two more if
/// tasks of the upkeep coincide with them.
const MOST: usize = 5;

#[tokio::test]
async fn purposes_that_take_turns_share_a_connection() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    inbox.accept_new("k").await;
    inbox.end(&inbox.claim_one().await, Status::Completed).await;
    assert_eq!(inbox.counts().await.of(Status::Completed), 1);

    let session = Session::open(&inbox.harness().url()).expect("connects");
    let told = format!("{OPEN} AND query LIKE '%pg_notify%'");
    eventually("other processes are notified", async || {
        (session.ask(&told).expect("counts") != ["0"]).then_some(())
    })
    .await;
    let open = session.ask(OPEN).expect("counts").concat().parse::<usize>().expect("a number");
    assert!(open <= MOST, "{open} connections");
}
