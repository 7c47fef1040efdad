//! What load balancers and grpcurl ask: health and reflection.

use futures::{StreamExt, stream};
use rstest::rstest;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const SERVICES: [&str; 3] =
    ["hookbox.v1.WebhookService", "hookbox.v1.OperationService", "hookbox.v1.WorkService"];

#[tokio::test]
async fn health_is_told_for_the_server_and_each_service() {
    let hookbox = Hookbox::start(Sqlite);
    let mut client = HealthClient::new(hookbox.channel());
    for service in ["", SERVICES[0], SERVICES[1], SERVICES[2]] {
        let answer = client.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = client.check(HealthCheckRequest { service: "other".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let too_long = client.check(HealthCheckRequest { service: "s".repeat(5_000) }).await.unwrap_err();
    assert_eq!(too_long.code(), Code::ResourceExhausted, "{too_long}");
}

#[rstest]
#[tokio::test]
async fn a_watcher_of_health_is_told_of_the_stop(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::start(store);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "processing").await;
    let mut client = HealthClient::new(hookbox.channel());
    let mut watched = Vec::new();
    for service in SERVICES {
        let statuses = client.watch(HealthCheckRequest { service: service.into() }).await.unwrap();
        watched.push(statuses.into_inner().map(|status| status.unwrap().status()));
    }
    for statuses in &mut watched {
        assert_eq!(statuses.next().await, Some(ServingStatus::Serving));
    }
    hookbox.begin_to_stop();
    for statuses in &mut watched {
        assert_eq!(statuses.next().await, Some(ServingStatus::NotServing));
    }
    drop((watched, gate));
}

macro_rules! lists_the_services {
    ($name:ident, $long:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version::{ServerReflectionRequest, ServiceResponse};

            let hookbox = Hookbox::start(Sqlite);
            let ask =
                |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
            let files = SERVICES.map(|service| ask(MessageRequest::FileContainingSymbol(service.into())));
            let services = [ask(MessageRequest::ListServices(String::new()))];
            let questions = stream::iter(services.into_iter().chain(files));
            let mut client = ServerReflectionClient::new(hookbox.channel());
            let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
            let mut next = async || answers.next().await.unwrap().unwrap().message_response.unwrap();
            let MessageResponse::ListServicesResponse(services) = next().await else {
                panic!("a list of services")
            };
            let listed = |name: &str| services.service.contains(&ServiceResponse { name: name.into() });
            for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
                assert!(listed(service), "{service} in {services:?}");
            }
            for service in SERVICES {
                let MessageResponse::FileDescriptorResponse(files) = next().await else {
                    panic!("the file of {service}")
                };
                assert!(!files.file_descriptor_proto.is_empty());
            }
        }

        /// The answer to each message repeats it.
        #[tokio::test]
        async fn $long() {
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;

            let hookbox = Hookbox::start(Sqlite);
            let ask = |host: String| ServerReflectionRequest {
                host,
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut client = ServerReflectionClient::new(hookbox.channel());
            let questions = stream::iter(["h".repeat(1_000), "h".repeat(5_000)].map(ask));
            let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
            assert_eq!(answers.next().await.unwrap().unwrap().valid_host.len(), 1_000);
            let end = answers.next().await;
            assert!(!matches!(end, Some(Ok(_))), "{end:?}");
        }
    };
}

lists_the_services!(
    reflection_v1_lists_the_services_and_has_their_files,
    reflection_v1_answers_no_long_message,
    v1
);
lists_the_services!(
    reflection_v1alpha_lists_the_services_and_has_their_files,
    reflection_v1alpha_answers_no_long_message,
    v1alpha
);
