//! Events of the stream of new webhooks.

use serde::Serialize;
use utoipa::ToSchema;

use super::StatusBody;
use crate::service::arrivals::Arrival;

/// A webhook that has come in, and the position of the stream after it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct WatchWebhooksResponse {
    /// The webhook with its status at this moment; null if only the position has changed.
    webhook: Option<StatusBody>,
    /// The position: a stream that begins after it sends every webhook that this one has not sent yet.
    #[schema(format = Uuid)]
    resume_after: String,
}

impl From<Arrival> for WatchWebhooksResponse {
    fn from(arrival: Arrival) -> Self {
        Self {
            webhook: arrival.webhook.map(StatusBody::from),
            resume_after: arrival.resume_after.to_string(),
        }
    }
}
