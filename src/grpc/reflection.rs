//! Reflection: tells tools what services there are, and what their messages are made of.

use std::sync::LazyLock;

use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

use super::{OPEN_MESSAGE_BYTES, proto};

/// Both versions of the service. Made once in a process, because all descriptors are decoded for each of them.
static SERVICES: LazyLock<Result<Routes, Error>> = LazyLock::new(|| {
    let v1 = builder().build_v1()?.max_decoding_message_size(OPEN_MESSAGE_BYTES);
    let v1alpha = builder().build_v1alpha()?.max_decoding_message_size(OPEN_MESSAGE_BYTES);
    Ok(Routes::new(v1).add_service(v1alpha))
});

/// The paths of reflection, for those of the other services to be added.
pub(super) fn routes() -> Routes {
    match &*SERVICES {
        Ok(services) => services.clone(),
        // The descriptors come from the build and decode, so reflection does not refuse them.
        Err(error) => {
            tracing::error!(error = %error, "gRPC reflection is off");
            Routes::default()
        }
    }
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
