//! Tests that no hot statement scans a table or sorts. SQLite uses a partial index only if a query repeats
//! the conditions of the index word by word.

use diesel::debug_query;
use diesel::prelude::*;
use diesel::query_builder::QueryFragment;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;

use super::claim::ClaimJob;
use super::connection::OwnedFile;
use super::due::{SelectDue, SelectDueJobs};
use super::finish::EndLease;
use super::give_back::UnclaimJob;
use super::lanes::{DeleteLane, SelectFirst, SetState};
use super::leased::SelectLeased;
use super::leases::{RenewLeases, SelectExpired};
use super::policies::{SelectBlocked, UnblockJobs};
use super::purge::{
    DeleteAttempts, DeleteJobs, DropContents, DropPayloads, MarkJobs, SelectFinished, SelectPurged,
};
use super::quarantine::{CountQuarantined, DeleteMark, DeleteQuarantined, SetQuarantined};
use super::queries::{SelectAttempts, SelectDetails, SelectStatus, SelectStatusByKey};
use super::reroute::SelectWaiting;
use super::restart::{RestartJob, SelectFinishedJob};
use super::set_back::{MoveJobs, MoveLanes, MoveLeases, SelectNext, SelectPlace};
use super::set_forward::MoveLeasesForward;

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// The steps of a statement's plan, joined.
pub(super) fn plan(connection: &mut SqliteConnection, statement: &impl QueryFragment<Sqlite>) -> String {
    let text = format!("EXPLAIN QUERY PLAN {}", debug_query::<Sqlite, _>(statement));
    let steps = diesel::sql_query(text).load::<Step>(connection).expect("explains");
    steps.into_iter().map(|step| step.detail).collect::<Vec<_>>().join("; ")
}

#[test]
fn every_hot_statement_is_served_by_an_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = OwnedFile::open(&folder.path().join("inbox.db")).expect("opens");
    let connection = &mut file.connection;
    let mut check = |statement: &dyn QueryFragment<Sqlite>, indexes: &[&str]| {
        let plan = plan(connection, &statement);
        // Neither is a table.
        let scans = plan.replace("SCAN json_each", "").replace("SCAN (subquery", "");
        assert!(!scans.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
        for index in indexes {
            assert!(plan.contains(index), "{index} in {plan}");
        }
    };

    let due = SelectDue { queue_of_jobs: 1, queue_of_lanes: 1, limit: 1 };
    check(&due, &["jobs_due (queue=?)", "lanes_due (queue=?)"]);
    check(&SelectDueJobs { queue: 1, limit: 1 }, &["jobs_due (queue=?)"]);
    check(&SelectFirst { queue: 1, lane: "" }, &["jobs_in_lane (queue=? AND lane=?)"]);
    check(&SetState { state: 1, queue: 1, lane: "" }, &["PRIMARY KEY"]);
    check(&DeleteLane { queue: 1, lane: "", release: true }, &["PRIMARY KEY"]);

    let claim = ClaimJob { lease_until: 0, updated_at: 0, worker: "", webhook: 1, queue: 1 };
    check(&claim, &["jobs USING PRIMARY KEY (webhook=? AND queue=?)"]);
    let unclaim =
        UnclaimJob { now: 0, earliest: 0, updated_at: 0, webhook: 1, queue: 1, lease_token: 1, worker: "" };
    check(&unclaim, &["jobs USING PRIMARY KEY (webhook=? AND queue=?)"]);
    let end = EndLease {
        status: 0,
        available_at: 0,
        updated_at: 0,
        completed_at: None,
        uncounted: 0,
        webhook: 1,
        queue: 1,
        lease_token: 1,
    };
    check(&end, &["jobs USING PRIMARY KEY (webhook=? AND queue=?)"]);
    let renew = RenewLeases { held: "[]", worker: "" };
    check(&renew, &["jobs USING PRIMARY KEY (webhook=? AND queue=?)"]);
    let expired = SelectExpired { until: 0, held: "[]", of_workers: true, limit: 1 };
    check(&expired, &["jobs_leased (lease_until<?)"]);
    let leased = ["j USING PRIMARY KEY (webhook=? AND queue=?)", "w USING INTEGER PRIMARY KEY"];
    check(&SelectLeased { leases: "[]", worker: "" }, &leased);

    let waiting = SelectWaiting { queue_of_jobs: 1, queue_of_lanes: 1, limit_of_lanes: 1, limit: 1 };
    check(&waiting, &["jobs_due (queue=?)", "jobs_in_lane (queue=? AND lane>?)"]);
    check(&SelectBlocked { queue: 1, limit: 1 }, &["lanes_blocked (queue=?)"]);
    check(&UnblockJobs { queue: 1, lane: "" }, &["jobs_blocking (queue=? AND lane=?)"]);

    let finished = "jobs_finished (purged=? AND status=? AND completed_at>? AND completed_at<?)";
    let attempts = "a USING PRIMARY KEY (webhook=? AND queue=?)";
    check(&SelectFinished { status: 3, before: 1, limit: 1 }, &[finished, attempts]);
    let attempts = "a USING PRIMARY KEY (webhook=?)";
    check(&SelectPurged { before_others: 1, status: 3, before: 1, limit: 1 }, &[finished, attempts]);
    let drop = DropPayloads { jobs: "[]", completed: 1, dead_lettered: 1 };
    check(&drop, &["webhooks USING INTEGER PRIMARY KEY", "j USING PRIMARY KEY (webhook=?)"]);
    check(&DropContents { jobs: "[]" }, &["attempts USING PRIMARY KEY (webhook=? AND queue=?)"]);
    check(&MarkJobs { purged: 1, jobs: "[]" }, &["jobs USING PRIMARY KEY (webhook=? AND queue=?)"]);
    check(&DeleteJobs { webhook: 1 }, &["jobs USING PRIMARY KEY (webhook=?)"]);
    check(&DeleteAttempts { webhook: 1 }, &["attempts USING PRIMARY KEY (webhook=?)"]);

    let webhook = "webhooks USING INTEGER PRIMARY KEY";
    check(&SetQuarantined { quarantined: true, sequence: 1 }, &[webhook]);
    check(&DeleteQuarantined { sequence: 1 }, &[webhook]);
    check(&DeleteMark { webhook: 1 }, &["jobs USING PRIMARY KEY (webhook=? AND queue=?)"]);

    let job = "USING PRIMARY KEY (webhook=? AND queue=?)";
    check(&SelectFinishedJob { webhook: 1, queue: 1 }, &[job, "w USING INTEGER PRIMARY KEY"]);
    check(&RestartJob { replay: None, available_at: 1, updated_at: 1, webhook: 1, queue: 1 }, &[job]);

    let error = "a USING PRIMARY KEY (webhook=? AND queue=? AND number=?)";
    let jobs = "j USING PRIMARY KEY (webhook=?)";
    check(&SelectStatus { sequence: 1 }, &["w USING INTEGER PRIMARY KEY", jobs, error]);
    check(&SelectStatusByKey { name: &[] }, &["k USING PRIMARY KEY (name=?)", jobs, error]);
}

#[test]
fn attempts_are_read_by_their_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = OwnedFile::open(&folder.path().join("inbox.db")).expect("opens");
    let attempts = SelectAttempts { before_deliveries: 1, before: 1, skip: 0, webhook: 1 };
    let plan_of_attempts = plan(&mut file.connection, &attempts);
    for step in [
        "SEARCH j USING PRIMARY KEY (webhook=?)",
        "SEARCH a USING PRIMARY KEY (webhook=? AND queue=? AND number>? AND number<?)",
    ] {
        assert!(plan_of_attempts.contains(step), "{step} in {plan_of_attempts}");
    }
    let details = plan(&mut file.connection, &SelectDetails { webhook: 1 });
    let result = "SEARCH a USING PRIMARY KEY (webhook=? AND queue=? AND number=?)";
    assert!(details.contains(result) && !details.contains("SCAN"), "{details}");
}

#[test]
fn quarantined_webhooks_are_counted_without_reading_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = OwnedFile::open(&folder.path().join("inbox.db")).expect("opens");
    let plan = plan(&mut file.connection, &CountQuarantined {});
    assert!(plan.contains("INDEX webhooks_quarantined") && !plan.contains("TEMP B-TREE"), "{plan}");
}

#[test]
fn due_times_are_moved_by_webhook() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = OwnedFile::open(&folder.path().join("inbox.db")).expect("opens");
    let connection = &mut file.connection;
    let place = plan(connection, &SelectPlace { before: 1, skipped: 1 });
    assert_eq!(place, "SEARCH jobs USING PRIMARY KEY (webhook<?)");
    let of_webhooks = "SEARCH jobs USING PRIMARY KEY (webhook>? AND webhook<?)";
    let jobs = plan(connection, &MoveJobs { since: 1, step: 1, latest: 1, now: 1, from: 1, before: 1 });
    assert!(jobs.contains(of_webhooks), "{jobs}");
    let lanes = plan(connection, &MoveLanes { since: 1, from: 1, before: 1 });
    for step in [
        of_webhooks,
        "SEARCH lanes USING PRIMARY KEY (queue=? AND lane=?)",
        "SEARCH j USING INDEX jobs_in_lane (queue=? AND lane=?)",
    ] {
        assert!(lanes.contains(step), "{step} in {lanes}");
    }
    let next = plan(connection, &SelectNext { before_plain: 1, before_ordered: 1 });
    for index in ["INDEX jobs_due", "INDEX jobs_in_lane"] {
        assert!(next.contains(index), "{index} in {next}");
    }
    let back = plan(connection, &MoveLeases { step: 1, now: 1, after: 1 });
    let forward = plan(connection, &MoveLeasesForward { step: 1, now: 1, after: 0 });
    for leases in [back, forward] {
        assert!(leases.contains("SEARCH jobs USING INDEX jobs_leased (lease_until>?)"), "{leases}");
    }
}
