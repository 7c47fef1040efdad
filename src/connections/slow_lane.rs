//! The slow lane: the connections of clients that take long to send something go on a few at a time.
//!
//! Whatever arrives on a connection wakes its task, be it a single byte. Thousands of clients that send byte by byte can do
//! so at the same moment, and other requests would have to wait for all of them. So once hookbox has waited for
//! [`QUICK_TIME`] for the rest of a request, or of the first one with its handshake, what arrives wakes the task by way of
//! the lane. Between requests it does not: HTTP/2 sends frames there that belong to none.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Connection, Connections};

/// How long a client may take to send something before its connection uses the lane.
const QUICK_TIME: Duration = Duration::from_millis(250);

/// A client that sends as many bytes at once is quick.
const QUICK_BYTES: usize = 4 * 1024;

/// How many tasks the lane wakes at once.
const WOKEN_AT_ONCE: usize = 8;

/// How long the lane waits before it wakes the next ones.
const PAUSE: Duration = Duration::from_millis(2);

/// [`Sender::began`] while nothing is unfinished.
const NOTHING: u64 = u64::MAX;

/// The tasks of connections that the lane will wake, the next one first.
#[derive(Debug)]
pub(super) struct SlowLane {
    /// The moment from which times are counted.
    zero: Instant,
    ready: Mutex<VecDeque<Waker>>,
    has_come: Notify,
}

impl Default for SlowLane {
    fn default() -> Self {
        Self { zero: Instant::now(), ready: Mutex::default(), has_come: Notify::new() }
    }
}

impl SlowLane {
    fn ready(&self) -> MutexGuard<'_, VecDeque<Waker>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tasks to wake next.
    fn next(&self) -> Vec<Waker> {
        let mut ready = self.ready();
        let some = ready.len().min(WOKEN_AT_ONCE);
        ready.drain(..some).collect()
    }

    fn add(&self, task: Waker) {
        self.ready().push_back(task);
        self.has_come.notify_one();
    }

    fn now(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(NOTHING - 1)
    }
}

impl Connections {
    /// Wakes the tasks of slow connections, a few at a time. Never ends.
    pub async fn wake_slow(self) {
        let lane = &self.0.slow_lane;
        loop {
            // First those that are there, for a panic may have ended this task before.
            while let next = lane.next()
                && !next.is_empty()
            {
                next.into_iter().for_each(Waker::wake);
                tokio::time::sleep(PAUSE).await;
            }
            lane.has_come.notified().await;
        }
    }
}

/// What the client of a connection sends, as the waker that the socket wakes.
#[derive(Debug)]
struct Sender {
    connection: Connection,
    /// The task of the connection.
    task: AtomicWaker,
    /// When what is unfinished began, in milliseconds since [`SlowLane::zero`]; or [`NOTHING`].
    began: AtomicU64,
}

impl Sender {
    fn lane(&self) -> &SlowLane {
        &self.connection.shared.slow_lane
    }

    /// Whether the client is in the middle of something: its first request, or the rest of one.
    fn is_sending(&self) -> bool {
        !self.connection.has_asked() || self.connection.waits_for_client()
    }

    fn is_slow(&self) -> bool {
        let began = self.began.load(Ordering::Relaxed);
        began != NOTHING && self.lane().now().saturating_sub(began) > QUICK_TIME.as_millis() as u64
    }

    /// Notes that something is unfinished: it has arrived in part, or hookbox waits for it.
    fn begin(&self) {
        if self.began.load(Ordering::Relaxed) == NOTHING {
            self.began.store(self.lane().now(), Ordering::Relaxed);
        }
    }

    /// Notes that what was being sent is here.
    fn end(&self) {
        self.began.store(NOTHING, Ordering::Relaxed);
    }
}

impl Wake for Sender {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.task.take() {
            Some(task) if self.is_slow() => self.lane().add(task),
            Some(task) => task.wake(),
            None => {}
        }
    }
}

/// A socket whose task is woken by way of the lane while its client is slow.
#[derive(Debug)]
pub(super) struct PacedSocket {
    socket: TcpStream,
    sender: Arc<Sender>,
    waker: Waker,
    /// The last event of the connection that was seen.
    moment: u64,
}

impl PacedSocket {
    pub(super) fn new(socket: TcpStream, connection: Connection) -> Self {
        let moment = connection.moment();
        let began = AtomicU64::new(NOTHING);
        let sender = Arc::new(Sender { connection, task: AtomicWaker::new(), began });
        let waker = Waker::from(Arc::clone(&sender));
        Self { socket, sender, waker, moment }
    }

    /// The socket itself.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.socket
    }

    /// Ready once there is something to read, or the client has closed the connection.
    pub(super) fn poll_peek(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_peek(context, &mut ReadBuf::new(&mut [0])).map_ok(|_| ())
    }

    /// Looks whether a request of the connection has begun, gone on or been answered.
    fn look(&mut self) {
        let moment = self.sender.connection.moment();
        if moment != self.moment {
            self.moment = moment;
            self.sender.end();
            if self.sender.connection.waits_for_client() {
                self.sender.begin();
            }
        }
    }
}

impl AsyncRead for PacedSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look();
        this.sender.task.register(context.waker());
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(&mut Context::from_waker(&this.waker), buffer);
        if read.is_ready() {
            if buffer.filled().len() - before >= QUICK_BYTES {
                this.sender.end();
            }
            if this.sender.is_sending() {
                this.sender.begin();
            }
        }
        read
    }
}

impl AsyncWrite for PacedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Connections that began some time ago.
    fn connections() -> Connections {
        let mut connections = Connections::new(100);
        let shared = Arc::get_mut(&mut connections.0).expect("no connection is open");
        shared.slow_lane.zero -= 2 * QUICK_TIME;
        connections
    }

    fn sender(connections: &Connections, began: u64) -> Arc<Sender> {
        let (_, connection, _) = connections.admit(CLIENT, Instant::now()).expect("a place");
        Arc::new(Sender { connection, task: AtomicWaker::new(), began: AtomicU64::new(began) })
    }

    #[derive(Debug, Default)]
    struct Woken(AtomicUsize);

    impl Woken {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn the_tasks_of_slow_clients_are_woken_a_few_at_a_time() {
        let (connections, woken) = (connections(), Arc::new(Woken::default()));
        let slow: Vec<_> = (0..3 * WOKEN_AT_ONCE).map(|_| sender(&connections, 0)).collect();
        for sender in &slow {
            sender.task.register(&Waker::from(Arc::clone(&woken)));
            sender.wake_by_ref();
        }
        assert_eq!(woken.count(), 0);
        let mut waking = pin!(connections.wake_slow());
        assert!(waking.as_mut().now_or_never().is_none());
        assert_eq!(woken.count(), WOKEN_AT_ONCE);
        let all = async {
            while woken.count() < slow.len() {
                tokio::task::yield_now().await;
            }
        };
        let woke = async {
            tokio::select! {
                () = all => {}
                () = waking => {}
            }
        };
        timeout(Duration::from_secs(30), woke).await.expect("the others are woken later");
    }

    #[tokio::test]
    async fn the_tasks_of_quick_clients_are_woken_at_once() {
        let (connections, woken) = (connections(), Arc::new(Woken::default()));
        // The second one has just begun, however long this test takes.
        for began in [NOTHING, NOTHING - 1] {
            let quick = sender(&connections, began);
            quick.task.register(&Waker::from(Arc::clone(&woken)));
            quick.wake();
        }
        assert_eq!(woken.count(), 2);
    }

    /// As a value of [`Sender::began`].
    const LONG_AGO: u64 = 0;

    /// Reads until `bytes` is full.
    async fn read(socket: &mut PacedSocket, bytes: &mut [u8]) {
        let reading = timeout(Duration::from_secs(30), socket.read_exact(bytes));
        reading.await.expect("arrives").expect("is read");
    }

    #[tokio::test]
    async fn a_client_is_slow_while_something_is_unfinished_for_long() {
        let listener = TcpListener::bind((CLIENT, 0)).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("connects");
        let (socket, _) = listener.accept().await.expect("a connection");
        let connections = connections();
        let _lane = tokio::spawn(connections.clone().wake_slow());
        let (_place, connection, _closed) = connections.admit(CLIENT, Instant::now()).expect("a place");
        let mut socket = PacedSocket::new(socket, connection.clone());

        let began = |socket: &PacedSocket| socket.sender.began.load(Ordering::Relaxed);
        let long_ago = |socket: &PacedSocket| socket.sender.began.store(LONG_AGO, Ordering::Relaxed);
        assert_eq!(began(&socket), NOTHING);
        let mut bytes = vec![0; QUICK_BYTES];
        client.write_all(b"P").await.expect("sends");
        read(&mut socket, &mut bytes[..1]).await;
        assert!(![NOTHING, LONG_AGO].contains(&began(&socket)), "it has just begun");
        long_ago(&socket);
        client.write_all(b"O").await.expect("sends");
        read(&mut socket, &mut bytes[..1]).await;
        assert!(socket.sender.is_slow(), "it began long ago");

        let (in_progress, arriving) = connection.begin();
        assert!(socket.read_u8().now_or_never().is_none());
        assert_ne!(began(&socket), LONG_AGO, "a request has begun");
        long_ago(&socket);
        // On the loopback interface they arrive as one piece.
        client.write_all(&bytes).await.expect("sends");
        read(&mut socket, &mut bytes).await;
        assert_ne!(began(&socket), LONG_AGO, "it sends many bytes at once");
        long_ago(&socket);
        drop((in_progress, arriving));
        assert!(socket.read_u8().now_or_never().is_none());
        assert_eq!(began(&socket), NOTHING, "the request is answered");
        client.write_all(b"P").await.expect("sends");
        read(&mut socket, &mut bytes[..1]).await;
        assert_eq!(began(&socket), NOTHING, "it may be no part of a request");
    }
}
