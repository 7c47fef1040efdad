//! `GET /v1/webhooks/{id}/watch` and `GET /v1/watch`: send the status after every change of any job, as server-sent
//! events.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

use super::Api;
use super::by_key::{self, ByKey};
use super::dto::StatusBody;
use super::problem::{Problem, Refused};
use super::query::Id;
use crate::domain::error::Error;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::WebhookName;

/// After this long without an event a comment is sent, so that proxies keep the connection open.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Sends the current status, then the status after every change of any job, until all jobs are final
///
/// Final are `completed`, `dead_lettered` and `cancelled`. Each status is an event named `status`. Changes
/// that follow each other closely may be sent as one. A quarantined webhook is watched until an operator releases it, and
/// then until its jobs are final. If the server stops first, the store fails, or a quarantined webhook is removed, the
/// last event is named `error`, and its data is a Problem. If the stream ends without such an event, all
/// jobs are final.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/watch", tag = "webhooks", operation_id = "WatchStatus",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid)),
    responses(
        (status = 200, description = "Events named `status`, each with a WebhookStatus as its data", body = StatusBody, content_type = "text/event-stream"),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The webhook was never accepted, or was removed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available, or there are too many watchers; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn watch_status(
    api: Api,
    Id(id): Id,
    Extension(traceparent): Extension<Traceparent>,
    uri: Uri,
) -> Result<Response, Refused> {
    watch(api, WebhookName::Id(id), traceparent, uri).await
}

/// Sends the current status, then the status after every change of any job, until all jobs are final, by the sender's key
///
/// The events are those of `/v1/webhooks/{id}/watch`.
#[utoipa::path(
    get, path = "/v1/watch", tag = "webhooks", operation_id = "WatchStatusByKey", params(ByKey),
    responses(
        (status = 200, description = "Events named `status`, each with a WebhookStatus as its data", body = StatusBody, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The webhook was never accepted, was removed, or is in quarantine, where it has no key", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available, or there are too many watchers; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn watch_status_by_key(
    api: Api,
    Extension(traceparent): Extension<Traceparent>,
    uri: Uri,
    query: std::result::Result<Query<ByKey>, QueryRejection>,
) -> Result<Response, Refused> {
    watch(api, by_key::name(query)?, traceparent, uri).await
}

async fn watch(api: Api, name: WebhookName, traceparent: Traceparent, uri: Uri) -> Result<Response, Refused> {
    let stopping = (*api.stopping).clone().cancelled_owned();
    let changes = api.service.watch(name, stopping).await?;
    let events = changes.map(move |change| {
        let event = match change {
            Ok(status) => Event::default().event("status").json_data(StatusBody::from(status)),
            Err(error) => error_event(error, &uri, &traceparent),
        };
        // Strings and numbers always serialize.
        Ok::<_, Infallible>(event.unwrap_or_default())
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// The last event of a stream that ends with an error. Its data is a Problem.
pub(super) fn error_event(error: Error, uri: &Uri, traceparent: &Traceparent) -> Result<Event, axum::Error> {
    let refused = Refused::from(error);
    let problem = refused.problem(uri.path(), traceparent.trace_id());
    Event::default().event("error").json_data(problem)
}
