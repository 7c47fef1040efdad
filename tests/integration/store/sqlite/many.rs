//! Listing with more rows than one call of `list` reads.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::ListQuery;

use super::SqliteHarness;
use crate::store::generate::within_limit;
use crate::store::inbox::{Inbox, seconds};

/// The number of webhooks. One call reads at most 200,000.
const ROWS: u64 = 205_000;

/// The id of a copied webhook, which has its sequence in it.
const ID: &str = "CAST(unhex(printf('%012x', (sequence + number) >> 12) || '7' || \
                  printf('%03x', (sequence + number) & 4095) || '8000000000000000') AS BLOB)";

/// Copies the newest webhook directly in the database, because accepting this number would take a minute.
fn fill(inbox: &Inbox<SqliteHarness>) {
    let path = inbox.harness().path();
    let mut connection = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
    let mut copy = |table: &str, sequence: &str| {
        let columns = format!("(SELECT group_concat(name) FROM pragma_table_info('{table}'))");
        let columns = diesel::select(sql::<Text>(&columns)).get_result::<String>(&mut connection);
        let columns = columns.expect("has columns");
        let values = columns.split(',').map(|column| match column {
            "id" => ID.to_owned(),
            column if column == sequence => format!("{sequence} + number"),
            column => column.to_owned(),
        });
        let values = values.collect::<Vec<_>>().join(", ");
        connection
            .batch_execute(&format!(
                "CREATE TEMP TABLE newest AS SELECT * FROM {table} ORDER BY {sequence} DESC LIMIT 1;
                 WITH RECURSIVE numbers (number) AS (
                     SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {ROWS}
                 )
                 INSERT INTO {table} ({columns}) SELECT {values} FROM numbers, newest;
                 DROP TABLE newest;"
            ))
            .expect("is filled");
    };
    copy("webhooks", "sequence");
    copy("jobs", "webhook");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_looks_at_a_bounded_number_of_rows_and_still_finds_all() {
    within_limit(async {
        let inbox = Inbox::<SqliteHarness>::new().await;
        let oldest = inbox.ended_webhook("oldest", Status::Completed).await;
        inbox.advance(seconds(1));
        let newer = inbox.ended_webhook("newer", Status::Cancelled).await;
        fill(&inbox);

        let completed = ListQuery { statuses: [Status::Completed].into(), limit: 50, ..ListQuery::default() };
        let first = inbox.list(completed.clone()).await.expect("lists");
        assert!(first.webhooks.is_empty(), "it is behind what one call looks at");
        assert!(first.next.is_some(), "and there is more to look at");
        assert_eq!(inbox.listed(&completed).await, [oldest]);

        let cancelled =
            ListQuery { statuses: [Status::Cancelled].into(), limit: 25_000, ..ListQuery::default() };
        let page = inbox.list(cancelled).await.expect("lists").webhooks;
        assert_eq!(page.len(), 25_000, "a page reaches over several looks");
        let places = page.iter().map(|webhook| webhook.id.sequence().as_i64()).collect::<Vec<_>>();
        assert!(places.is_sorted_by(|one, next| *one == next + 1), "nothing is left out or repeated");
        assert_eq!(places[0], newer.id.sequence().as_i64() + ROWS.cast_signed(), "newest first");
    })
    .await;
}
