//! gRPC: the tonic facade over the service. Knows neither REST nor what is inside of a store.

mod answer;
mod convert;
mod operations;
mod status;
mod webhooks;

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tower::util::MapResponseLayer;

use self::operations::Operations;
use self::proto::operation_service_server::OperationServiceServer;
use self::proto::webhook_service_server::WebhookServiceServer;
pub use self::status::{GrpcReason, code_of};
use self::webhooks::Webhooks;
use crate::service::Service;

/// The contract, as prost and tonic make it of the proto.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated; the proto has the documentation"
)]
pub mod proto {
    tonic::include_proto!("hookbox.v1");

    /// The contract as descriptors, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hookbox_descriptor.bin"));
}

/// What a message may have besides a payload: names, and protobuf's framing.
const MESSAGE_OVERHEAD_BYTES: usize = 16 * 1024;

/// A `google.protobuf.Value` takes more room than the JSON it stands for.
const VALUE_OVERHEAD_FACTOR: usize = 2;

/// How long a connection may be silent before it is asked whether it is alive, and to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long open calls may take after the stop.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What handlers need.
#[derive(Clone, Debug)]
pub struct Api {
    /// The use cases.
    pub service: Service,
    /// The largest payload, in bytes.
    pub max_body_bytes: usize,
    /// Cancelled when the process begins to stop.
    pub stopping: CancellationToken,
}

/// Serves the contract, health and reflection on a listener until `stopping`, then lets open
/// calls finish.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    stopping: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let webhooks = WebhookServiceServer::new(Webhooks(api.clone()))
        .max_decoding_message_size(api.max_body_bytes * VALUE_OVERHEAD_FACTOR + MESSAGE_OVERHEAD_BYTES);
    let operations =
        OperationServiceServer::new(Operations(api)).max_decoding_message_size(MESSAGE_OVERHEAD_BYTES);
    health.set_serving::<WebhookServiceServer<Webhooks>>().await;
    health.set_serving::<OperationServiceServer<Operations>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .tcp_nodelay(true)
        .layer(MapResponseLayer::new(status::explain))
        .add_service(health_service)
        .add_service(webhooks)
        .add_service(operations);
    // The descriptors are those the build made; reflection refuses only what does not decode.
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => server = server.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => tracing::error!(error = %error, "gRPC reflection is off"),
    }
    let serving = server
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopping.clone().cancelled_owned());
    let drained = async {
        stopping.cancelled().await;
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        health.set_not_serving::<WebhookServiceServer<Webhooks>>().await;
        health.set_not_serving::<OperationServiceServer<Operations>>().await;
        tokio::time::sleep(DRAIN_TIME).await;
    };
    tokio::select! {
        served = serving => served,
        () = drained => {
            tracing::warn!("some calls did not end in time and were cut off");
            Ok(())
        }
    }
}
