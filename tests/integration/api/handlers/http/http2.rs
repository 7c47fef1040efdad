//! Targets that speak HTTP/2.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use hyper::{Request, Response};
use jiff::SignedDuration;
use rstest::rstest;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::target::route;
use super::{PAYLOAD, error_of};
use crate::api::harness::{Hookbox, Sqlite, eventually};
use crate::support::tls::Authority;

/// What the server does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Answers 200, with so many headers of 1 KB.
    Answer(usize),
    /// Resets the stream.
    Reset,
    /// Sends nothing.
    Hang,
    /// Sends a body without end.
    Endless,
}

/// A running server, which speaks nothing else. It ends with the runtime of the test.
struct Target {
    address: SocketAddr,
    /// Has the certificate of the authority.
    folder: TempDir,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    bodies: Mutex<Vec<Vec<u8>>>,
    /// Streams that hookbox has reset.
    resets: AtomicUsize,
}

impl Target {
    async fn start(does: Does) -> Self {
        let authority = Authority::new();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let issued = authority.issue();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.der()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Seen>::default());
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, does, Arc::clone(&shared)));
            }
        });
        Self { address, folder, seen }
    }

    /// The `[[routes]]` of a route to this server, with further members.
    fn route(&self, more: &str) -> String {
        let ca = self.folder.path().join("ca.pem");
        route(&format!("https://{}/", self.address), &format!("ca = \"{}\"\n{more}", ca.display()))
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.seen.bodies.lock().unwrap().clone()
    }

    /// Waits until hookbox has reset a stream.
    async fn wait_for_reset(&self) {
        let resets = || self.seen.resets.load(Ordering::SeqCst);
        eventually("the reset of a stream", || async { (resets() > 0).then_some(()) }).await;
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, does: Does, seen: Arc<Seen>) {
    let stream = acceptor.accept(stream).await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, does, Arc::clone(&seen)));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, does: Does, seen: Arc<Seen>) {
    let (mut body, mut bytes) = (request.into_body(), Vec::new());
    while let Some(Ok(chunk)) = body.data().await {
        bytes.extend_from_slice(&chunk);
    }
    seen.bodies.lock().unwrap().push(bytes);
    match does {
        Does::Answer(headers) => {
            let mut head = Response::builder();
            for number in 0..headers {
                head = head.header(format!("x-{number}"), "x".repeat(1_000));
            }
            let mut sending = respond.send_response(head.body(()).unwrap(), false).unwrap();
            sending.send_data(Bytes::from_static(b"ok"), true).unwrap();
        }
        Does::Reset => respond.send_reset(Reason::INTERNAL_ERROR),
        Does::Hang => {
            let _ = poll_fn(|context| respond.poll_reset(context)).await;
            seen.resets.fetch_add(1, Ordering::SeqCst);
        }
        Does::Endless => {
            let chunk = Bytes::from_static(&[b'x'; 16 * 1024]);
            let mut sending = respond.send_response(Response::new(()), false).unwrap();
            loop {
                sending.reserve_capacity(chunk.len());
                let room = poll_fn(|context| sending.poll_capacity(context)).await;
                let Some(Ok(room)) = room else { break };
                if sending.send_data(chunk.slice(..room.min(chunk.len())), false).is_err() {
                    break;
                }
            }
            seen.resets.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[rstest]
#[case::with_a_short_head(0)]
#[case::with_a_head_of_100_kb(100)]
#[tokio::test]
async fn an_answer_over_http_2_completes_the_job(#[case] headers: usize) {
    let target = Target::start(Does::Answer(headers)).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.submit("evt-001", "order.created", PAYLOAD).await.text_of("id");
    let webhook = hookbox.wait_for(&id, "completed").await;
    assert_eq!(webhook["result"]["status"], 200);
    assert_eq!(target.bodies(), [PAYLOAD.as_bytes()]);
}

#[rstest]
#[case::with_a_head_of_450_kb(
    Does::Answer(450),
    "the target's answer is not valid HTTP/2, or its head is too large"
)]
#[case::with_a_head_of_1_mb(Does::Answer(1_000), "the head of the target's answer is too large")]
#[case::that_is_reset(
    Does::Reset,
    "the target reset the request before its answer began, with the code INTERNAL_ERROR"
)]
#[tokio::test]
async fn an_answer_over_http_2_fails_the_attempt(#[case] does: Does, #[case] expected: &str) {
    let target = Target::start(does).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "retrying").await;
    assert!(error_of(&webhook).starts_with(expected), "{webhook}");
}

#[tokio::test]
async fn an_answer_over_http_2_that_does_not_begin_is_ended_by_the_timeout() {
    let target = Target::start(Does::Hang).await;
    let routes = target.route("timeout = \"5s\"\nretry = { attempts = 1 }");
    let hookbox = Hookbox::with_routes(Sqlite, &routes);
    let id = hookbox.rest.accept("evt-001").await;
    eventually("a request", || async { (!target.bodies().is_empty()).then_some(()) }).await;
    hookbox.advance(SignedDuration::from_secs(5));
    let webhook = hookbox.wait_for(&id, "dead_lettered").await;
    assert_eq!(error_of(&webhook), "the target sent no answer within the timeout of 5s");
    target.wait_for_reset().await;
}

#[tokio::test]
async fn a_body_over_http_2_without_end_is_read_no_further_than_it_is_kept() {
    let target = Target::start(Does::Endless).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    target.wait_for_reset().await;
}
