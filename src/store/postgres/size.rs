//! The size of the store on disk.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl as _;

use super::pool::answer;
use super::rows;
use super::shared::Shared;
use crate::store::statement::statement;

/// The size of the tables, with their indexes and the space of dead rows, in bytes.
pub(super) async fn bytes(shared: &Shared) -> QueryResult<u64> {
    let mut connection = shared.asking.get().await?;
    let size = answer(SelectBytes {}.get_result::<i64>(&mut *connection)).await;
    u64::try_from(connection.release(size)?).map_err(rows::unreadable)
}

// `pg_database_size` would include the tables of others, and would look at every file of the database.
statement! { Pg;
    struct SelectBytes {}
    returns BigInt;
    "SELECT coalesce(sum(pg_total_relation_size(id)), 0)::bigint
     FROM unnest('{webhooks, queues, jobs, lanes, finished_jobs, attempts, status_counts, pauses, paces, breakers,
                   replays, actions, probe, clock, backlog_gate, transfers}'::regclass[]) AS own (id)"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_size_is_that_of_all_tables() {
        let text = diesel::debug_query::<Pg, _>(&SelectBytes {}).to_string();
        let (_, list) = text.split_once("'{").expect("has a list");
        let (list, _) = list.split_once("}'").expect("ends");
        let counted = list.split(',').map(str::trim).collect::<BTreeSet<_>>();

        let declared = include_str!("schema.rs").lines().filter_map(|line| line.strip_suffix(") {"));
        let declared = declared.filter_map(|line| Some(line.trim().split_once(" (")?.0));
        // Without the view.
        let declared = declared.filter(|name| *name != "job_statuses").collect::<BTreeSet<_>>();
        assert_eq!(counted, declared);
    }
}
