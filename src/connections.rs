//! Accepts connections for REST and gRPC, with or without TLS, within one limit that both share.
//!
//! At the limit, a new connection takes the place of another one: of one that has sent no request in its first moment,
//! else of one without a request in progress, else of one with whose requests hookbox waits for the client, to send the
//! rest of them or to take their answers; among these, of the one that has been quiet for longest. So a client that only
//! opens connections, or takes no answers, cannot keep other clients from connecting. A connection with a request that
//! hookbox works on, or with a stream that has nothing to tell yet, is never closed, unless the request needs no token and
//! may last, as a watch of health: if all have one, the new connection is closed. Until the client ends the requests of a
//! pipeline (`SubmitWebhooks`), hookbox waits for the rest of them, also while it stores those that are here. If hookbox
//! waits with too many requests for their clients, it closes the connections with the most of them.

mod answer;
mod answers;
mod arrival;
mod exchange;
mod holding;
mod open_files;
mod peeked;
mod places;
mod progress;
mod reading;
mod rounds;
mod slow_lane;
mod stream;
mod tls;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

pub use self::answer::Answer;
pub use self::answers::{AnswerRoom, Turn};
use self::answers::{Answers, TURNS_OF_CONNECTION};
pub use self::arrival::{Arrival, Bodies, Room};
use self::exchange::Requests;
pub use self::exchange::{Arriving, Exchange, InProgress, Waiting};
pub use self::holding::Holding;
pub use self::open_files::{connections_for_open_files, raise_open_files};
pub use self::peeked::Peeked;
use self::places::{Places, Rank};
use self::progress::Progress;
pub use self::reading::Unread;
use self::rounds::Rounds;
use self::slow_lane::SlowLane;
pub use self::stream::Stream;
use crate::domain::error::Result;
use crate::telemetry::repeated::Repeated;

/// How many bytes of one request an HTTP/2 client may send before they are read.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// How many bytes of all requests of a connection an HTTP/2 client may send before they are read. More than those of
/// one request, so that a request that waits for memory does not stop the others.
pub const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// How long to wait after a connection could not be accepted, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The open connections of both APIs.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: Mutex<Places>,
    answers: Answers,
    slow_lane: SlowLane,
    /// Increased with every event of a connection.
    moment: AtomicU64,
}

/// What an open connection does.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    activity: Arc<Activity>,
}

#[derive(Debug)]
struct Activity {
    /// The number of the connection.
    number: u64,
    /// The address of the client.
    client: IpAddr,
    has_asked: AtomicBool,
    requests: Requests,
    progress: Progress,
    /// When the connection was accepted, or a request last began, went on, was answered or ended.
    moment: AtomicU64,
    /// For answers that may be large, until they are written.
    turns: Arc<Semaphore>,
    /// The parts of answers that the client has not taken.
    rounds: Rounds,
}

static ACCEPTING: Repeated = Repeated::new("connections are accepted again");

impl Connections {
    /// At most `limit` connections.
    pub fn new(limit: usize) -> Self {
        let places = Mutex::new(Places::new(limit));
        Self(Arc::new(Shared {
            places,
            answers: Answers::default(),
            slow_lane: SlowLane::default(),
            moment: AtomicU64::default(),
        }))
    }

    /// Accepts the next connection that gets a place. After an error, waits before it tries again.
    pub async fn accept(&self, listener: &TcpListener) -> Stream {
        loop {
            match listener.accept().await {
                Ok((socket, client)) => {
                    ACCEPTING.works();
                    // Responses are small and written at once; if this fails, they only arrive later.
                    let _ = socket.set_nodelay(true);
                    if let Some((place, connection, closed)) = self.admit(client.ip(), Instant::now()) {
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

    /// Finds a place for a new connection of a client with this address. None if hookbox works on a request of every
    /// open connection.
    fn admit(
        &self,
        client: IpAddr,
        now: Instant,
    ) -> Option<(Place, Connection, oneshot::Receiver<Infallible>)> {
        let mut places = self.0.lock();
        let number = places.find(now)?;
        let activity = Arc::new(Activity {
            number,
            client,
            has_asked: AtomicBool::default(),
            requests: Requests::default(),
            progress: Progress::default(),
            moment: AtomicU64::default(),
            turns: Arc::new(Semaphore::new(TURNS_OF_CONNECTION)),
            rounds: Rounds::default(),
        });
        let connection = Connection { shared: Arc::clone(&self.0), activity };
        connection.note();
        let closed = places.take(number, connection.clone(), now);
        Some((Place { shared: Arc::clone(&self.0), number }, connection, closed))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection, free again when it is dropped.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().free(self.number);
    }
}

impl Connection {
    /// The address of the client, or of the proxy in front of hookbox.
    pub fn client(&self) -> IpAddr {
        self.activity.client
    }

    /// Notes that a request has begun. Keep the first value until the response is written, and the second one
    /// until the body of the request has arrived. If the request needs no token and its answer may last, wait for the
    /// client until the answer ends ([`Exchange::wait`]), so that a client cannot keep others out with such requests.
    pub fn begin(&self) -> (InProgress, Arriving) {
        if !self.activity.has_asked.swap(true, Ordering::Relaxed) {
            self.shared.lock().has_asked(self.activity.number);
        }
        let begun = Exchange::begin(self.clone());
        self.note();
        begun
    }

    /// The turn of a call that needs no token, may last, and whose answers may be large. Errors: `StoreUnavailable` if
    /// there are too many of them.
    pub fn open_turn(&self) -> Result<Turn> {
        self.shared.answers.open_turn()
    }

    /// The memory for an answer of `bytes` that is made. `turn` is the default if the request did not wait for its
    /// turn. Errors: `StoreUnavailable` if there is no memory for answers.
    pub async fn room(&self, bytes: u64, turn: Turn) -> Result<AnswerRoom> {
        self.shared.answers.room(bytes, turn).await
    }

    fn has_asked(&self) -> bool {
        self.activity.has_asked.load(Ordering::Relaxed)
    }

    /// How little the connection is worth. None if it must not give way.
    fn rank(&self) -> Option<Rank> {
        let tier = match self.activity.requests.counts() {
            (0, _) if !self.has_asked() => 0,
            (0, _) => 1,
            (requests, waiting) if waiting >= requests => 2,
            _ => return None,
        };
        Some((tier, self.moment()))
    }

    /// Whether a request is in progress.
    fn is_busy(&self) -> bool {
        self.activity.requests.counts().0 > 0
    }

    /// The last event of the connection.
    fn moment(&self) -> u64 {
        self.activity.moment.load(Ordering::Relaxed)
    }

    /// Begins the next round. Returns false if the client did not take a part of an answer in time.
    fn next_round(&self) -> bool {
        self.activity.rounds.next()
    }

    fn note(&self) {
        self.activity.moment.store(self.shared.moment.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
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

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn admit(connections: &Connections) -> Admitted {
        let (place, connection, closed) = connections.admit(CLIENT, Instant::now()).expect("a place");
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
        assert!(connections.admit(CLIENT, Instant::now()).is_none(), "every request is answered");
        assert!(!answered.is_closed());
        answered.place.take();
        assert!(connections.admit(CLIENT, Instant::now()).is_some(), "a place is free again");
    }

    #[tokio::test]
    async fn a_connection_gives_way_until_one_of_its_requests_has_arrived() {
        let connections = Connections::new(1);
        let mut watching = admit(&connections);
        let _watch = watching.connection.begin();
        let (in_progress, arriving) = watching.connection.begin();
        drop(arriving);
        assert!(connections.admit(CLIENT, Instant::now()).is_none() && !watching.is_closed());
        drop(in_progress);
        let _new = admit(&connections);
        assert!(watching.is_closed());
    }

    #[tokio::test]
    async fn of_two_silent_connections_the_older_one_gives_way() {
        let connections = Connections::new(2);
        let (mut first, mut second) = (admit(&connections), admit(&connections));
        let _third = admit(&connections);
        assert!(first.is_closed() && !second.is_closed());
    }
}
