//! A server for the handler `http` that behaves as the test says, well or badly.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::api::harness::eventually;
use crate::support::received::{Received, read};

/// The pause between two bytes of an answer that trickles.
const PAUSE: Duration = Duration::from_millis(10);

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Sends these bytes, and goes on with the next request.
    Answer(Cow<'static, str>),
    /// Sends nothing.
    Hang,
    /// Sends a head, and then one byte after the other, without end.
    Trickle,
    /// Sends a head and a body without end, as fast as it is read.
    Endless,
    /// Sends a head with a header of 1 MB.
    LargeHead,
    /// Resets the connection after these bytes.
    ResetAfter(&'static str),
    /// Closes the connection after these bytes.
    CloseAfter(&'static str),
}

/// A plain answer.
pub(crate) const OK: Does = Does::Answer(Cow::Borrowed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));

/// A running server. It ends with the runtime of the test.
pub(crate) struct Target {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    connections: usize,
    /// Connections that hookbox has closed.
    closed: usize,
    requests: Vec<Received>,
}

impl Target {
    /// Does one thing after the other, one for each request; the last one again and again.
    pub(crate) async fn start(does: impl Into<Arc<[Does]>>) -> Self {
        let does: Arc<[Does]> = does.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.0.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, Arc::clone(&does), Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `[[routes]]` of a route to this server, with further members.
    pub(crate) fn route(&self, more: &str) -> String {
        route(&format!("http://{}/hooks", self.address), more)
    }

    /// Every request so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.0.lock().unwrap().requests.clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.state.0.lock().unwrap().connections
    }

    /// Waits until this many requests have arrived.
    pub(crate) async fn wait_for_requests(&self, count: usize) {
        eventually("a request", || async { (self.received().len() >= count).then_some(()) }).await;
    }

    /// Waits until hookbox has closed a connection.
    pub(crate) async fn wait_for_close(&self) {
        let closed = || self.state.0.lock().unwrap().closed;
        eventually("the end of a connection", || async { (closed() > 0).then_some(()) }).await;
    }
}

/// The `[[routes]]` of a route named `out`, which may connect to this machine, with further members.
pub(crate) fn route(url: &str, more: &str) -> String {
    let allow = if more.contains("allow = ") { "" } else { "allow = [\"127.0.0.0/8\", \"::1\"]" };
    format!("[[routes]]\nname = \"out\"\nhandler = \"http\"\nurl = \"{url}\"\n{allow}\n{more}\n")
}

async fn serve(mut stream: TcpStream, does: Arc<[Does]>, state: Arc<State>) {
    while let Some(request) = read(&mut stream).await {
        let number = {
            let mut seen = state.0.lock().unwrap();
            seen.requests.push(request);
            seen.requests.len()
        };
        if !behave(&mut stream, &does[(number - 1).min(does.len() - 1)]).await {
            break;
        }
    }
    state.0.lock().unwrap().closed += 1;
}

/// Whether the connection goes on after that.
async fn behave(stream: &mut TcpStream, does: &Does) -> bool {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
    match does {
        Does::Answer(answer) => stream.write_all(answer.as_bytes()).await.is_ok(),
        Does::Hang => {
            // Ready when the connection is closed.
            let _ = stream.read(&mut [0]).await;
            false
        }
        Does::Trickle => {
            let mut is_open = stream.write_all(HEAD.as_bytes()).await.is_ok();
            while is_open {
                is_open = stream.write_all(b"x").await.is_ok();
                tokio::time::sleep(PAUSE).await;
            }
            false
        }
        Does::Endless => {
            let mut is_open = stream.write_all(HEAD.as_bytes()).await.is_ok();
            while is_open {
                is_open = stream.write_all(&[b'x'; 64 * 1024]).await.is_ok();
            }
            false
        }
        Does::LargeHead => {
            let head = format!("HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n", "x".repeat(1_000_000));
            stream.write_all(head.as_bytes()).await.is_ok()
        }
        Does::ResetAfter(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
            stream.set_zero_linger().unwrap();
            false
        }
        Does::CloseAfter(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
            false
        }
    }
}
