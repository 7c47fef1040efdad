//! Clients that ask for what needs no token, and do not take the answers.

use futures::future::select_all;
use futures::stream;
use prost::Message as _;
use reqwest::StatusCode;
use rstest::rstest;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::closed_window::ClosedWindow;
use super::readers::{LARGE_BYTES, submit};
use super::{SOON, keep_no_sender_out, serves};
use crate::support::client::{client, eventually, within};
use crate::support::server::{Place, Server};

const SETTINGS: &[&str] = &["--simulate-min=0s", "--simulate-max=0s"];

/// The calls of reflection that a process answers at once.
const REFLECTIONS: usize = 32;

/// Connections, and the most requests of each. Without the first one of each connection, they are more than the 4,096
/// requests with which hookbox waits for clients at most.
const CONNECTIONS: usize = 22;
const REQUESTS: usize = 200;

/// Reads of webhooks that a connection makes at once. Further ones wait.
const READS: usize = 16;

#[rstest]
#[case::an_answer("/healthz", 1)]
#[case::a_refusal("/v1/nothing", 1)]
#[case::a_read_that_waits_for_others("/v1/webhooks/01934c3e-7b00-7000-8000-000000000000", READS + 1)]
#[tokio::test]
async fn answers_that_are_not_taken_keep_no_sender_out(#[case] path: &str, #[case] requests: usize) {
    keep_no_sender_out(async |server: &Server| {
        let mut stranger = ClosedWindow::connect(server.http_address()).await;
        for _ in 0..requests {
            stranger.get(path).await;
        }
        stranger.answered(requests.min(READS)).await;
        stranger
    })
    .await;
}

#[tokio::test]
async fn connections_with_the_most_answers_that_are_not_taken_are_closed_if_there_are_too_many() {
    let place = Place::new(SETTINGS);
    let server = place.start();
    let mut strangers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stranger = ClosedWindow::connect(server.http_address()).await;
        for _ in 0..REQUESTS {
            stranger.get("/healthz").await;
        }
        strangers.push(Box::pin(stranger.until_closed()));
    }
    let closed = within(SOON * 3, select_all(strangers)).await;
    let (.., others) = closed.expect("one of them is closed");
    serves(&server, "beside the others").await;
    server.says("too many requests wait for their clients").await;
    drop(others);
}

/// Together, the answers are larger than the memory for answers.
#[rstest]
#[case::a_file("/docs/swagger-ui-bundle.js", 1, 60)]
#[case::the_openapi_document("/openapi.json", 3, 200)]
#[tokio::test]
async fn documentation_that_is_not_taken_leaves_the_memory_to_other_answers(
    #[case] path: &str,
    #[case] connections: usize,
    #[case] requests: usize,
) {
    let place = Place::new(SETTINGS);
    let server = place.start();
    let reader = client();
    let large = submit(&reader, &server, "large", LARGE_BYTES).await;
    let mut strangers = Vec::new();
    for _ in 0..connections {
        let mut stranger = ClosedWindow::connect(server.http_address()).await;
        for _ in 0..requests {
            stranger.get(path).await;
        }
        stranger.answered(requests).await;
        strangers.push(stranger);
    }
    let answer = reader.get(server.url(&format!("/v1/webhooks/{large}"))).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.expect("all of it").len() > LARGE_BYTES);
}

fn services() -> ServerReflectionRequest {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    ServerReflectionRequest { host: String::new(), message_request }
}

/// Asks for the services over a new connection.
async fn reflect(server: &Server) -> Result<(), Status> {
    let endpoint = Endpoint::from_shared(server.grpc_url()).expect("is a URL");
    let mut client = ServerReflectionClient::new(endpoint.connect().await.expect("connects"));
    let mut answers = client.server_reflection_info(stream::iter([services()])).await?.into_inner();
    answers.message().await?.map(drop).ok_or_else(|| Status::internal("there is no answer"))
}

#[tokio::test]
async fn calls_of_reflection_that_are_not_taken_are_few_and_keep_no_sender_out() {
    let place = Place::new(SETTINGS);
    let server = place.start();
    let message = services().encode_to_vec();
    let mut stranger = ClosedWindow::connect(server.grpc_address()).await;
    for _ in 0..REFLECTIONS + 1 {
        stranger.call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &message).await;
    }
    stranger.answered(REFLECTIONS + 1).await;
    let refused = reflect(&server).await.expect_err("all calls are taken");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    serves(&server, "beside").await;
    drop(stranger);
    eventually("reflection answers again", async || reflect(&server).await.ok()).await;
}
