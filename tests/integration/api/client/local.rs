//! A server on this machine that keeps what it is sent, and can be stopped and started at the same port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::api::harness::eventually;
use crate::support::received::{Received, read};

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
