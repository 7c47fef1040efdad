//! Accepts connections for REST and gRPC, within one limit that both share.
//!
//! At the limit, a new connection takes the place of another one: of one that has sent no request yet, else of one
//! without a request in progress, else of one whose request is still arriving; among these, of the one that has
//! been quiet for longest. So a client that only opens connections cannot keep other clients from connecting. A
//! connection with a request that has arrived is never closed: if all have one, the new connection is closed.

mod arrival;
mod holding;
mod open_files;
mod stream;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::telemetry::repeated::Repeated;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use self::arrival::{Arrival, Bodies, Room};
pub use self::holding::Holding;
pub use self::open_files::{connections_for_open_files, raise_open_files};
pub use self::stream::Stream;

/// How long to wait after a connection could not be accepted, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait between two warnings about the limit.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The open connections of both APIs.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    open: Mutex<Open>,
    /// Increased with every event of a connection.
    moment: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, (Connection, Closer)>,
    /// Connections that had to give way or were refused, and were not told of yet.
    untold: usize,
    told: Option<tokio::time::Instant>,
}

/// Closes a connection when it is dropped.
type Closer = oneshot::Sender<Infallible>;

/// What an open connection does.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    activity: Arc<Activity>,
}

#[derive(Debug, Default)]
struct Activity {
    has_asked: AtomicBool,
    /// Requests whose response is not written yet.
    requests: AtomicU32,
    /// Those of them whose body has not arrived.
    arriving: AtomicU32,
    /// When the connection was accepted, or a request last began, went on or ended.
    moment: AtomicU64,
}

static ACCEPTING: Repeated = Repeated::new("connections are accepted again");

impl Connections {
    /// At most `limit` connections.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { limit, open: Mutex::default(), moment: AtomicU64::default() }))
    }

    /// Accepts the next connection that gets a place. After an error, waits before it tries again.
    pub async fn accept(&self, listener: &TcpListener) -> Stream {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    ACCEPTING.works();
                    // Responses are small and written at once; if this fails, they only arrive later.
                    let _ = socket.set_nodelay(true);
                    if let Some((place, connection, closed)) = self.admit() {
                        return Stream::new(socket, place, connection, closed);
                    }
                }
                Err(error) => {
                    ACCEPTING.failed(|times| {
                        tracing::warn!(times, error = %error, "a connection could not be accepted; trying again");
                    });
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Finds a place for a new connection. None if every open connection has a request that has arrived.
    fn admit(&self) -> Option<(Place, Connection, oneshot::Receiver<Infallible>)> {
        let mut open = self.0.lock();
        if open.connections.len() >= self.0.limit {
            let least = open
                .connections
                .iter()
                .filter_map(|(id, (connection, _))| connection.activity.rank().map(|rank| (rank, *id)));
            let least = least.min().map(|(_, id)| id);
            let gives_way = least.and_then(|id| open.connections.remove(&id));
            open.tell(self.0.limit);
            gives_way?;
        }
        let id = open.next;
        open.next += 1;
        let connection = Connection { shared: Arc::clone(&self.0), activity: Arc::default() };
        connection.note();
        let (closer, closed) = oneshot::channel();
        open.connections.insert(id, (connection.clone(), closer));
        Some((Place { shared: Arc::clone(&self.0), id }, connection, closed))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Warns that the limit is reached, but not for each connection.
    fn tell(&mut self, limit: usize) {
        self.untold += 1;
        let now = tokio::time::Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            tracing::warn!(
                connections = limit,
                closed = self.untold,
                "the connection limit is reached; closing connections without a request"
            );
            (self.untold, self.told) = (0, Some(now));
        }
    }
}

/// The place of a connection, free again when it is dropped.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().connections.remove(&self.id);
    }
}

impl Activity {
    /// How little the connection is worth: the least gives way first. None if it must not give way.
    fn rank(&self) -> Option<(u8, u64)> {
        let requests = self.requests.load(Ordering::Relaxed);
        let tier = match requests {
            0 if !self.has_asked.load(Ordering::Relaxed) => 0,
            0 => 1,
            _ if self.arriving.load(Ordering::Relaxed) >= requests => 2,
            _ => return None,
        };
        Some((tier, self.moment.load(Ordering::Relaxed)))
    }
}

impl Connection {
    /// Notes that a request has begun. Keep the first value until the response is written, and the second one
    /// until the body of the request has arrived.
    pub fn begin(&self) -> (InProgress, Arriving) {
        self.activity.has_asked.store(true, Ordering::Relaxed);
        self.activity.arriving.fetch_add(1, Ordering::Relaxed);
        self.activity.requests.fetch_add(1, Ordering::Relaxed);
        self.note();
        (InProgress(self.clone()), Arriving(self.clone()))
    }

    fn has_asked(&self) -> bool {
        self.activity.has_asked.load(Ordering::Relaxed)
    }

    fn note(&self) {
        self.activity.moment.store(self.shared.moment.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// A request whose response is not written yet.
#[derive(Debug)]
pub struct InProgress(Connection);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.activity.requests.fetch_sub(1, Ordering::Relaxed);
        self.0.note();
    }
}

/// A request whose body has not arrived.
#[derive(Debug)]
pub struct Arriving(Connection);

impl Arriving {
    /// Notes that more of the body has arrived: the connection is not quiet.
    pub fn goes_on(&self) {
        self.0.note();
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.activity.arriving.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Admitted {
        place: Option<Place>,
        connection: Connection,
        closed: oneshot::Receiver<Infallible>,
    }

    impl Admitted {
        fn is_closed(&mut self) -> bool {
            !matches!(self.closed.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        }
    }

    fn admit(connections: &Connections) -> Admitted {
        let (place, connection, closed) = connections.admit().expect("a place");
        Admitted { place: Some(place), connection, closed }
    }

    #[tokio::test]
    async fn at_the_limit_the_connection_that_does_least_gives_way() {
        let connections = Connections::new(4);
        let mut answered = admit(&connections);
        let (_in_progress, arriving) = answered.connection.begin();
        drop(arriving);
        let mut arrives = admit(&connections);
        let _request = arrives.connection.begin();
        let mut idle = admit(&connections);
        drop(idle.connection.begin());
        let mut silent = admit(&connections);
        let (mut all, mut answers) = (Vec::new(), Vec::new());
        for expected in [[true, false, false], [true, true, false], [true, true, true]] {
            all.push(admit(&connections));
            let (in_progress, arriving) = all.last().expect("is there").connection.begin();
            drop(arriving);
            answers.push(in_progress);
            assert_eq!([&mut silent, &mut idle, &mut arrives].map(Admitted::is_closed), expected);
        }
        assert!(connections.admit().is_none(), "every request is answered");
        assert!(!answered.is_closed());
        answered.place.take();
        assert!(connections.admit().is_some(), "a place is free again");
    }

    #[tokio::test]
    async fn of_two_silent_connections_the_older_one_gives_way() {
        let connections = Connections::new(2);
        let (mut first, mut second) = (admit(&connections), admit(&connections));
        let _third = admit(&connections);
        assert!(first.is_closed() && !second.is_closed());
    }
}
