//! A server on this machine that keeps what it is sent, and can be stopped and started at the same port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::api::harness::eventually;

/// A request. The names of headers are in lower case.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Received {
    /// The value of a header; empty if it is absent.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }
}

/// A server that answers 200 to everything.
pub(super) struct Local {
    address: SocketAddr,
    /// What it answers to one request after the other; the last one to all others.
    answers: Arc<[String]>,
    received: Arc<Mutex<Vec<Received>>>,
    stop: CancellationToken,
}

impl Local {
    /// Starts at a free port.
    pub(super) async fn start() -> Self {
        Self::answering(["ok".to_owned()]).await
    }

    /// Starts at a free port, with these answers.
    pub(super) async fn answering(answers: impl Into<Arc<[String]>>) -> Self {
        let local = Self {
            address: SocketAddr::from(([127, 0, 0, 1], crate::support::ports::free_port())),
            answers: answers.into(),
            received: Arc::default(),
            stop: CancellationToken::new(),
        };
        local.again().await
    }

    /// Starts at the same port.
    pub(super) async fn again(mut self) -> Self {
        self.stop = CancellationToken::new();
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (received, answers) = (Arc::clone(&self.received), Arc::clone(&self.answers));
        let stop = self.stop.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (received, answers) = (Arc::clone(&received), Arc::clone(&answers));
                let stop = stop.clone();
                let serving = async move { serve(stream, received, &answers).await };
                tokio::spawn(async move { stop.run_until_cancelled(serving).await });
            }
        });
        self
    }

    /// Closes the port and all connections.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until this many requests have come.
    pub(super) async fn wait_for(&self, count: usize) {
        eventually(&format!("request {count}"), || async { (self.received().len() >= count).then_some(()) })
            .await;
    }
}

async fn serve(mut stream: TcpStream, received: Arc<Mutex<Vec<Received>>>, answers: &[String]) {
    while let Some(request) = read(&mut stream).await {
        let earlier = {
            let mut received = received.lock().unwrap();
            received.push(request);
            received.len() - 1
        };
        let body = answers.get(earlier).or_else(|| answers.last()).unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads a request; none if the connection was closed.
pub(super) async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::<u8>::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n").map(ToOwned::to_owned);
    let line = lines.next()?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_lowercase(), value.to_owned())
    });
    let mut request = Received { line, headers: headers.collect(), body: bytes.split_off(end + 4) };
    // A GET has no length.
    let length = request.header("content-length").parse::<usize>().unwrap_or_default();
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}
