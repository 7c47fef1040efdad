//! After a failover to a standby that lagged, a claim can be undone. The next claim of the job, by another process,
//! then has the same lease token.

use hookbox::internals::domain::job::Status;

use super::EmptiedPostgres;
use crate::store::inbox::{Inbox, LEASE};
use crate::store::routes::{ordered, policy};
use crate::support::postgres::Session;

#[tokio::test]
async fn a_lease_of_another_process_with_the_same_token_is_not_held() {
    let inbox = Inbox::<EmptiedPostgres>::with_routes(["default", "orders"].map(policy)).await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    let claimed_by =
        |worker: &str| session.ask(&format!("UPDATE jobs SET worker = '{worker}'")).expect("sets");
    inbox.accept_new("k").await;
    inbox.accept_for("ordered", [ordered("orders", "x")]).await;
    for job in inbox.claimed(2).await {
        let id = job.lease.job.webhook;
        claimed_by("process 2");
        let before = inbox.detail_of(id).await;
        for next in [Status::Completed, Status::Retrying, Status::DeadLettered, Status::Pending] {
            let is_held = inbox.finish_one(inbox.ended(&job, next)).await.expect("answers");
            assert!(!is_held, "to {next}");
        }
        assert_eq!(inbox.renew(vec![job.lease], LEASE).await.expect("answers"), [job.lease]);
        inbox.give_back(vec![job.lease]).await.expect("answers");
        assert_eq!(format!("{:?}", inbox.detail_of(id).await), format!("{before:?}"));

        claimed_by("process 1");
        assert_eq!(inbox.renew(vec![job.lease], LEASE).await.expect("renews"), []);
        inbox.end(&job, Status::Completed).await;
    }
}
