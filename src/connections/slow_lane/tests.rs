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
    let sender = Sender::new(connection);
    sender.began.store(began, Ordering::Relaxed);
    Arc::new(sender)
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
async fn the_lane_holds_an_open_connection_once_and_a_closed_one_not_at_all() {
    let (connections, closed, open) = (connections(), Arc::new(Woken::default()), Arc::new(Woken::default()));
    let mut slow: Vec<_> = (0..3 * WOKEN_AT_ONCE).map(|_| sender(&connections, 0)).collect();
    for (number, sender) in slow.iter().enumerate() {
        let task = if number < 2 * WOKEN_AT_ONCE { &closed } else { &open };
        for _ in 0..3 {
            sender.task.register(&Waker::from(Arc::clone(task)));
            sender.wake_by_ref();
        }
    }
    drop(slow.drain(..2 * WOKEN_AT_ONCE));
    assert_eq!(Arc::strong_count(&closed), 1, "their tasks are freed");
    let mut waking = pin!(connections.clone().wake_slow());
    assert!(waking.as_mut().now_or_never().is_none());
    assert_eq!((closed.count(), open.count()), (0, WOKEN_AT_ONCE));
    assert!(connections.0.slow_lane.next().is_empty(), "none waits twice");
    for sender in &slow {
        sender.task.register(&Waker::from(Arc::clone(&open)));
        sender.wake_by_ref();
    }
    assert_eq!(connections.0.slow_lane.next().len(), WOKEN_AT_ONCE, "more has arrived");
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

fn began(socket: &PacedSocket) -> u64 {
    socket.sender.began.load(Ordering::Relaxed)
}

fn long_ago(socket: &PacedSocket) {
    socket.sender.began.store(LONG_AGO, Ordering::Relaxed);
}

/// A client, the socket of its connection, and what that does. The lane wakes until the test ends.
async fn connect() -> (TcpStream, PacedSocket, Connection) {
    let listener = TcpListener::bind((CLIENT, 0)).await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let client = TcpStream::connect(address).await.expect("connects");
    let (socket, _) = listener.accept().await.expect("a connection");
    let connections = connections();
    tokio::spawn(connections.clone().wake_slow());
    let (_, connection, _) = connections.admit(CLIENT, Instant::now()).expect("a place");
    (client, PacedSocket::new(socket, connection.clone()), connection)
}

/// Reads until `bytes` is full.
async fn read(socket: &mut PacedSocket, bytes: &mut [u8]) {
    let reading = timeout(Duration::from_secs(30), socket.read_exact(bytes));
    reading.await.expect("arrives").expect("is read");
}

#[tokio::test]
async fn a_client_is_slow_while_something_is_unfinished_for_long() {
    let (mut client, mut socket, connection) = connect().await;
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
    assert!(socket.sender.is_slow(), "the rest of the request does not come");
    drop(arriving);
    assert!(!socket.sender.is_slow(), "the request is here");
    drop(in_progress);
    assert!(socket.read_u8().now_or_never().is_none());
    assert_eq!(began(&socket), NOTHING, "the request is answered");
    client.write_all(b"P").await.expect("sends");
    read(&mut socket, &mut bytes[..1]).await;
    assert_eq!(began(&socket), NOTHING, "it may be no part of a request");

    connection.speaks_http1();
    client.write_all(b"O").await.expect("sends");
    read(&mut socket, &mut bytes[..1]).await;
    long_ago(&socket);
    assert!(socket.sender.is_slow(), "it is a part of the next head");
    let _request = connection.begin();
    assert!(!socket.sender.is_slow(), "the head is here");
}

#[tokio::test]
async fn only_a_whole_message_of_a_request_that_goes_on_makes_its_client_quick() {
    let (mut client, mut socket, connection) = connect().await;
    let (_in_progress, arriving) = connection.begin();
    assert!(socket.read_u8().now_or_never().is_none());
    long_ago(&socket);
    for _ in 0..2 {
        client.write_all(b"{").await.expect("sends");
        read(&mut socket, &mut [0]).await;
        assert!(socket.sender.is_slow(), "it is a part of a message");
    }
    arriving.message_arrived();
    assert!(!socket.sender.is_slow());
    assert!(socket.read_u8().now_or_never().is_none());
    assert_ne!(began(&socket), LONG_AGO, "hookbox waits for the next message from now on");
}

/// As TLS reads: no more than some KiB, whatever is here.
#[tokio::test]
async fn many_bytes_at_once_make_a_client_quick_however_small_the_reads_are() {
    let (mut client, mut socket, connection) = connect().await;
    let _request = connection.begin();
    assert!(socket.read_u8().now_or_never().is_none());
    long_ago(&socket);
    // On the loopback interface they arrive as one piece.
    client.write_all(&[0; QUICK_BYTES]).await.expect("sends");
    for _ in 0..QUICK_BYTES / 512 {
        read(&mut socket, &mut [0; 512]).await;
    }
    assert_ne!(began(&socket), LONG_AGO);
    assert!(socket.read_u8().now_or_never().is_none());
    long_ago(&socket);
    client.write_all(b"{").await.expect("sends");
    read(&mut socket, &mut [0]).await;
    assert_eq!(began(&socket), LONG_AGO, "what was here before does not count");
}
