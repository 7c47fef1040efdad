//! The server for tests that need nothing but a database: found, or started.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::clock::DatabaseClock;
use super::cluster::Cluster;
use super::database::Database;
use super::programs::Programs;
use super::session::Session;
use super::{OLDEST_VERSION, environment};
use crate::support::wait::wait_until;

/// The variable of the environment that names the server to use.
const VARIABLE: &str = "HOOKBOX_TEST_POSTGRES_URL";

/// The server that a developer's machine usually has. Without TLS, which takes more time than many a test, and
/// has tests of its own.
const USUAL_URL: &str = "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable";

/// What the name of every test's database begins with.
const PREFIX: &str = "hookbox_test_";

/// How many connections a hookbox process opens to its database, and a test besides.
const CONNECTIONS: usize = 12;

/// Connections that are kept for the tests' own sessions, and for databases that wait for the next test.
const SPARE_CONNECTIONS: usize = 12;

/// How long a test waits for connections.
const WAIT_TIME: Duration = Duration::from_secs(120);

/// How long connections may take to close.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// Removes all that a test can have made in a database.
const EMPTY: &str = "
    DO $$
    DECLARE name text;
    BEGIN
        FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
        LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP;
    END $$;
    CREATE SCHEMA public";

/// A server that lets tests create databases.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    /// Creates and drops databases. While it is open, other test processes leave ours alone.
    session: Session,
    /// Names this process among all that ever used the server.
    run: String,
    created: AtomicU64,
    /// Empty databases that no test uses.
    free: Mutex<Vec<String>>,
    /// The same with their clocks, of databases that have been emptied by a test's own statement.
    emptied: Mutex<Vec<(String, DatabaseClock)>>,
    /// How many connections more tests may open.
    connections: Mutex<usize>,
    /// Notified when there are more.
    given_back: Condvar,
    /// Held by the test that waits for connections: the next one waits behind it, or a test that needs many would
    /// wait for ever.
    turn: Mutex<()>,
    /// Stops with the process.
    #[expect(dead_code, reason = "held to be stopped")]
    private: Option<Cluster>,
}

/// The server of this process. It is, in this order, the one that `HOOKBOX_TEST_POSTGRES_URL`
/// names; one that is started, of the programs installed here, because it does without syncs; the
/// one at 127.0.0.1:5432, if user postgres needs no password; one that is installed first, where
/// that is possible.
///
/// Panics if there is none: tests that were skipped would look like tests that passed.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::choose(environment(VARIABLE).as_deref(), USUAL_URL));
    server.as_ref().unwrap_or_else(|fault| panic!("{fault}"))
}

impl Server {
    fn choose(named: Option<&str>, usual: &str) -> Result<Self, String> {
        if let Some(url) = named {
            return Self::at(url, None)
                .map_err(|fault| format!("tests cannot use the server that {VARIABLE} names: {fault}"));
        }
        if Programs::installed().is_ok()
            && let Ok(server) = Self::start()
        {
            return Ok(server);
        }
        let usual_fault = match Self::at(usual, None) {
            Ok(server) => return Ok(server),
            Err(fault) => fault,
        };
        Self::start().map_err(|fault| {
            format!(
                "tests need PostgreSQL {OLDEST_VERSION} or newer: install it, or set {VARIABLE} to the URL \
                 of a server where they may create databases ({usual} was tried: {usual_fault}; \
                 then: {fault})"
            )
        })
    }

    fn start() -> Result<Self, String> {
        let cluster = Cluster::try_start_shared()?;
        let url = format!("{}?sslmode=disable", cluster.url("postgres"));
        Self::at(&url, Some(cluster))
    }

    fn at(url: &str, private: Option<Cluster>) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it is not a URL that begins with postgres://".to_owned());
        }
        let session = Session::open(url)?;
        let version = session.ask("SHOW server_version")?.concat();
        let number: u32 = session.ask("SHOW server_version_num")?.concat().parse().unwrap_or_default();
        if number / 10_000 < OLDEST_VERSION {
            return Err(format!("it is PostgreSQL {version}, and tests need {OLDEST_VERSION} or newer"));
        }
        let connections: usize = session.ask("SHOW max_connections")?.concat().parse().unwrap_or_default();
        // The process alone would not do: others may come from other machines or containers.
        let run = session.ask(&format!(
            "SELECT set_config('application_name', format('{PREFIX}%s_%s', {process}, \
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), false)",
            process = std::process::id(),
        ))?;
        let run = run.concat();
        let server = Self {
            url: url.to_owned(),
            session,
            run,
            created: AtomicU64::new(0),
            free: Mutex::default(),
            emptied: Mutex::default(),
            connections: Mutex::new(connections.saturating_sub(SPARE_CONNECTIONS)),
            given_back: Condvar::new(),
            turn: Mutex::default(),
            private,
        };
        server.drop_left_behind()?;
        Ok(server)
    }

    /// A database with nothing in it, for one process.
    pub(crate) fn database(&'static self) -> Database {
        self.database_for(1)
    }

    /// A database with nothing in it, for so many processes. Waits until the server has connections for them, so
    /// that any number of tests can run at once.
    pub(crate) fn database_for(&'static self, processes: usize) -> Database {
        let connections = self.take_connections(processes);
        Database::new(self, self.empty(), connections)
    }

    /// A database for so many processes, with a clock. It is left to the next test that calls this after `sql` has emptied
    /// it, so it may have what `sql` leaves. If `sql` or the test fails, it is emptied as any other.
    pub(crate) fn database_emptied_by(
        &'static self,
        sql: &'static str,
        processes: usize,
    ) -> (Database, DatabaseClock) {
        let connections = self.take_connections(processes);
        let emptied = self.emptied.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (name, clock) = emptied.unwrap_or_else(|| {
            let name = self.empty();
            let clock = DatabaseClock::install(&name, &self.url(&name), 0);
            (name, clock.unwrap_or_else(|fault| panic!("cannot give a database a clock: {fault}")))
        });
        (Database::emptied_by(self, name, connections, (sql, clock.clone())), clock)
    }

    /// Waits until the server has connections for so many processes, and answers how many they are.
    fn take_connections(&self, processes: usize) -> usize {
        let connections = processes * CONNECTIONS;
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.given_back.wait_timeout_while(left, WAIT_TIME, |left| *left < connections);
        let (mut left, waited) = wait.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !waited.timed_out(),
            "the server has {left} connections left, and a test needs {connections}"
        );
        *left -= connections;
        drop((left, turn));
        connections
    }

    fn empty(&self) -> String {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| self.create("UTF8"))
    }

    /// A database with another encoding than UTF8.
    pub(crate) fn database_in(&'static self, encoding: &str) -> Database {
        Database::unusual(self, self.create(encoding))
    }

    fn create(&self, encoding: &str) -> String {
        let name = format!("{}_{}", self.run, self.created.fetch_add(1, Ordering::Relaxed));
        // The same everywhere, whatever the server was set up with.
        let sql = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"
        );
        self.session.ask(&sql).unwrap_or_else(|fault| panic!("cannot create a database: {fault}"));
        name
    }

    /// Empties a database for the next test. What tests have used at last stays until the next process
    /// drops it.
    pub(super) fn give_back(&self, name: &str, connections: usize) {
        match self.make_empty(name) {
            Ok(()) => self.free.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned()),
            Err(_) => drop(self.drop_database(name)),
        }
        self.give_connections_back(connections);
    }

    /// The same with a test's own statement.
    pub(super) fn give_back_emptied_by(
        &self,
        name: &str,
        connections: usize,
        sql: &str,
        clock: DatabaseClock,
    ) {
        let emptied = self.close_connections(name, clock.session()).and_then(|()| clock.session().ask(sql));
        if emptied.is_err() {
            drop(clock);
            return self.give_back(name, connections);
        }
        self.emptied.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), clock));
        self.give_connections_back(connections);
    }

    fn give_connections_back(&self, connections: usize) {
        *self.connections.lock().unwrap_or_else(PoisonError::into_inner) += connections;
        self.given_back.notify_all();
    }

    fn make_empty(&self, name: &str) -> Result<(), String> {
        self.session.ask(&format!("ALTER DATABASE {name} RESET ALL"))?;
        self.close_connections(name, &self.session)?;
        Session::open(&self.url(name))?.ask(EMPTY).map(drop)
    }

    /// Closes the connections to a database but that of `asking`, and answers once they are closed.
    ///
    /// `pg_terminate_backend` could wait by itself, but looks only every 100 ms, at one connection after
    /// the other, and answers false for one that is gone already.
    fn close_connections(&self, name: &str, asking: &Session) -> Result<(), String> {
        let close = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        );
        let closed = wait_until(CLOSE_TIME, || asking.ask(&close).is_ok_and(|open| open.is_empty()));
        if closed { Ok(()) } else { Err("a connection stays open".to_owned()) }
    }

    /// Drops a database, also if clients are connected to it.
    pub(super) fn drop_database(&self, name: &str) -> Result<(), String> {
        self.session.ask(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).map(drop)
    }

    /// The URL of one of its databases.
    pub(super) fn url(&self, database: &str) -> String {
        let (place, parameters) = match self.url.split_once('?') {
            Some((place, parameters)) => (place, format!("?{parameters}")),
            None => (self.url.as_str(), String::new()),
        };
        let (scheme, place) = place.split_once("://").unwrap_or(("postgres", place));
        let hosts = place.split('/').next().unwrap_or_default();
        format!("{scheme}://{hosts}/{database}{parameters}")
    }

    /// Drops the databases of processes that were killed: those whose session is no more.
    fn drop_left_behind(&self) -> Result<(), String> {
        let left_behind = self.session.ask(&format!(
            "SELECT database.datname FROM pg_database database JOIN pg_roles ON pg_roles.oid = datdba \
             WHERE rolname = current_user AND database.datname ~ '^{PREFIX}[0-9]+_[0-9]+_[0-9]+$' \
             AND NOT EXISTS (SELECT FROM pg_stat_activity \
             WHERE application_name = regexp_replace(database.datname, '_[0-9]+$', ''))"
        ))?;
        for name in left_behind {
            // Another process may be dropping it, too.
            drop(self.drop_database(&name));
        }
        Ok(())
    }
}
