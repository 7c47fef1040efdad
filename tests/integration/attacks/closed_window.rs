//! A client of HTTP/2 that sends requests and lets the server send nothing of the answers' bodies. Its frames are made
//! by hand, because libraries take what they asked for.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{FORM, connect};
use crate::support::client::PATIENCE;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `SETTINGS_INITIAL_WINDOW_SIZE` is 0.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

/// Types and flags of frames, as RFC 9113 numbers them.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub(super) struct ClosedWindow {
    stream: TcpStream,
    next_request: u32,
}

impl ClosedWindow {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let begin = [PREFACE, frame(SETTINGS, 0, 0, &NO_WINDOW).as_slice()].concat();
        Self { stream: connect(address, &begin).await, next_request: 1 }
    }

    /// Sends a GET.
    pub(super) async fn get(&mut self, path: &str) {
        let fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "localhost")];
        let request = self.request_number();
        self.send(&frame(HEADERS, END_HEADERS | END_STREAM, request, &block(&fields))).await;
    }

    /// Sends a call with an encoded message. The path is `/<service>/<method>`.
    pub(super) async fn call(&mut self, path: &str, message: &[u8]) {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        let request = self.request_number();
        self.send(&frame(HEADERS, END_HEADERS, request, &block(&fields))).await;
        let length = u32::try_from(message.len()).expect("is short").to_be_bytes();
        let message = [[0].as_slice(), length.as_slice(), message].concat();
        self.send(&frame(DATA, END_STREAM, request, &message)).await;
    }

    /// Sends a form of the page.
    pub(super) async fn post(&mut self, path: &str, form: &str) {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("content-type", FORM),
        ];
        let request = self.request_number();
        self.send(&frame(HEADERS, END_HEADERS, request, &block(&fields))).await;
        self.send(&frame(DATA, END_STREAM, request, form.as_bytes())).await;
    }

    /// The number of the request that was sent last.
    pub(super) fn last_request(&self) -> u32 {
        self.next_request - 2
    }

    /// Waits until the heads of this many answers have come. The server has made these answers then, or refused them.
    pub(super) async fn answered(&mut self, answers: usize) {
        for _ in 0..answers {
            self.next_answer().await;
        }
    }

    /// Waits until the head of another answer has come. Returns the number of its request.
    pub(super) async fn next_answer(&mut self) -> u32 {
        let answer = async {
            loop {
                let mut head = [0; 9];
                self.stream.read_exact(&mut head).await.expect("a frame comes");
                let [high, middle, low, kind, _, request @ ..] = head;
                let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
                self.stream.read_exact(&mut payload).await.expect("a frame comes");
                if kind == HEADERS {
                    return u32::from_be_bytes(request);
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("the head of an answer comes")
    }

    /// Waits until the server closes the connection.
    pub(super) async fn until_closed(mut self) {
        let mut ignored = [0; 1024];
        while self.stream.read(&mut ignored).await.is_ok_and(|bytes| bytes > 0) {}
    }

    fn request_number(&mut self) -> u32 {
        self.next_request += 2;
        self.next_request - 2
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sends");
    }
}

fn frame(kind: u8, flags: u8, request: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("is short").to_be_bytes();
    [&length[1..], [kind, flags].as_slice(), request.to_be_bytes().as_slice(), payload].concat()
}

/// Fields as literals without indexing (RFC 7541, section 6.2.2). Names and values are shorter than 127 bytes.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("is short");
        [[length].as_slice(), text.as_bytes()].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}
