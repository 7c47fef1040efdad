//! A database whose `now()` is driven by a test.
//!
//! A function of that name is found before PostgreSQL's own, because the database's `search_path`
//! lists its schema before `pg_catalog`. `public` comes first, so that tables are created where
//! they are in production.

use super::session::Session;

/// Sets what the unqualified `now()` shows in one database.
///
/// It shows the same in one statement, and in another statement what was set last, even in the same
/// transaction. `CURRENT_TIMESTAMP`, `clock_timestamp()` and `pg_catalog.now()` still show the real
/// time.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseClock {
    session: Session,
}

impl DatabaseClock {
    pub(super) fn install(database: &str, url: &str, microsecond: i64) -> Result<Self, String> {
        // The plan of a function in PL/pgSQL is kept; one in SQL is planned in every statement.
        Session::open(url)?.ask(&format!(
            "CREATE SCHEMA test_clock; \
             CREATE TABLE test_clock.moment AS SELECT {time} AS shown; \
             CREATE FUNCTION test_clock.now() RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE \
             AS 'BEGIN RETURN coalesce((SELECT shown FROM test_clock.moment), pg_catalog.now()); END'; \
             ALTER DATABASE {database} SET search_path = public, test_clock, pg_catalog",
            time = time(microsecond),
        ))?;
        let session = Session::open(url)?;
        if session.ask("SELECT now() = test_clock.now()")? != ["t"] {
            return Err("now() still shows the real time".to_owned());
        }
        // What is set is seen by everyone at once; it does not have to be on disk for that.
        session.ask("SET synchronous_commit = off")?;
        Ok(Self { session })
    }

    /// Its connection to the database.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Shows another time, in microseconds since 1970. Every statement that begins after this
    /// returns sees it.
    pub(crate) fn set(&self, microsecond: i64) {
        self.show(&time(microsecond));
    }

    /// Shows the real time until it is set.
    pub(crate) fn follow_real_time(&self) {
        self.show("NULL");
    }

    fn show(&self, time: &str) {
        let sql = format!("UPDATE test_clock.moment SET shown = {time}");
        self.session.ask(&sql).unwrap_or_else(|fault| panic!("cannot set a database's clock: {fault}"));
    }
}

/// In two parts, because PostgreSQL multiplies intervals in floating point.
fn time(microsecond: i64) -> String {
    let (seconds, microseconds) = (microsecond.div_euclid(1_000_000), microsecond.rem_euclid(1_000_000));
    format!(
        "timestamptz 'epoch' + {seconds} * interval '1 second' + {microseconds} * interval '1 microsecond'"
    )
}
