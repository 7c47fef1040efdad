//! What senders of sources are answered to what is accepted, and with the bodies that the settings of a source have.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::dto::SubmitWebhookResponse;
use crate::http::json;
use crate::sources::{Answers, HandshakeAnswer};
use crate::store::Accepted;

/// How many ids the answer to a batch has at most.
const MAX_IDS: usize = 1_000;

/// The response to a request with several webhooks, or with none, unless the source sets another.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReceiveWebhooksResponse {
    /// How many of the webhooks are new.
    accepted: usize,
    /// How many had been accepted before.
    duplicates: usize,
    /// The ids of the webhooks, in the order of the request: at most the first 1,000.
    ids: Vec<String>,
}

/// The answer to a handshake.
pub(super) fn handshaken(answer: HandshakeAnswer) -> Response {
    let HandshakeAnswer { status, content_type, headers, body, .. } = answer;
    let mut response = text(success(status), content_type.as_deref(), body);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The answer to one webhook.
pub(super) fn one(accepted: Accepted, answers: &Answers) -> Response {
    let id = accepted.webhook.id;
    tracing::Span::current().record("hookbox.webhook.id", tracing::field::display(id));
    let is_new = !accepted.duplicate;
    answered(answers, is_new, || {
        let mut response = json(&SubmitWebhookResponse::from(accepted));
        if let Ok(location) = HeaderValue::try_from(format!("/v1/webhooks/{id}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    })
}

/// The answer to several webhooks, or to none.
pub(super) fn batch(all: &[Accepted], answers: &Answers) -> Response {
    let duplicates = all.iter().filter(|accepted| accepted.duplicate).count();
    let accepted = all.len() - duplicates;
    answered(answers, accepted > 0, || {
        let ids = all.iter().take(MAX_IDS).map(|accepted| accepted.webhook.id.to_string()).collect();
        json(&ReceiveWebhooksResponse { accepted, duplicates, ids })
    })
}

/// What the source answers to what is accepted; `standard` unless it has a body of its own.
fn answered(answers: &Answers, is_new: bool, standard: impl FnOnce() -> Response) -> Response {
    let of_api = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    let status = answers.accepted.map_or(of_api, success);
    match &answers.body {
        Some(body) => own_body(status, body, answers),
        None if [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT].contains(&status) => {
            status.into_response()
        }
        None => {
            let mut response = standard();
            // Not if it failed.
            if response.status() == StatusCode::OK {
                *response.status_mut() = status;
            }
            response
        }
    }
}

/// A response with a body that the source sets. An empty one has no content type.
pub(super) fn own_body(status: StatusCode, body: &str, answers: &Answers) -> Response {
    let content_type = (!body.is_empty()).then_some(answers.content_type.as_str());
    text(status, content_type, body.to_owned())
}

/// A response with a text. Without a content type it has none.
fn text(status: StatusCode, content_type: Option<&str>, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Some(content_type) = content_type.and_then(|text| HeaderValue::try_from(text.to_owned()).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// A status of the settings, which are 200 to 299.
fn success(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}
