//! A server with TLS that has keys, and behaves as the test says, well or badly.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::received::{Received, read};
use crate::support::tls::{Authority, Issued};

/// The hosts of the senders.
const HOSTS: [&str; 5] = [
    "sns.eu-central-1.amazonaws.com",
    "api.paypal.com",
    "www.googleapis.com",
    "production.plaid.com",
    "login.microsoftonline.com",
];

/// The pause between two bytes of an answer that trickles.
const PAUSE: Duration = Duration::from_millis(10);

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Sends these bytes, and closes the connection.
    Answer(String),
    /// Sends nothing.
    Hang,
    /// Sends a head, and then one byte after the other, without end.
    Trickle,
    /// Sends a head and a body without end, as fast as it is read.
    Endless,
}

impl Does {
    /// Answers 200 with this body.
    pub(crate) fn answer(body: &str) -> Self {
        Self::Answer(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }

    /// Answers with this status, without a body.
    pub(crate) fn answer_status(status: &str) -> Self {
        Self::Answer(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))
    }
}

/// A running server. It ends with the runtime of the test.
pub(crate) struct KeyServer {
    address: SocketAddr,
    authority: String,
    state: Arc<State>,
}

struct State {
    does: Mutex<Does>,
    requests: Mutex<Vec<Received>>,
}

impl KeyServer {
    /// A server with a certificate for all hosts of the senders.
    pub(crate) async fn start(does: Does) -> Self {
        let authority = Authority::new();
        Self::start_with(does, &authority.pem(), &authority.issue_for(&HOSTS)).await
    }

    /// A server with this certificate. `authority` is the one that is trusted.
    pub(crate) async fn start_with(does: Does, authority: &str, issued: &Issued) -> Self {
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.der()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { does: Mutex::new(does), requests: Mutex::default() });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&shared)));
            }
        });
        Self { address, authority: authority.to_owned(), state }
    }

    /// Changes what the server does with the next requests.
    pub(crate) fn does(&self, does: Does) {
        *self.state.does.lock().unwrap() = does;
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Resolves every name to this server.
    pub(crate) fn resolver(&self) -> Arc<dyn Resolve> {
        Arc::new(To(self.address))
    }

    /// The certificate of the trusted authority.
    pub(crate) fn authority(&self) -> String {
        self.authority.clone()
    }
}

struct To(SocketAddr);

impl Resolve for To {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(std::iter::once(self.0));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<State>) {
    // Fails if the client does not accept the certificate.
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let Some(request) = read(&mut stream).await else { return };
    state.requests.lock().unwrap().push(request);
    let does = state.does.lock().unwrap().clone();
    behave(&mut stream, &does).await;
    let _ = stream.shutdown().await;
}

async fn behave(stream: &mut TlsStream<TcpStream>, does: &Does) {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
    match does {
        Does::Answer(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        Does::Hang => {
            // Ready when the connection is closed.
            let _ = stream.read(&mut [0]).await;
        }
        Does::Trickle => {
            let mut is_open = stream.write_all(HEAD).await.is_ok();
            while is_open {
                is_open = stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok();
                tokio::time::sleep(PAUSE).await;
            }
        }
        Does::Endless => {
            let mut is_open = stream.write_all(HEAD).await.is_ok();
            while is_open {
                is_open = stream.write_all(&[b'x'; 16 * 1024]).await.is_ok();
            }
        }
    }
}
