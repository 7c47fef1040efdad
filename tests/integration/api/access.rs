//! Tokens, their roles and their limits, over both APIs.

mod changes;
mod everything;
mod failures;
mod hidden;
mod limits;
mod positions;
mod program;
mod reload;
mod shares;

use hookbox::internals::access::Digest;
use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::api::harness::Hookbox;
use crate::api::harness::client::Rest;

/// A token with every role, for the settings.
pub(super) const EVERY_ROLE: &str = r#"roles = ["submit", "read", "work", "operate"]"#;

/// The token with this name.
pub(super) fn secret(name: &str) -> String {
    format!("hbx_secret-of-{name}")
}

/// The settings of the token with this name.
pub(super) fn token(name: &str, members: &str) -> String {
    let sha256 = Digest::of(secret(name).as_bytes()).to_hex();
    format!("[tokens.{name}]\nsha256 = \"{sha256}\"\n{members}\n")
}

/// A client of REST with the token of this name.
pub(super) fn rest(hookbox: &Hookbox, name: &str) -> Rest {
    hookbox.rest.with_token(&secret(name))
}

/// Adds a token to each call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(super) fn bearer(token: &str) -> Bearer {
    Bearer(format!("Bearer {token}").parse().unwrap())
}

/// A gRPC client with the token of this name.
pub(super) fn grpc(
    hookbox: &Hookbox,
    name: &str,
) -> WebhookServiceClient<InterceptedService<Channel, Bearer>> {
    WebhookServiceClient::with_interceptor(hookbox.channel(), bearer(&secret(name)))
}
