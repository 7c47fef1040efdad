//! Runs missing migrations. An advisory lock ensures that only one process at a time runs them.

use std::time::Duration;

use diesel::QueryResult;
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::result::Error as QueryError;
use diesel::sql_types::{Bool, Integer, Text};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::OpenError;
use super::target::{Connector, Target};
use crate::store::statement::statement;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The table in which diesel keeps the names of migrations that have run.
const MIGRATIONS_TABLE: &str = "__diesel_schema_migrations";

/// The oldest PostgreSQL that is tested.
const OLDEST_MAJOR: i32 = 15;

/// Takes the lock of the session that migrates. The number of the lock is "hookbox" in ASCII. Disables
/// timeouts, because a migration, and the wait for another process's migration, can take long.
const LOCK: &str =
    "SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock(29395921911574392)";

/// How long to wait for the lock before logging a message.
const WAIT_IN_SILENCE: Duration = Duration::from_secs(5);

/// Runs the missing migrations, and returns their names.
pub(super) async fn migrate(target: &Target, connector: &Connector) -> Result<Vec<String>, OpenError> {
    let mut connection =
        connector.connect().await.map_err(|source| OpenError::Connect { target: target.clone(), source })?;
    if have_run(target, &mut connection).await? { Ok(Vec::new()) } else { run(target, connection).await }
}

/// Whether exactly the migrations that this version knows have run. Needs neither the lock nor the right to create
/// tables. Refuses a server that hookbox cannot use.
pub(super) async fn have_run(target: &Target, connection: &mut AsyncPgConnection) -> Result<bool, OpenError> {
    check_server(target, connection).await?;
    Ok(is_up_to_date(connection, target.schema()).await)
}

/// Runs the missing migrations, and returns their names. The lock is released when the connection closes.
pub(super) async fn run(
    target: &Target,
    mut connection: AsyncPgConnection,
) -> Result<Vec<String>, OpenError> {
    let setup = |source| OpenError::Setup { target: target.clone(), source };
    lock(&mut connection).await.map_err(setup)?;
    prepare_schema(target, &mut connection).await?;
    let target = target.clone();
    let migrating = tokio::task::spawn_blocking(move || {
        let failed = |source| OpenError::Migrate { target: target.clone(), source };
        let mut harness = AsyncMigrationHarness::new(connection);
        let known = known().map_err(failed)?;
        let applied = harness.applied_migrations().map_err(failed)?;
        let unknown =
            applied.into_iter().map(|version| version.to_string()).find(|version| !known.contains(version));
        if let Some(migration) = unknown {
            return Err(OpenError::Newer { target: target.clone(), migration });
        }
        let run = harness.run_pending_migrations(MIGRATIONS).map_err(failed)?;
        Ok(run.iter().map(ToString::to_string).collect())
    });
    migrating.await.map_err(OpenError::Stopped)?
}

/// A migration that has run.
#[derive(QueryableByName)]
struct AppliedRow {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Whether exactly the migrations that this version knows have run. False if they cannot be read.
async fn is_up_to_date(connection: &mut AsyncPgConnection, schema: &str) -> bool {
    // With the schema: without it, the table of another program in `public` would be found if ours is missing.
    let select = diesel::sql_query(format!("SELECT version FROM {schema}.{MIGRATIONS_TABLE}"));
    let applied = select.load::<AppliedRow>(connection).await;
    applied.is_ok_and(|applied| {
        let mut applied = applied.into_iter().map(|row| row.version).collect::<Vec<_>>();
        applied.sort();
        known().is_ok_and(|mut known| {
            known.sort();
            applied == known
        })
    })
}

/// Creates the schema if it is missing. Refuses one with tables of another program, or without the rights to use it.
async fn prepare_schema(target: &Target, connection: &mut AsyncPgConnection) -> Result<(), OpenError> {
    let setup = |source| OpenError::Setup { target: target.clone(), source };
    let schema = target.schema();
    let tables = (SelectTables { schema }).load::<String>(connection).await.map_err(setup)?;
    let is_ours = tables.iter().any(|table| table == MIGRATIONS_TABLE);
    if let Some(table) = tables.into_iter().next().filter(|_| !is_ours) {
        return Err(OpenError::Foreign { target: target.clone(), table: format!("{schema}.{table}") });
    }
    let rights = (SelectRights { schema }).load::<(bool, bool, bool)>(connection).await.map_err(setup)?;
    if let Some((may_use, may_create, may_read)) = rights.into_iter().next() {
        if may_use && (if is_ours { may_read } else { may_create }) {
            return Ok(());
        }
        let (schema, grants) = (schema.to_owned(), grants(schema, is_ours));
        Err(OpenError::NoRights { target: target.clone(), schema, grants })
    } else {
        let (may_create, database) =
            CheckCreate {}.get_result::<(bool, String)>(connection).await.map_err(setup)?;
        if !may_create {
            return Err(OpenError::NoSchema { target: target.clone(), schema: schema.to_owned(), database });
        }
        connection.batch_execute(&format!("CREATE SCHEMA {schema}")).await.map_err(setup)
    }
}

/// The statements that let a user work with the schema.
fn grants(schema: &str, has_tables: bool) -> String {
    if has_tables {
        format!(
            "`GRANT USAGE ON SCHEMA {schema} TO ...`, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} \
             TO ...` and `GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO ...`"
        )
    } else {
        format!("`GRANT USAGE, CREATE ON SCHEMA {schema} TO ...`")
    }
}

async fn lock(connection: &mut AsyncPgConnection) -> QueryResult<()> {
    let mut locking = std::pin::pin!(connection.batch_execute(LOCK));
    if let Ok(locked) = tokio::time::timeout(WAIT_IN_SILENCE, &mut locking).await {
        return locked;
    }
    tracing::info!("waiting for another process to bring the tables up to date");
    locking.await
}

/// Whether all migrations that this version knows have run. Newer migrations are allowed: during a rolling
/// update, old replicas continue to work with the tables of the new version.
pub(super) async fn is_current(connection: &mut AsyncPgConnection) -> QueryResult<bool> {
    let applied = SelectMigrations {}.load::<String>(connection).await?;
    let known = known().map_err(QueryError::DeserializationError)?;
    Ok(known.iter().all(|migration| applied.contains(migration)))
}

/// Refuses a server older than [`OLDEST_MAJOR`], one that takes no writes, and a database that cannot hold every text: one
/// text that it cannot hold would fail the batch of webhooks that it is in.
async fn check_server(target: &Target, connection: &mut AsyncPgConnection) -> Result<(), OpenError> {
    let setup = |source| OpenError::Setup { target: target.clone(), source };
    let server = SelectServer {}.get_result::<(i32, String, bool)>(connection).await;
    let (number, encoding, is_read_only) = server.map_err(setup)?;
    if number / 10_000 < OLDEST_MAJOR {
        return Err(OpenError::OldServer { target: target.clone(), major: number / 10_000 });
    }
    if encoding != "UTF8" {
        return Err(OpenError::Encoding { target: target.clone(), encoding });
    }
    if is_read_only {
        return Err(OpenError::ReadOnly { target: target.clone() });
    }
    Ok(())
}

fn known() -> diesel::migration::Result<Vec<String>> {
    let known = diesel::migration::MigrationSource::<Pg>::migrations(&MIGRATIONS)?;
    Ok(known.iter().map(|migration| migration.name().version().to_string()).collect())
}

// Whether the user may use the schema, create tables in it, and read the names of the migrations if they are there.
statement! { Pg;
    struct SelectRights<'a> { schema: &'a str as Text, }
    returns (Bool, Bool, Bool);
    "SELECT has_schema_privilege(n.oid, 'USAGE'), has_schema_privilege(n.oid, 'CREATE'),
            coalesce((SELECT has_table_privilege(c.oid, 'SELECT') FROM pg_class c
                      WHERE c.relnamespace = n.oid AND c.relname = '__diesel_schema_migrations'), true)
     FROM pg_namespace n WHERE n.nspname = ?::name"
}

// Tables, views and sequences.
statement! { Pg;
    struct SelectTables<'a> { schema: &'a str as Text, }
    returns Text;
    "SELECT c.relname::text FROM pg_class c, pg_namespace n
     WHERE n.oid = c.relnamespace AND n.nspname = ?::name AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') ORDER BY 1"
}

statement! { Pg;
    struct SelectMigrations {}
    returns Text;
    "SELECT version FROM __diesel_schema_migrations"
}

statement! { Pg;
    struct SelectServer {}
    returns (Integer, Text, Bool);
    "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'),
            current_setting('transaction_read_only')::boolean"
}

statement! { Pg;
    struct CheckCreate {}
    returns (Bool, Text);
    "SELECT has_database_privilege(current_database(), 'CREATE'), quote_ident(current_database())"
}
