//! The one place that makes a problem document (RFC 9457) of an error.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::error::{Error, Reason};

/// What is answered instead, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    /// Names the kind of problem: `urn:hookbox:problem:<reason in lower case>`.
    #[schema(example = "urn:hookbox:problem:idempotency-key-reused")]
    r#type: String,
    /// One line for people, the same for every occurrence.
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What happened, why, and what to do next.
    detail: &'a str,
    /// The path that was asked for.
    #[schema(example = "/v1/webhooks")]
    instance: &'a str,
    /// The reason, for programs; the same as in gRPC.
    #[schema(example = "IDEMPOTENCY_KEY_REUSED")]
    reason: &'a str,
    /// The field at fault, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// The trace of the request, as in logs and traces.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    trace_id: &'a str,
}

/// The HTTP status of a reason.
pub const fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::MalformedJson | Reason::InvalidField => StatusCode::BAD_REQUEST,
        Reason::WebhookNotFound | Reason::PathNotFound => StatusCode::NOT_FOUND,
        Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Reason::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Reason::WrongStatus => StatusCode::CONFLICT,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Reason::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::BacklogFull | Reason::StoreUnavailable | Reason::ShuttingDown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// An error on its way out of a handler. It becomes a document once path and trace are known.
#[derive(Debug)]
pub(super) struct Refused(Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = status_of(self.0.reason()).into_response();
        response.extensions_mut().insert(Held(std::sync::Arc::new(self.0)));
        response
    }
}

#[derive(Clone)]
struct Held(std::sync::Arc<Error>);

/// Writes the document into a response that carries an error; others stay as they are.
pub(super) fn complete(mut response: Response, instance: &str, trace_id: &str) -> Response {
    let Some(Held(error)) = response.extensions_mut().remove::<Held>() else { return response };
    let reason = error.reason();
    let status = status_of(reason);
    if status.is_server_error() {
        let cause = std::error::Error::source(error.as_ref()).map(ToString::to_string);
        tracing::warn!(trace_id, reason = reason.as_str(), cause, "a request could not be served: {error}");
    }
    let problem = Problem {
        r#type: format!("urn:hookbox:problem:{}", reason.as_str().to_ascii_lowercase().replace('_', "-")),
        title: reason.title(),
        status: status.as_u16(),
        detail: error.detail(),
        instance,
        reason: reason.as_str(),
        field: error.field(),
        trace_id,
    };
    // Strings and a number always serialize.
    *response.body_mut() = Body::from(serde_json::to_vec(&problem).unwrap_or_default());
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(delay) = error.retry_delay() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
    }
    response
}

/// `Retry-After` takes whole seconds: rounded up, never 0.
pub(super) fn whole_seconds(delay: std::time::Duration) -> u64 {
    delay.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
}
