//! The slow lane: the connections of clients that take long to send something go on a few at a time.
//!
//! Whatever arrives on a connection wakes its task, be it a single byte. Thousands of clients that send byte by byte can do
//! so at the same moment, and other requests would have to wait for all of them. So once hookbox has waited for
//! [`QUICK_TIME`] for the rest of a request, or of the first one with its handshake, what arrives wakes the task by way of
//! the lane. That ends once a request, or a message of a pipeline, has arrived whole, or much has arrived at once. Between
//! requests of HTTP/2 what arrives does not use the lane: it sends frames there that belong to none.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::iter;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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

/// A client that sends as many bytes at once is quick, however many reads they take.
const QUICK_BYTES: usize = 4 * 1024;

/// How many tasks the lane wakes at once.
const WOKEN_AT_ONCE: usize = 8;

/// How long the lane waits before it wakes the next ones.
const PAUSE: Duration = Duration::from_millis(2);

/// [`Sender::began`] while nothing is unfinished.
const NOTHING: u64 = u64::MAX;

/// The connections whose tasks the lane will wake, the next one first.
#[derive(Debug)]
pub(super) struct SlowLane {
    /// The moment from which times are counted.
    zero: Instant,
    /// Each at most once. Weak, so that a connection that is closed meanwhile takes neither a turn nor the memory of its
    /// task: at the limit, connections can give way faster than the lane wakes their tasks.
    ready: Mutex<VecDeque<Weak<Sender>>>,
    has_come: Notify,
}

impl Default for SlowLane {
    fn default() -> Self {
        Self { zero: Instant::now(), ready: Mutex::default(), has_come: Notify::new() }
    }
}

impl SlowLane {
    fn ready(&self) -> MutexGuard<'_, VecDeque<Weak<Sender>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections whose tasks are woken next.
    fn next(&self) -> Vec<Arc<Sender>> {
        let mut ready = self.ready();
        let open = iter::from_fn(|| ready.pop_front()).filter_map(|sender| sender.upgrade());
        let next: Vec<_> = open.take(WOKEN_AT_ONCE).collect();
        for sender in &next {
            // What arrives from here on adds the connection again.
            sender.is_ready.swap(false, Ordering::AcqRel);
        }
        next
    }

    fn add(&self, sender: &Arc<Sender>) {
        if !sender.is_ready.swap(true, Ordering::AcqRel) {
            self.ready().push_back(Arc::downgrade(sender));
            self.has_come.notify_one();
        }
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
                next.into_iter().for_each(|sender| sender.task.wake());
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
    /// [`Connection::progress`] at that time.
    progress: AtomicU64,
    /// Whether the lane will wake the task.
    is_ready: AtomicBool,
}

impl Sender {
    fn new(connection: Connection) -> Self {
        let (began, progress) = (AtomicU64::new(NOTHING), AtomicU64::new(connection.progress()));
        Self { connection, task: AtomicWaker::new(), began, progress, is_ready: AtomicBool::default() }
    }

    fn lane(&self) -> &SlowLane {
        &self.connection.shared.slow_lane
    }

    /// Whether hookbox has waited for long, and still waits. The request may have begun or arrived since the last read:
    /// over HTTP/2, nothing is read after an answer is written until more arrives.
    fn is_slow(&self) -> bool {
        let began = self.began.load(Ordering::Relaxed);
        began != NOTHING
            && self.progress.load(Ordering::Relaxed) == self.connection.progress()
            && self.lane().now().saturating_sub(began) > QUICK_TIME.as_millis() as u64
    }

    /// Looks whether a request has begun, or whether one, or a message of one, has arrived.
    fn look(&self) {
        let progress = self.connection.progress();
        if progress != self.progress.load(Ordering::Relaxed) {
            self.progress.store(progress, Ordering::Relaxed);
            self.end();
            if self.connection.is_arriving() {
                self.begin();
            }
        }
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
        if self.is_slow() {
            self.lane().add(self);
        } else {
            self.task.wake();
        }
    }
}

/// A socket whose task is woken by way of the lane while its client is slow.
#[derive(Debug)]
pub(super) struct PacedSocket {
    socket: TcpStream,
    sender: Arc<Sender>,
    waker: Waker,
    /// How many bytes were read since there was nothing to read.
    at_once: usize,
}

impl PacedSocket {
    pub(super) fn new(socket: TcpStream, connection: Connection) -> Self {
        let sender = Arc::new(Sender::new(connection));
        let waker = Waker::from(Arc::clone(&sender));
        Self { socket, sender, waker, at_once: 0 }
    }

    /// The socket itself.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.socket
    }

    /// Ready once there is something to read, or the client has closed the connection.
    pub(super) fn poll_peek(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_peek(context, &mut ReadBuf::new(&mut [0])).map_ok(|_| ())
    }

    /// Notes that so many bytes were read.
    fn has_read(&mut self, bytes: usize) {
        self.at_once += bytes;
        if self.at_once >= QUICK_BYTES {
            self.sender.end();
        }
        if self.sender.connection.is_sending() {
            self.sender.begin();
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
        this.sender.look();
        this.sender.task.register(context.waker());
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(&mut Context::from_waker(&this.waker), buffer);
        match read {
            Poll::Ready(_) => this.has_read(buffer.filled().len() - before),
            Poll::Pending => this.at_once = 0,
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
mod tests;
