//! The tables for diesel's query builder. `migrations/sqlite` describes the columns.

diesel::table! {
    webhooks (sequence) {
        sequence -> BigInt,
        id -> Binary,
        source -> Text,
        idempotency_key -> Text,
        event_type -> Text,
        content_type -> Text,
        verdict -> BigInt,
        quarantined -> Bool,
        payload_digest -> Binary,
        traceparent -> Text,
        accepted_at -> BigInt,
        headers -> Nullable<Text>,
        payload -> Nullable<Binary>,
    }
}

diesel::table! {
    idempotency_keys (name) {
        name -> Binary,
        webhook -> BigInt,
    }
}

diesel::table! {
    queues (id) {
        id -> BigInt,
        route -> Text,
        source -> Text,
    }
}

diesel::table! {
    jobs (webhook, queue) {
        webhook -> BigInt,
        queue -> BigInt,
        status -> BigInt,
        attempts -> BigInt,
        uncounted_attempts -> BigInt,
        run -> BigInt,
        available_at -> BigInt,
        updated_at -> BigInt,
        completed_at -> Nullable<BigInt>,
        revision -> BigInt,
        lease_token -> BigInt,
        lease_until -> Nullable<BigInt>,
        worker -> Nullable<Text>,
        lane -> Nullable<Text>,
        blocks -> Bool,
        purged -> BigInt,
        replay -> Nullable<BigInt>,
    }
}

diesel::table! {
    lanes (queue, lane) {
        queue -> BigInt,
        lane -> Text,
        state -> BigInt,
        available_at -> BigInt,
    }
}

diesel::table! {
    attempts (webhook, queue, number) {
        webhook -> BigInt,
        queue -> BigInt,
        number -> BigInt,
        run -> BigInt,
        outcome -> BigInt,
        started_at -> BigInt,
        finished_at -> BigInt,
        error -> Nullable<Text>,
        result -> Nullable<Text>,
        worker -> Text,
        delivery -> Nullable<Text>,
    }
}

diesel::table! {
    pauses (scope, name) {
        scope -> BigInt,
        name -> Text,
        since -> BigInt,
        actor -> Text,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    paces (route) {
        route -> Text,
        next_at -> BigInt,
    }
}

diesel::table! {
    breakers (route) {
        route -> Text,
        trips -> BigInt,
        open_until -> BigInt,
    }
}

diesel::table! {
    status_counts (queue, status) {
        queue -> BigInt,
        status -> BigInt,
        count -> BigInt,
    }
}

diesel::table! {
    replays (number) {
        number -> BigInt,
        query -> Text,
        reason -> Nullable<Text>,
        actor -> Text,
        rate -> Nullable<Text>,
        dry_run -> Bool,
        state -> BigInt,
        begins_at -> BigInt,
        position -> BigInt,
        ends_at -> BigInt,
        next_at -> Nullable<BigInt>,
        webhooks -> BigInt,
        jobs -> BigInt,
        unfinished -> BigInt,
        payload_gone -> BigInt,
        route_gone -> BigInt,
        without_jobs -> BigInt,
        waits_for -> Nullable<Text>,
        started_at -> BigInt,
        updated_at -> BigInt,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    actions (number) {
        number -> BigInt,
        done_at -> BigInt,
        actor -> Text,
        kind -> Text,
        webhook -> Nullable<Binary>,
        route -> Nullable<Text>,
        source -> Nullable<Text>,
        replay -> Nullable<BigInt>,
        reason -> Nullable<Text>,
        detail -> Nullable<Text>,
    }
}

diesel::table! {
    probe (id) {
        id -> BigInt,
        written_at -> BigInt,
    }
}

diesel::table! {
    time_of_day (id) {
        id -> BigInt,
        seen_at -> BigInt,
        set_back_by -> BigInt,
        set_back_at -> BigInt,
        left_before -> BigInt,
        next_step -> BigInt,
    }
}

diesel::table! {
    transfer (number) {
        number -> BigInt,
        id -> Binary,
        moved_to -> Text,
        started_at -> BigInt,
        finished_at -> Nullable<BigInt>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(webhooks, idempotency_keys, queues, jobs, lanes, attempts);

#[cfg(test)]
mod tests {
    use diesel::prelude::*;
    use diesel::sql_types::{BigInt, Text};

    use crate::store::sqlite::connection::OwnedFile;

    #[derive(QueryableByName, PartialEq, Debug)]
    struct Column {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text, column_name = "type")]
        kind: String,
        /// 1 if the column cannot be null. This includes columns of the primary key.
        #[diesel(sql_type = BigInt)]
        required: i64,
    }

    /// A column as declared by `table!`, with SQLite's type name.
    fn column<C, Kind: InSqlite>(_: C) -> Column
    where
        C: diesel::Column + diesel::Expression<SqlType = Kind>,
    {
        Column { name: C::NAME.to_owned(), kind: Kind::NAME.to_owned(), required: Kind::REQUIRED }
    }

    trait InSqlite {
        const NAME: &'static str;
        const REQUIRED: i64 = 1;
    }
    impl InSqlite for BigInt {
        const NAME: &'static str = "INTEGER";
    }
    impl InSqlite for diesel::sql_types::Bool {
        const NAME: &'static str = "INTEGER";
    }
    impl InSqlite for Text {
        const NAME: &'static str = "TEXT";
    }
    impl InSqlite for diesel::sql_types::Binary {
        const NAME: &'static str = "BLOB";
    }
    impl<T: InSqlite + diesel::sql_types::SqlType<IsNull = diesel::sql_types::is_nullable::NotNull>> InSqlite
        for diesel::sql_types::Nullable<T>
    {
        const NAME: &'static str = T::NAME;
        const REQUIRED: i64 = 0;
    }

    /// `same_columns!(connection; table: column …)` compares a declared table with the table in the file. A
    /// column that is missing from the list is reported as a difference, too.
    macro_rules! same_columns {
        ($connection:expr; $($table:ident: $($column:ident)*;)*) => {$(
            let here = vec![$(column(super::$table::$column)),*];
            let text = format!(
                "SELECT name, type, \"notnull\" OR pk > 0 AS required FROM pragma_table_info('{}')",
                stringify!($table),
            );
            let there = diesel::sql_query(text).load::<Column>($connection).expect("reads");
            assert_eq!(here, there, "{}", stringify!($table));
        )*};
    }

    #[test]
    fn the_schema_is_that_of_the_migrations() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = OwnedFile::open(&folder.path().join("inbox.db")).expect("opens");
        same_columns! { &mut file.connection;
            webhooks: sequence id source idempotency_key event_type content_type verdict quarantined payload_digest
                traceparent accepted_at headers payload;
            idempotency_keys: name webhook;
            queues: id route source;
            jobs: webhook queue status attempts uncounted_attempts run available_at updated_at completed_at
                revision lease_token lease_until worker lane blocks purged replay;
            lanes: queue lane state available_at;
            attempts: webhook queue number run outcome started_at finished_at error result worker delivery;
            pauses: scope name since actor reason;
            paces: route next_at;
            breakers: route trips open_until;
            status_counts: queue status count;
            replays: number query reason actor rate dry_run state begins_at position ends_at next_at webhooks jobs
                unfinished payload_gone route_gone without_jobs waits_for started_at updated_at ended_at;
            actions: number done_at actor kind webhook route source replay reason detail;
            probe: id written_at;
            time_of_day: id seen_at set_back_by set_back_at left_before next_step;
            transfer: number id moved_to started_at finished_at;
        }
    }
}
