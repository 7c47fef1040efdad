//! A database for one test.

use super::clock::DatabaseClock;
use super::server::Server;

/// A database that no other test uses. It is emptied with this value, even if connections are open, and
/// another test gets it then: that is much faster than to create one.
#[derive(Debug)]
pub(crate) struct Database {
    server: &'static Server,
    name: String,
    /// How many connections may be opened to it.
    connections: usize,
    next: Next,
}

/// What becomes of a database after its test.
#[derive(Debug)]
enum Next {
    /// Another test gets it with nothing in it.
    Empty,
    /// Another test gets it once this statement has emptied it.
    EmptiedBy(&'static str, DatabaseClock),
    /// It is dropped.
    Dropped,
}

impl Database {
    pub(super) fn new(server: &'static Server, name: String, connections: usize) -> Self {
        Self { server, name, connections, next: Next::Empty }
    }

    /// One that a statement empties, with its clock.
    pub(super) fn emptied_by(
        server: &'static Server,
        name: String,
        connections: usize,
        (sql, clock): (&'static str, DatabaseClock),
    ) -> Self {
        Self { server, name, connections, next: Next::EmptiedBy(sql, clock) }
    }

    /// One that is of no use to other tests, and is dropped with this value.
    pub(super) fn unusual(server: &'static Server, name: String) -> Self {
        Self { server, name, connections: 0, next: Next::Dropped }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Where it is, with another parameter, such as `application_name=billing`.
    pub(crate) fn url_with(&self, parameter: &str) -> String {
        let url = self.url();
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}{parameter}")
    }

    /// The URL of a database of the same server that does not exist.
    pub(crate) fn url_of_none(&self) -> String {
        self.server.url(&format!("{}_not", self.name))
    }

    /// Makes `now()` show a time that stands still until the clock is set. It holds for connections
    /// that are opened afterwards; see [`DatabaseClock`].
    pub(crate) fn manual_clock(&self, microsecond: i64) -> DatabaseClock {
        DatabaseClock::install(&self.name, &self.url(), microsecond)
            .unwrap_or_else(|fault| panic!("cannot give a database a clock: {fault}"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test that panics already must not panic again.
        match std::mem::replace(&mut self.next, Next::Dropped) {
            // A test that panics may have left what the statement does not expect.
            Next::EmptiedBy(sql, clock) if !std::thread::panicking() => {
                self.server.give_back_emptied_by(&self.name, self.connections, sql, clock);
            }
            Next::Empty | Next::EmptiedBy(..) => self.server.give_back(&self.name, self.connections),
            Next::Dropped => drop(self.server.drop_database(&self.name)),
        }
    }
}
