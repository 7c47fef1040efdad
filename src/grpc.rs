//! gRPC: serves the service with tonic. Knows neither REST nor the inside of a store.

mod access;
mod answer;
mod calls;
mod convert;
mod deadline;
mod messages;
mod operations;
mod reflection;
mod span;
mod status;
mod webhooks;
mod work;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tower::util::MapResponseLayer;

use self::access::AccessLayer;
use self::calls::CallsLayer;
pub use self::convert::{memory_of, new_webhook};
use self::operations::Operations;
use self::proto::operation_service_server::OperationServiceServer;
use self::proto::webhook_service_server::WebhookServiceServer;
use self::proto::work_service_server::WorkServiceServer;
pub use self::status::{GrpcReason, code_of};
use self::webhooks::Webhooks;
use self::work::Work;
use crate::connections::{Bodies, CONNECTION_WINDOW_BYTES, Connections, STREAM_WINDOW_BYTES, Stream};
use crate::service::Service;
use crate::service::work::MAX_WORK_BYTES;
use crate::tls::PortTls;

/// The messages and services that prost and tonic generate from the proto.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated; the proto has the documentation"
)]
pub mod proto {
    tonic::include_proto!("hookbox.v1");

    /// The proto as encoded descriptors, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hookbox_descriptor.bin"));
}

/// What a message may have besides its payload, in bytes: names and protobuf's framing.
const MESSAGE_OVERHEAD_BYTES: usize = 16 * 1024;

/// The most bytes of a message of health and reflection, which names a service, a type or a file. Reflection answers a
/// message together with its text, and needs no token.
const OPEN_MESSAGE_BYTES: usize = 4 * 1024;

/// How many times larger than its JSON an encoded `google.protobuf.Value` may be.
const VALUE_OVERHEAD_FACTOR: usize = 2;

/// How long a connection may be silent before the server sends a ping, and how long the client may take to
/// answer it.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The most calls of a connection at once.
const MAX_STREAMS: u32 = 200;

/// How long open calls may take to finish at shutdown; after that they are cut off.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What the gRPC handlers share.
#[derive(Clone, Debug)]
pub struct Api {
    /// The use cases.
    pub service: Service,
    /// The largest payload, in bytes.
    pub max_body_bytes: usize,
    /// The memory for messages that are arriving.
    pub bodies: Bodies,
    /// Cancelled when the process is about to stop: it is no longer ready, but still serves.
    pub leaving: Arc<CancellationToken>,
    /// Cancelled when the process begins to stop.
    pub stopping: Arc<CancellationToken>,
}

/// Serves all services, health and reflection on a listener until `stopping` is cancelled, then gives open
/// calls `DRAIN_TIME` to finish. Connections without a call have to be closed meanwhile ([`Connections::close_idle`]).
/// Errors: the connections cannot be served.
pub async fn serve(
    listener: TcpListener,
    tls: Option<PortTls>,
    connections: Connections,
    api: Api,
    stopping: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (calls, access, leaving) = (CallsLayer(api.clone()), AccessLayer(api.clone()), api.leaving.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    let health_service = health_service.max_decoding_message_size(OPEN_MESSAGE_BYTES);
    let webhooks = WebhookServiceServer::new(Webhooks(api.clone()))
        .max_decoding_message_size(api.max_body_bytes * VALUE_OVERHEAD_FACTOR + MESSAGE_OVERHEAD_BYTES);
    let operations = OperationServiceServer::new(Operations(api.clone()))
        .max_decoding_message_size(MESSAGE_OVERHEAD_BYTES);
    let work = WorkServiceServer::new(Work(api)).max_decoding_message_size(MAX_WORK_BYTES);
    health.set_serving::<WebhookServiceServer<Webhooks>>().await;
    health.set_serving::<OperationServiceServer<Operations>>().await;
    health.set_serving::<WorkServiceServer<Work>>().await;
    let services = reflection::routes()
        .add_service(health_service)
        .add_service(webhooks)
        .add_service(operations)
        .add_service(work);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .layer(calls)
        .layer(access)
        .layer(MapResponseLayer::new(status::explain))
        .add_routes(services);
    let (begun, incoming) = mpsc::channel(1);
    // In this task, so that a panic ends it: otherwise the server would end as if it had been stopped.
    let accepting = async {
        stopping.run_until_cancelled(accept(connections, listener, tls, begun, &stopping)).await;
        std::future::pending::<()>().await;
    };
    let incoming = ReceiverStream::new(incoming);
    let serving = server.serve_with_incoming_shutdown(incoming, stopping.clone().cancelled_owned());
    let drained = async {
        leaving.cancelled().await;
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        health.set_not_serving::<WebhookServiceServer<Webhooks>>().await;
        health.set_not_serving::<OperationServiceServer<Operations>>().await;
        health.set_not_serving::<WorkServiceServer<Work>>().await;
        stopping.cancelled().await;
        tokio::time::sleep(DRAIN_TIME).await;
    };
    tokio::select! {
        served = serving => served,
        () = accepting => Ok(()),
        () = drained => {
            tracing::warn!("some calls did not end in time and were cut off");
            Ok(())
        }
    }
}

/// Accepts connections, and hands over each one when its client has sent something. HTTP/2 needs memory and writes to
/// a connection as soon as it is served, even if the client never sends anything. Once `stopping` is cancelled, a
/// connection whose client has sent nothing, or has not ended its TLS handshake, is closed.
async fn accept(
    connections: Connections,
    listener: TcpListener,
    tls: Option<PortTls>,
    begun: mpsc::Sender<io::Result<Stream>>,
    stopping: &CancellationToken,
) {
    loop {
        let (stream, tls, begun) = (connections.accept(&listener).await, tls.clone(), begun.clone());
        let stopping = stopping.clone();
        tokio::spawn(async move {
            let secured = async { stream.secured(tls.as_ref()).await?.begun().await };
            match stopping.run_until_cancelled(secured).await {
                // It fails if the process stops; the connection is closed then.
                Some(Ok(stream)) => drop(begun.send(Ok(stream)).await),
                Some(Err(error)) => {
                    tracing::debug!(error = %error, "a connection ended before its first call");
                }
                None => {}
            }
        });
    }
}
