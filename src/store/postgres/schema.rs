//! The tables for diesel's query builder. `migrations/postgres` describes the columns.

diesel::table! {
    webhooks (id) {
        id -> Uuid,
        source -> Text,
        idempotency_key -> Text,
        event_type -> Text,
        content_type -> Text,
        verdict -> SmallInt,
        headers -> Nullable<Text>,
        payload -> Nullable<Binary>,
        payload_digest -> Binary,
        traceparent -> Text,
        accepted_at -> Timestamptz,
        quarantined -> Bool,
    }
}

diesel::table! {
    queues (id) {
        id -> Integer,
        route -> Text,
        source -> Text,
    }
}

diesel::table! {
    jobs (webhook, queue) {
        webhook -> Uuid,
        queue -> Integer,
        status -> SmallInt,
        run -> Integer,
        attempts -> Integer,
        uncounted_attempts -> Integer,
        available_at -> Timestamptz,
        updated_at -> Timestamptz,
        revision -> BigInt,
        lease_token -> BigInt,
        lease_until -> Nullable<Timestamptz>,
        worker -> Nullable<Text>,
        lane -> Nullable<Text>,
        position -> Nullable<BigInt>,
        replay -> Nullable<BigInt>,
    }
}

diesel::table! {
    lanes (lane) {
        lane -> Text,
        queue -> Integer,
        jobs -> BigInt,
        state -> SmallInt,
        available_at -> Timestamptz,
    }
}

diesel::table! {
    finished_jobs (webhook, queue) {
        webhook -> Uuid,
        queue -> Integer,
        status -> SmallInt,
        run -> Integer,
        attempts -> Integer,
        uncounted_attempts -> Integer,
        available_at -> Timestamptz,
        completed_at -> Timestamptz,
        revision -> BigInt,
        lease_token -> BigInt,
        purged -> SmallInt,
        lane -> Nullable<Text>,
        position -> Nullable<BigInt>,
        blocks -> Bool,
        outcome -> Nullable<SmallInt>,
        started_at -> Nullable<Timestamptz>,
        error -> Nullable<Text>,
        result -> Nullable<Text>,
        worker -> Nullable<Text>,
        delivery -> Nullable<Text>,
        replay -> Nullable<BigInt>,
    }
}

diesel::table! {
    /// A view of jobs and finished jobs, the latter with the attempt that ended them. `worker` of a leased job is who
    /// holds the lease. `last_error` is null unless the job is retrying or dead-lettered.
    job_statuses (webhook, queue) {
        webhook -> Uuid,
        queue -> Integer,
        status -> SmallInt,
        run -> Integer,
        attempts -> Integer,
        uncounted_attempts -> Integer,
        available_at -> Timestamptz,
        updated_at -> Timestamptz,
        revision -> BigInt,
        lease_until -> Nullable<Timestamptz>,
        outcome -> Nullable<SmallInt>,
        started_at -> Nullable<Timestamptz>,
        error -> Nullable<Text>,
        result -> Nullable<Text>,
        worker -> Nullable<Text>,
        delivery -> Nullable<Text>,
        last_error -> Nullable<Text>,
        replay -> Nullable<BigInt>,
    }
}

diesel::table! {
    attempts (webhook, queue, number) {
        webhook -> Uuid,
        queue -> Integer,
        number -> Integer,
        run -> Integer,
        outcome -> SmallInt,
        started_at -> Timestamptz,
        finished_at -> Timestamptz,
        error -> Nullable<Text>,
        worker -> Text,
        delivery -> Nullable<Text>,
    }
}

diesel::table! {
    status_counts (slot, queue) {
        slot -> SmallInt,
        queue -> Integer,
        pending -> BigInt,
        processing -> BigInt,
        retrying -> BigInt,
        completed -> BigInt,
        dead_lettered -> BigInt,
        cancelled -> BigInt,
        filtered -> BigInt,
        quarantined -> BigInt,
    }
}

diesel::table! {
    pauses (scope, name) {
        scope -> SmallInt,
        name -> Text,
        since -> Timestamptz,
        actor -> Text,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    paces (route) {
        route -> Text,
        next_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    breakers (route) {
        route -> Text,
        trips -> Integer,
        open_until -> Timestamptz,
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
        state -> SmallInt,
        begins_at -> Uuid,
        position -> Uuid,
        ends_at -> Uuid,
        next_at -> Nullable<Timestamptz>,
        webhooks -> BigInt,
        jobs -> BigInt,
        unfinished -> BigInt,
        payload_gone -> BigInt,
        route_gone -> BigInt,
        without_jobs -> BigInt,
        waits_for -> Nullable<Text>,
        started_at -> Timestamptz,
        updated_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    actions (number) {
        number -> BigInt,
        done_at -> Timestamptz,
        actor -> Text,
        kind -> Text,
        webhook -> Nullable<Uuid>,
        route -> Nullable<Text>,
        source -> Nullable<Text>,
        replay -> Nullable<BigInt>,
        reason -> Nullable<Text>,
        detail -> Nullable<Text>,
    }
}

diesel::table! {
    probe (id) {
        id -> SmallInt,
        written_at -> Timestamptz,
    }
}

diesel::table! {
    clock (id) {
        id -> SmallInt,
        steps_forward -> BigInt,
    }
}

diesel::table! {
    backlog_gate (id) {
        id -> SmallInt,
    }
}

diesel::table! {
    transfers (id) {
        id -> Uuid,
        position -> BigInt,
        webhooks -> BigInt,
        actions -> BigInt,
        started_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(webhooks, job_statuses, jobs, finished_jobs, queues, attempts);
