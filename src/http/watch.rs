//! `GET /v1/webhooks/{id}/watch`: every change of status, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

use super::dto::StatusBody;
use super::problem::{Problem, Refused};
use super::{Api, Id};
use crate::domain::webhook::WebhookName;

/// A comment is sent after this long without a change, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The status as it is now, then every change of it, until a final one
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/watch", tag = "webhooks", operation_id = "WatchStatus",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid)),
    responses(
        (status = 200, description = "Events named `status`, the data a WebhookStatus", body = StatusBody, content_type = "text/event-stream"),
        (status = 400, description = "The id is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such webhook", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn watch_status(State(api): State<Api>, Id(id): Id) -> Result<Response, Refused> {
    let changes = api.service.watch(WebhookName::Id(id)).await?;
    let events = changes
        .map(|change| {
            Ok::<_, Infallible>(match change {
                // Strings and numbers always serialize.
                Ok(status) => {
                    Event::default().event("status").json_data(StatusBody::from(status)).unwrap_or_default()
                }
                Err(error) => Event::default().event("error").data(error.detail()),
            })
        })
        .take_until(api.stopping.clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}
