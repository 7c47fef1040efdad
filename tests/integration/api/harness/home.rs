//! Where a hookbox inside of a test keeps its settings and its webhooks.

use hookbox::internals::config::{Config, HANDLERS, Layers};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::support::postgres::{Database, DatabaseClock, server};

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
        let database = (store == Store::Postgres).then(|| {
            let database = server().database();
            let clock = database.manual_clock(0);
            (database, clock)
        });
        let home = Self { folder: TempDir::new().unwrap(), database };
        home.set_routes(routes);
        home
    }

    /// Writes other `[[routes]]` into the settings file.
    pub(crate) fn set_routes(&self, routes: &str) {
        std::fs::write(self.folder.path().join(FILE), format!("{SETTINGS}\n{routes}")).unwrap();
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
            None => format!("sqlite://{}", self.folder.path().join("hookbox.db").display()),
        }
    }
}
