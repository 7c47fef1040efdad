//! Turns errors into problem documents (RFC 9457). No other module does.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::dto::CauseWord;
use super::reason::{RestReason, status_of};
use crate::domain::duration::whole_seconds;
use crate::domain::error::{Error, Reason, Violation, cut};
use crate::domain::verdict::Cause;
use crate::service::log_unserved;

/// The media type of problem documents.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// The most bytes of a text in a problem document. A document that quotes a path needs no memory of that for large
/// answers then, which clients without a token could use up.
pub(super) const MAX_TEXT_BYTES: usize = 3_000;

/// After which time the sender of a source may send a body again that came too slowly.
const SLOW_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A problem document (RFC 9457): why a request was refused, or failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    /// Names the kind of problem: `urn:hookbox:problem:<reason in lower case, with hyphens>`.
    r#type: String,
    /// One line for people, the same for all errors with this reason.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened, why, and what to do next.
    #[schema(value_type = String)]
    detail: Cow<'a, str>,
    /// The path of the request.
    #[schema(value_type = String, example = "/v1/webhooks")]
    instance: Cow<'a, str>,
    /// The reason in UPPER_SNAKE_CASE, for programs; the same word as in gRPC.
    reason: &'a str,
    /// The name of the first field at fault; absent if no field is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    field: Option<Cow<'a, str>>,
    /// Every field at fault; absent if no field is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    violations: Vec<FieldViolation<'a>>,
    /// The id of the webhook that has the idempotency key; absent unless the reason is
    /// `IDEMPOTENCY_KEY_REUSED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    webhook_id: Option<String>,
    /// Why the request is not verified; absent unless the reason is `NOT_VERIFIED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CauseWord>)]
    cause: Option<&'static str>,
    /// The trace of the request, as in logs and traces: 32 hex digits.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    trace_id: &'a str,
}

/// A field at fault.
#[derive(Debug, Serialize, ToSchema)]
struct FieldViolation<'a> {
    /// The name of the field.
    #[schema(value_type = String)]
    field: Cow<'a, str>,
    /// What is wrong with the field.
    #[schema(value_type = String)]
    detail: Cow<'a, str>,
}

impl<'a> From<&'a Violation> for FieldViolation<'a> {
    fn from(violation: &'a Violation) -> Self {
        let Violation { field, detail } = violation;
        Self { field: cut(field, MAX_TEXT_BYTES), detail: cut(detail, MAX_TEXT_BYTES) }
    }
}

/// An error that a handler returns. [`complete`] writes its document, once path and trace are known.
#[derive(Debug)]
pub(super) enum Refused {
    /// The service refused the request, or failed.
    Error(Error),
    /// The service refused the request, and the sender of the source understands this status.
    WithStatus(Error, StatusCode),
    /// The body came too slowly, with a text for people, and the sender of the source understands this status.
    TooSlow(String, StatusCode),
    /// REST itself refused the request, with a text for people.
    Request(RestReason, String),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Refused {
    /// The problem document of this error.
    pub(super) fn problem<'a>(&'a self, instance: &'a str, trace_id: &'a str) -> Problem<'a> {
        let (reason, error) = (self.reason(), self.error());
        let title = match self {
            Self::Error(error) | Self::WithStatus(error, _) => error.reason().title(),
            Self::TooSlow(..) => RestReason::BodyTimeout.title(),
            Self::Request(reason, _) => reason.title(),
        };
        let violations = error.map_or(&[][..], Error::violations);
        Problem {
            r#type: format!("urn:hookbox:problem:{}", reason.to_ascii_lowercase().replace('_', "-")),
            title,
            status: self.status().as_u16(),
            detail: cut(self.detail(), MAX_TEXT_BYTES),
            instance: cut(instance, MAX_TEXT_BYTES),
            reason,
            field: self.field().map(|field| cut(field, MAX_TEXT_BYTES)),
            violations: violations.iter().map(Into::into).collect(),
            webhook_id: error.and_then(Error::webhook).map(|id| id.to_string()),
            cause: error.and_then(Error::unverified).map(Cause::as_str),
            trace_id,
        }
    }

    /// The reason in UPPER_SNAKE_CASE.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Error(error) | Self::WithStatus(error, _) => error.reason().as_str(),
            Self::TooSlow(..) => RestReason::BodyTimeout.as_str(),
            Self::Request(reason, _) => reason.as_str(),
        }
    }

    /// What happened, why, and what to do next.
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Error(error) | Self::WithStatus(error, _) => error.detail(),
            Self::TooSlow(detail, _) | Self::Request(_, detail) => detail,
        }
    }

    /// The name of the first field at fault, if there is one.
    pub(super) fn field(&self) -> Option<&str> {
        self.error().and_then(Error::field)
    }

    /// The HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Error(error) => status_of(error.reason()),
            Self::WithStatus(_, status) | Self::TooSlow(_, status) => *status,
            Self::Request(reason, _) => reason.status(),
        }
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Self::Error(error) | Self::WithStatus(error, _) => Some(error),
            Self::TooSlow(..) | Self::Request(..) => None,
        }
    }

    /// The response of this error with another body than a problem document.
    pub(super) fn answered_by(self, mut response: Response) -> Response {
        *response.status_mut() = self.status();
        response.extensions_mut().insert(Held { refused: Arc::new(self), has_body: true });
        response
    }

    /// After what time another try can help.
    fn retry_delay(&self) -> Option<Duration> {
        match self {
            Self::TooSlow(..) => Some(SLOW_RETRY_AFTER),
            _ => self.error().and_then(Error::retry_delay),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Held { refused: Arc::new(self), has_body: false });
        response
    }
}

/// Carries the error in the extensions of its response until [`complete`] writes the document.
#[derive(Clone)]
struct Held {
    refused: Arc<Refused>,
    /// Whether the response has its body already.
    has_body: bool,
}

/// Writes the problem document, unless there is a body already, `Retry-After` if another try can help, and
/// `WWW-Authenticate` if a token is needed, into a response that carries an error. Leaves any other response unchanged.
/// Logs errors that are answered with a 5xx status, which a source can choose.
pub(super) fn complete(mut response: Response, instance: &str, trace_id: &str) -> Response {
    let held = response.extensions_mut().remove::<Held>();
    let Some(Held { refused, has_body }) = held else { return response };
    if !has_body {
        let problem = refused.problem(instance, trace_id);
        // Strings and a number always serialize.
        *response.body_mut() = Body::from(serde_json::to_vec(&problem).unwrap_or_default());
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    }
    let headers = response.headers_mut();
    if let Some(delay) = refused.retry_delay() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
    }
    if let Some(error) = refused.error() {
        if error.reason() == Reason::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if refused.status().is_server_error() {
            log_unserved(error, trace_id);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of an answer, which need no memory of that for large answers.
    const ROOM_BYTES: usize = 16 * 1024;

    #[test]
    fn a_document_that_quotes_a_long_path_needs_no_memory_of_large_answers() {
        let path = format!("/{}", "\"".repeat(64 * 1024));
        let refused = Refused::Request(RestReason::PathNotFound, format!("nothing is served at {path:?}"));
        let problem = refused.problem(&path, "4bf92f3577b34da6a3ce929d0e0e4736");
        let document = serde_json::to_vec(&problem).expect("is JSON");
        assert!(document.len() < ROOM_BYTES, "{}", document.len());
    }
}
