//! `GET /v1/webhooks/watch`: sends the webhooks that come in, as server-sent events.

use std::convert::Infallible;

use axum::Extension;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::dto::WatchWebhooksResponse;
use super::problem::{Problem, Refused};
use super::query::parameters;
use super::watch::{KEEP_ALIVE, error_event};
use crate::domain::trace::Traceparent;
use crate::service::arrivals::ArrivalQuery;

/// The position that a browser sends when it connects again.
const LAST_EVENT_ID: &str = "last-event-id";

/// Which webhooks to send. A webhook has to match every filter that is given; an empty one counts as absent.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The `resume_after` of another stream, or the id of a webhook: begins with the webhooks after it. If absent,
    /// begins with the webhooks that come from now on.
    #[param(value_type = Option<String>, format = Uuid)]
    #[serde(default)]
    after: String,
    /// Only webhooks from this source.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    source: String,
    /// Only webhooks with a job of this route.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    route: String,
    /// Only webhooks of exactly this event type.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    event_type: String,
}

/// Sends every webhook that comes in, until the client closes the connection
///
/// Each webhook is an event named `webhook`, sent once, mostly in the order of acceptance. The first event, and later
/// ones from time to time, is named `position` and has no webhook. The id of each event is `resume_after`: a client
/// whose connection has ended calls again with it as `after`, or sends it in `Last-Event-ID`, and misses nothing. Some
/// webhooks that were sent before may then be sent again, all with ids greater than that position: with several replicas,
/// a webhook can become visible after others with greater ids. The positions for a token that is limited to sources or
/// routes tell nothing of other webhooks: each is the id of a webhook that the token sees, or made of the time alone. If
/// the server stops first, or the store fails, the last event is named `error`, and its data is a Problem. At most 64
/// streams are open at once at a process, 32 of them with the same token.
#[utoipa::path(
    get, path = "/v1/webhooks/watch", tag = "webhooks", operation_id = "WatchWebhooks",
    params(Wanted, ("Last-Event-ID" = Option<String>, Header, description = "As `after`; counts if both are given, as a browser that connects again still sends the `after` with which it began")),
    responses(
        (status = 200, description = "Events named `webhook` or `position`, each with a WatchWebhooksResponse as its data", body = WatchWebhooksResponse, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available, or too many streams are open; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn watch_webhooks(
    api: Api,
    Extension(traceparent): Extension<Traceparent>,
    uri: Uri,
    headers: HeaderMap,
    query: std::result::Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refused> {
    let Wanted { mut after, source, route, event_type } = parameters(query)?;
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) {
        after = String::from_utf8_lossy(last.as_bytes()).into_owned();
    }
    let query = ArrivalQuery::from_fields(&after, source, route, event_type)?;
    let stopping = (*api.stopping).clone().cancelled_owned();
    let arrivals = api.service.follow(query, stopping).await?;
    let events = arrivals.map(move |arrival| {
        let event = match arrival {
            Ok(arrival) => {
                let name = if arrival.webhook.is_some() { "webhook" } else { "position" };
                let event = Event::default().event(name).id(arrival.resume_after.to_string());
                event.json_data(WatchWebhooksResponse::from(arrival))
            }
            Err(error) => error_event(error, &uri, &traceparent),
        };
        // Strings and numbers always serialize.
        Ok::<_, Infallible>(event.unwrap_or_default())
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}
