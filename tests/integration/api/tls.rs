//! TLS on both ports.

mod clients;
mod commands;
mod roots;
mod rotation;
mod settings;

use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use hookbox::internals::grpc::proto::{GetStatsRequest, GetWebhookRequest};
use hyper_util::rt::TokioIo;
use reqwest::Version;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::api::harness::client::body;
use crate::api::harness::{Hookbox, Sqlite};
use crate::support::tls::{Authority, Issued, connect, sender};

/// A folder with certificates, and a hookbox that uses them.
pub(super) struct Secured {
    folder: TempDir,
    pub(super) hookbox: Hookbox,
    pub(super) authority: Authority,
    /// The certificate of the server.
    issued: Issued,
}

impl Secured {
    pub(super) fn start() -> Self {
        Self::with("")
    }

    /// With these members of `[tls]` besides. `FOLDER` in them is the folder.
    fn with(members: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (authority, clients) = (Authority::new(), Authority::new());
        let issued = authority.issue();
        issued.write(folder.path());
        let client = clients.issue();
        for (name, pem) in
            [("clients.pem", clients.pem()), ("client.pem", client.cert), ("client.key", client.key)]
        {
            std::fs::write(folder.path().join(name), pem).expect("is written");
        }
        let settings = format!("[tls]\ncert = \"FOLDER/server.pem\"\nkey = \"FOLDER/server.key\"\n{members}");
        let settings = settings.replace("FOLDER", &folder.path().display().to_string());
        let hookbox = Hookbox::with_routes(Sqlite, &settings);
        Self { folder, hookbox, authority, issued }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.hookbox.rest.address().port())
    }

    /// A client of the contract over TLS.
    pub(super) async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let (address, tls) = (self.hookbox.grpc_address(), self.authority.client(None, &["h2"]));
        let connector = tower::service_fn(move |_: Uri| {
            let tls = tls.clone();
            async move { connect(address, tls).await.map(TokioIo::new) }
        });
        // TLS is that of the connector.
        Endpoint::from_static("http://localhost").connect_with_connector(connector).await
    }

    /// What clients of `client_ca` show.
    fn client(&self) -> Issued {
        let read = |name| std::fs::read_to_string(self.folder.path().join(name)).expect("is there");
        Issued { cert: read("client.pem"), key: read("client.key") }
    }
}

#[rstest]
#[case::http_1("http/1.1", Version::HTTP_11)]
#[case::http_2("h2", Version::HTTP_2)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_is_served_over_tls_with_the_protocol_that_the_client_offers(
    #[case] protocol: &str,
    #[case] version: Version,
) {
    let secured = Secured::start();
    let sender = secured.authority.sender(&[protocol]);
    let health = sender.get(secured.url("/healthz")).send().await.expect("answers");
    assert_eq!((health.status().as_u16(), health.version()), (200, version));
    // Much more than fits into one record of TLS, and into the buffers of the system.
    let text = "x".repeat(900_000);
    let submission = body("evt-001", "order.created", &format!("\"{text}\""));
    let posted = sender.post(secured.url("/v1/webhooks")).header(CONTENT_TYPE, "application/json");
    let posted = posted.body(submission).send().await.expect("answers");
    assert_eq!(posted.status().as_u16(), 202);
    let accepted: serde_json::Value = posted.json().await.expect("JSON");
    let path = format!("/v1/webhooks/{}", accepted["id"].as_str().expect("an id"));
    let read: serde_json::Value =
        sender.get(secured.url(&path)).send().await.expect("answers").json().await.expect("JSON");
    assert_eq!(read["payload"], text.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_its_health_and_its_calls_are_served_over_tls() {
    let secured = Secured::start();
    let channel = secured.channel().await.expect("connects");
    let mut health = HealthClient::new(channel.clone());
    let served = health.check(HealthCheckRequest::default()).await.expect("answers").into_inner();
    assert_eq!(served.status, 1, "SERVING");
    let mut calls = WebhookServiceClient::new(channel);
    calls.get_stats(GetStatsRequest::default()).await.expect("answers");
    let unknown = GetWebhookRequest { id: uuid::Uuid::nil().to_string(), ..Default::default() };
    let refused = calls.get_webhook(unknown).await.expect_err("is not there");
    assert_eq!(refused.code(), tonic::Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_trust_the_authority_refuses_the_server() {
    let secured = Secured::start();
    let stranger = Authority::new().sender(&["http/1.1"]);
    assert!(stranger.get(secured.url("/healthz")).send().await.expect_err("is refused").is_connect());
    let served = secured.authority.sender(&["http/1.1"]).get(secured.url("/healthz")).send().await;
    assert_eq!(served.expect("answers").status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_client_ca_only_clients_with_a_certificate_of_it_are_served() {
    let secured = Secured::with("client_ca = \"FOLDER/clients.pem\"\n");
    let stranger = Authority::new().issue();
    for (shown, is_served) in [(None, false), (Some(&stranger), false), (Some(&secured.client()), true)] {
        let rest = sender(secured.authority.client(shown, &["http/1.1"]));
        let answer = rest.get(secured.url("/v1/stats")).send().await;
        assert_eq!(answer.is_ok_and(|answer| answer.status() == 200), is_served);
        // With TLS 1.3 the client learns only when it reads that its certificate was not accepted.
        let grpc = connect(secured.hookbox.grpc_address(), secured.authority.client(shown, &["h2"])).await;
        let begun = async {
            let mut stream = grpc?;
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
            stream.flush().await?;
            stream.read_exact(&mut [0; 9]).await
        };
        assert_eq!(begun.await.is_ok(), is_served);
    }
}

#[rstest]
#[case::plain_http(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")]
#[case::plain_http_2(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]
#[case::garbage(b"\x16\x03\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")]
#[case::nulls(&[0; 4096])]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_tls_is_closed_and_others_are_served(#[case] sent: &[u8]) {
    let secured = Secured::start();
    for address in [secured.hookbox.rest.address(), secured.hookbox.grpc_address()] {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(sent).await.expect("sends");
        stream.shutdown().await.expect("ends");
        // An alert of TLS at the most. The connection may also be reset.
        let mut answer = Vec::new();
        // A handshake that does not go on would be given up after 10 s.
        let closed = tokio::time::timeout(std::time::Duration::from_secs(9), stream.read_to_end(&mut answer));
        let _ = closed.await.expect("in time");
        assert!(answer.len() < 100 && !answer.starts_with(b"HTTP"), "{answer:?}");
    }
    let served = secured.authority.sender(&["h2"]).get(secured.url("/readyz")).send().await;
    assert_eq!(served.expect("answers").status().as_u16(), 200);
    secured.channel().await.expect("connects");
}

#[tokio::test]
async fn tls_on_a_port_without_tls_is_a_bad_request() {
    let hookbox = Hookbox::start(Sqlite);
    let mut stream = TcpStream::connect(hookbox.rest.address()).await.expect("connects");
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await.expect("sends");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("answers");
    assert_eq!(&answer, b"HTTP/1.1 400");
}
