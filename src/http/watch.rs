//! `GET /v1/webhooks/{id}/watch`: the status after every change of any job, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

use super::Api;
use super::dto::StatusBody;
use super::problem::{Problem, Refused};
use super::query::Id;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::WebhookName;

/// A comment is sent after this long without a change, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The status as it is now, then after every change of any job, until all jobs are final
///
/// Each is an event named `status`. If the server stops first, or the store fails, the last event is
/// named `error`, and its data is a Problem. A stream without an `error` that ends has told everything.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/watch", tag = "webhooks", operation_id = "WatchStatus",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid)),
    responses(
        (status = 200, description = "Events named `status`, each with a WebhookStatus as its data", body = StatusBody, content_type = "text/event-stream"),
        (status = 400, description = "The id is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such webhook", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn watch_status(
    State(api): State<Api>,
    Id(id): Id,
    Extension(traceparent): Extension<Traceparent>,
    uri: Uri,
) -> Result<Response, Refused> {
    let stopping = api.stopping.clone().cancelled_owned();
    let changes = api.service.watch(WebhookName::Id(id), stopping).await?;
    let events = changes.map(move |change| {
        let event = match change {
            Ok(status) => Event::default().event("status").json_data(StatusBody::from(status)),
            Err(error) => {
                let refused = Refused::from(error);
                let problem = refused.problem(uri.path(), traceparent.trace_id());
                Event::default().event("error").json_data(problem)
            }
        };
        // Strings and numbers always serialize.
        Ok::<_, Infallible>(event.unwrap_or_default())
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}
