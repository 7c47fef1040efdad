//! Tests that lists look at what they say, and at nothing else.

use diesel::sqlite::SqliteConnection;

use super::conditions::{AmongPlaces, Conditions, InRange, SelectMatching, Within};
use super::names::SelectQuarantinedSource;
use super::places::{SelectByStatus, SelectProcessing, SelectQuarantined, SelectWaiting};
use super::{SelectBodies, SelectStatuses};
use crate::store::ListQuery;
use crate::store::list::Names;
use crate::store::sqlite::connection::OwnedFile;
use crate::store::sqlite::plans::plan;

/// Runs a check on a new file.
fn with_file(check: impl FnOnce(&mut SqliteConnection)) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = OwnedFile::open(&folder.path().join("inbox.db")).expect("opens");
    check(&mut file.connection);
}

/// The plan of the statement that selects matching webhooks.
fn plan_of(connection: &mut SqliteConnection, within: Within) -> String {
    let (query, names) = (ListQuery::default(), Names { sources: None, queues: None });
    let conditions = Conditions::of(&query, &names).expect("serializes");
    plan(connection, &SelectMatching { within, conditions: &conditions, limit: 1 })
}

#[test]
fn webhooks_of_a_range_are_read_in_order_without_the_others() {
    with_file(|connection| {
        let plan = plan_of(connection, Within::Range(InRange { before: 2, from: 1 }));
        assert!(plan.contains("SEARCH w USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"), "{plan}");
        assert!(plan.contains("SEARCH m USING PRIMARY KEY (webhook=?)"), "{plan}");
        let error = "SEARCH a USING PRIMARY KEY (webhook=? AND queue=? AND number=?)";
        assert!(plan.contains(error), "{plan}");
        let scans = plan.replace("SCAN json_each", "");
        assert!(!scans.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
    });
}

#[test]
fn webhooks_of_a_list_are_looked_up() {
    with_file(|connection| {
        let among = plan_of(connection, Within::Among(AmongPlaces { places: "[1]".to_owned() }));
        let others = [
            plan(connection, &SelectStatuses { places: "[]" }),
            plan(connection, &SelectBodies { places: "[]" }),
        ];
        for plan in others.iter().chain([&among]) {
            assert!(plan.contains("SEARCH w USING INTEGER PRIMARY KEY (rowid=?)"), "{plan}");
            let scans = plan.replace("SCAN json_each", "").replace("SCAN e", "");
            assert!(!scans.contains("SCAN"), "{plan}");
        }
    });
}

#[test]
fn places_come_from_an_index_in_its_order() {
    with_file(|connection| {
        let by_status = plan(connection, &SelectByStatus { status: 4, before: 2, from: 1, limit: 1 });
        let index = "jobs_by_status (status=? AND webhook>? AND webhook<?)";
        assert!(by_status.contains(index) && !by_status.contains("TEMP B-TREE"), "{by_status}");
        let quarantined = SelectQuarantined { source: "", key: "", before: 2, from: 1, limit: 1 };
        let quarantined = plan(connection, &quarantined);
        let index = "webhooks_quarantined (source=? AND idempotency_key=? AND rowid>? AND rowid<?)";
        assert!(quarantined.contains(index) && !quarantined.contains("TEMP B-TREE"), "{quarantined}");
        let source = plan(connection, &SelectQuarantinedSource { last: "" });
        assert!(source.contains("webhooks_quarantined (source>?)"), "{source}");
        let processing = plan(connection, &SelectProcessing { limit: 1 });
        assert!(processing.contains("INDEX jobs_leased"), "{processing}");
        let waiting = plan(connection, &SelectWaiting { limit: 1, limit_of_lanes: 1 });
        assert!(waiting.contains("INDEX jobs_due") && waiting.contains("INDEX jobs_in_lane"), "{waiting}");
    });
}
