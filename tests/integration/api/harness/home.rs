//! Where a hookbox inside of a test keeps its settings and its webhooks.

use std::sync::Arc;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::sqlite::SqliteConnection;
use hookbox::internals::config::{Config, HANDLERS, Layers};
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::domain::headers::KeptHeaders;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::route::{NewJob, RouteName};
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::domain::verdict::{Cause, Verdict};
use hookbox::internals::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use hookbox::internals::store::sqlite::{Options, SqliteStore};
use hookbox::internals::store::{Inbox as _, Store as _};
use hookbox::internals::telemetry::metrics::Metrics;
use jiff::Timestamp;
use tempfile::TempDir;

use super::START;
use crate::support::folder::store_folder;
use crate::support::inbox_database::inbox_database;
use crate::support::inbox_file::create_inbox_file;
use crate::support::postgres::{Database, DatabaseClock, Session};

/// What every test begins with; `HOUR` is more than any delay between two attempts.
const SETTINGS: &str = r#"
    workers = 2
    max_attempts = 3
    retry_base = "2s"
    retry_cap = "1m"
    max_body = "1MiB"
"#;

/// The settings file, in the folder.
const FILE: &str = "hookbox.toml";

/// The SQLite file, in the folder.
const SQLITE_FILE: &str = "hookbox.db";

/// The kinds of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

/// A folder with a settings file, and a store. A successor gets it.
pub(crate) struct Home {
    folder: TempDir,
    /// With PostgreSQL. Its clock stands still until it is set.
    database: Option<(Database, DatabaseClock)>,
}

impl Home {
    /// With nothing in the store, and these `[[routes]]` in the settings of the harness.
    pub(crate) fn new(store: Store, routes: &str) -> Self {
        let database = (store == Store::Postgres).then(inbox_database);
        let home = Self { folder: store_folder(), database };
        if store == Store::Sqlite {
            create_inbox_file(&home.folder.path().join(SQLITE_FILE));
        }
        home.set_routes(routes);
        home
    }

    /// Stores a webhook with this payload in the SQLite file, while no hookbox has it: with a job of this route, with
    /// headers, and with a verdict that has a cause. Answers its id.
    pub(crate) async fn put(&self, payload: Payload, route: &str) -> String {
        let path = self.folder.path().join(SQLITE_FILE);
        let options = Options { path, max_backlog: 1_000, policies: Arc::default(), seed: 1 };
        let clock = Arc::new(ManualClock::new(START.parse().unwrap()));
        let store = SqliteStore::open(options, clock, Arc::new(Metrics::default())).await.unwrap();
        let headers: [(&str, &[u8]); 2] = [("X-Shop", b"7"), ("Authorization", b"Bearer secret")];
        let webhook = NewWebhook {
            source: Source::new("shop").unwrap(),
            idempotency_key: IdempotencyKey::new("evt-001").unwrap(),
            event_type: EventType::new("order.created").unwrap(),
            payload,
            headers: KeptHeaders::keep(headers, |_| false),
            verdict: Verdict::Unverified(Cause::TimestampTooOld),
            traceparent: Traceparent::new(1, 1, true),
        };
        let job = NewJob { route: RouteName::new(route).unwrap(), order: None };
        let accepted = store.accept(webhook, vec![job]).await.unwrap();
        store.close().await;
        accepted.webhook.id.to_string()
    }

    /// Writes other `[[routes]]` into the settings file.
    pub(crate) fn set_routes(&self, routes: &str) {
        std::fs::write(self.folder.path().join(FILE), format!("{SETTINGS}\n{routes}")).unwrap();
    }

    /// Keeps all other connections from writing to the SQLite file until this one is dropped.
    pub(crate) fn lock(&self) -> SqliteConnection {
        let path = self.folder.path().join(SQLITE_FILE);
        let mut shell = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
        shell.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
        shell
    }

    /// A session with the PostgreSQL database.
    pub(crate) fn session(&self) -> Session {
        let (database, _) = self.database.as_ref().unwrap();
        Session::open(&database.url()).unwrap()
    }

    /// Keeps all others from reading webhooks in the PostgreSQL database until the session commits, or is dropped.
    pub(crate) fn lock_webhooks(&self) -> Session {
        let session = self.session();
        session.ask("BEGIN; LOCK TABLE webhooks IN ACCESS EXCLUSIVE MODE").unwrap();
        session
    }

    /// Removes the queues from the PostgreSQL database, as a failover can.
    pub(crate) fn lose_queues(&self) {
        self.session().ask("DELETE FROM queues WHERE id > 0").unwrap();
    }

    /// Sets the clock of the store, if it has one.
    pub(crate) fn set_time(&self, now: Timestamp) {
        if let Some((_, clock)) = &self.database {
            clock.set(now.as_microsecond());
        }
    }

    /// Reads the settings file, with these settings besides.
    pub(crate) fn settings_reader(
        &self,
        settings: &[(&'static str, &str)],
    ) -> impl Fn() -> Result<Config, String> + Send + Sync + 'static {
        let file = self.folder.path().join(FILE);
        let flags = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let flags = [("database_url", self.url())].into_iter().chain(flags).collect::<Vec<_>>();
        move || {
            let layers =
                Layers::read(Some(&file), [], flags.clone()).map_err(|mistakes| mistakes.to_string())?;
            Config::new(&layers, HANDLERS).map_err(|mistakes| mistakes.to_string())
        }
    }

    fn url(&self) -> String {
        match &self.database {
            Some((database, _)) => database.url(),
            None => format!("sqlite://{}", self.folder.path().join(SQLITE_FILE).display()),
        }
    }
}
