//! Compares the schema file, against which the compiler checks statements, with the migrated database. And a migration
//! that fails.

use std::collections::BTreeMap;
use std::error::Error as _;

use hookbox::internals::domain::error::causes;
use hookbox::internals::store::postgres::{OpenError, migrate};

use super::PostgresHarness;
use crate::store::inbox::Inbox;
use crate::support::inbox_database::EMPTY;
use crate::support::postgres::{Session, server};

/// The schema file.
const SCHEMA: &str = include_str!("../../../../src/store/postgres/schema.rs");

/// The types of the schema file and their names in PostgreSQL.
const TYPES: [(&str, &str); 8] = [
    ("Uuid", "uuid"),
    ("Text", "text"),
    ("Binary", "bytea"),
    ("Timestamptz", "timestamp with time zone"),
    ("SmallInt", "smallint"),
    ("Integer", "integer"),
    ("BigInt", "bigint"),
    ("Bool", "boolean"),
];

#[tokio::test]
async fn the_schema_file_matches_the_migrations() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    let columns = session
        .ask(
            "SELECT concat_ws(' ', table_name, column_name, CASE is_nullable WHEN 'YES' THEN 'null' ELSE 'not null' END, data_type)
             FROM information_schema.columns
             WHERE table_schema = 'hookbox' AND table_name NOT LIKE '\\_\\_%'
             ORDER BY table_name, ordinal_position",
        )
        .expect("asks");
    let mut there: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for column in columns {
        let (table, column) = column.split_once(' ').expect("a table and a column");
        // PostgreSQL reports every column of a view as nullable.
        let column = if table == "job_statuses" { column.replace(" null ", " ") } else { column.to_owned() };
        there.entry(table.to_owned()).or_default().push(column);
    }
    assert_eq!(here(), there);
}

#[tokio::test]
async fn the_cause_of_a_failed_migration_is_told_once() {
    let database = server().database();
    let target = database.url().parse().expect("a URL");
    migrate(&target).await.expect("migrates");
    let session = Session::open(&database.url()).expect("connects");
    session.ask("DELETE FROM __diesel_schema_migrations").expect("deletes");
    let refused = migrate(&target).await.expect_err("the tables are there");
    assert!(matches!(refused, OpenError::Migrate { .. }), "{refused:?}");
    let (told, cause) = (causes(&refused), refused.source().expect("has a cause").to_string());
    assert_eq!(told.matches(&cause).count(), 1, "{told}");
}

#[tokio::test]
async fn a_database_that_is_emptied_for_the_next_test_has_the_rows_of_a_new_one() {
    let database = server().database();
    let _clock = database.manual_clock(0);
    migrate(&database.url().parse().expect("a URL")).await.expect("migrates");
    let session = Session::open(&database.url()).expect("connects");
    let new = rows(&session);
    assert!(!new.is_empty(), "some rows come with the tables");
    session.ask(EMPTY).expect("empties");
    assert_eq!(rows(&session), new);
}

/// The rows of all tables and sequences.
fn rows(session: &Session) -> Vec<String> {
    let selects = "SELECT CASE relkind
            WHEN 'r' THEN format('SELECT %L || t::text FROM hookbox.%I AS t ORDER BY 1', relname || ' ', relname)
            ELSE format('SELECT %L || last_value || is_called FROM hookbox.%I', relname || ' ', relname)
        END
        FROM pg_class WHERE relnamespace = 'hookbox'::regnamespace AND relkind IN ('r', 'S') ORDER BY relname";
    let selects = session.ask(selects).expect("asks");
    selects.iter().flat_map(|select| session.ask(select).expect("asks")).collect()
}

/// The columns of each table in the schema file.
fn here() -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut table = String::new();
    for line in SCHEMA.lines().map(str::trim) {
        if let Some((column, kind)) = line.trim_end_matches(',').split_once(" -> ") {
            let is_nullable = kind.starts_with("Nullable<");
            let kind = kind.trim_start_matches("Nullable<").trim_end_matches('>');
            let (_, kind) = TYPES.into_iter().find(|(name, _)| *name == kind).expect("a known type");
            let null = match table.as_str() {
                "job_statuses" => "",
                _ if is_nullable => "null ",
                _ => "not null ",
            };
            tables.entry(table.clone()).or_default().push(format!("{column} {null}{kind}"));
        } else if let Some((name, _)) = line.split_once(" (").filter(|_| line.ends_with('{')) {
            table = name.to_owned();
        }
    }
    tables
}
