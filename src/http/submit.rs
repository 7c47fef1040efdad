//! `POST /v1/webhooks`: reads a request, makes a webhook of it, and answers once it is stored.

use std::borrow::Cow;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Api;
use super::body::{check_media_type, read_body};
use super::dto::SubmitWebhookResponse;
use super::problem::{Problem, Refused, whole_seconds};
use super::room::Room;
use crate::domain::error::{Error, Reason, Result, all_of};
use crate::domain::payload::Payload;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use crate::service::RateState;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A webhook as its sender submits it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SubmitWebhookRequest)]
pub(super) struct SubmitBody<'a> {
    /// The sender's unique name of the webhook: 1 to 255 characters without control characters.
    /// May be given as the header `Idempotency-Key` instead.
    #[serde(borrow, default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 255, example = "evt-001")]
    idempotency_key: Given<Cow<'a, str>>,
    /// What happened, as the sender calls it; the same rule as for the key.
    #[serde(borrow, default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, min_length = 1, max_length = 255, example = "order.created")]
    event_type: Given<Cow<'a, str>>,
    /// The content: any JSON value, kept byte for byte.
    #[serde(borrow, default, deserialize_with = "raw")]
    #[schema(value_type = serde_json::Value, required = true)]
    payload: Option<&'a RawValue>,
}

/// A member that is absent, null, or there.
type Given<T> = Option<Option<T>>;

fn given<'de, D, T>(deserializer: D) -> std::result::Result<Given<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Any value; `null` is one.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Stores a webhook
///
/// Answered only once the webhook is on disk, with a job for each route that matches it. The same webhook
/// again is answered with the status it has now, and gets no further jobs. The same key with another
/// payload is refused.
#[utoipa::path(
    post,
    path = "/v1/webhooks",
    tag = "webhooks",
    operation_id = "SubmitWebhook",
    params(("Idempotency-Key" = Option<String>, Header, description = "Taken where the body has no key; where both are given they have to be equal")),
    request_body(content = SubmitBody, content_type = "application/json"),
    responses(
        (status = 202, description = "Stored, with a job for each route that wants it", body = SubmitWebhookResponse, headers(
            ("Location" = String, description = "The path of the webhook"),
            ("RateLimit" = Option<String>, description = "What is left of the source's rate limit, if it has one"),
            ("RateLimit-Policy" = Option<String>, description = "The source's rate limit, if it has one"),
        )),
        (status = 200, description = "It had been stored before; its status now", body = SubmitWebhookResponse, headers(
            ("Location" = String, description = "The path of the webhook"),
        )),
        (status = 400, description = "Not JSON, or fields are wrong; `violations` names them all", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The key was used for another webhook", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Over the rate limit", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "Seconds until another try makes sense"),
            ("RateLimit" = String, description = "What is left of the source's rate limit"),
            ("RateLimit-Policy" = String, description = "The source's rate limit"),
        )),
        (status = 503, description = "The backlog is full, or the store cannot write", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "Seconds until another try makes sense"),
        )),
    )
)]
pub(super) async fn submit_webhook(
    State(api): State<Api>,
    Extension(traceparent): Extension<Traceparent>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // Held until the answer: what waits for the writer takes room as well.
    let (webhook, _room) = match read(&api, &headers, body, traceparent).await {
        Ok(read) => read,
        Err(refused) => return refused.into_response(),
    };
    let source = webhook.source.clone();
    let submitted = api.service.submit(webhook, &|| texts(&headers)).await;
    let mut response = match submitted.outcome {
        Ok(accepted) => {
            tracing::Span::current()
                .record("hookbox.webhook.id", tracing::field::display(accepted.webhook.id));
            let status = if accepted.duplicate { StatusCode::OK } else { StatusCode::ACCEPTED };
            let location = format!("/v1/webhooks/{}", accepted.webhook.id);
            let mut response = super::json(&SubmitWebhookResponse::from(accepted));
            *response.status_mut() = status;
            if let Ok(location) = HeaderValue::try_from(location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Err(error) => Refused::from(error).into_response(),
    };
    if let Some(rate) = submitted.rate {
        add_rate_headers(response.headers_mut(), &source, rate);
    }
    response
}

async fn read(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
    traceparent: Traceparent,
) -> std::result::Result<(NewWebhook, Room), Refused> {
    check_media_type(headers)?;
    let room = api.bodies.room_for(&body, api.max_body_bytes)?;
    let body = read_body(body, api.max_body_bytes).await?;
    let submitted = parse(&body)?;
    let (idempotency_key, event_type, payload) = all_of(
        idempotency_key(submitted.idempotency_key, headers),
        text("event_type", submitted.event_type).and_then(EventType::new),
        submitted.payload.ok_or_else(|| missing("payload")).and_then(|payload| Payload::new(payload.get())),
    )?;
    Ok((NewWebhook { source: Source::default(), idempotency_key, event_type, payload, traceparent }, room))
}

fn parse(body: &[u8]) -> Result<SubmitBody<'_>> {
    let begins = body.trim_ascii_start().first();
    if begins.is_some_and(|byte| matches!(byte, b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9')) {
        // serde would take the items of an array for the members of an object.
        return Err(Error::new(Reason::InvalidField, "the body is not a JSON object; send one"));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => wrong_field(body, &error),
        _ => Error::new(Reason::MalformedJson, format!("the body is not valid JSON: {error}")),
    })
}

/// Reads once more to learn which field it was; only refused bodies pay for it.
fn wrong_field(body: &[u8], error: &serde_json::Error) -> Error {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let path = match serde_path_to_error::deserialize::<_, SubmitBody<'_>>(&mut deserializer) {
        Err(error) => error.path().to_string(),
        Ok(_) => String::new(),
    };
    let message = error.to_string();
    // "unknown field `x`" and "duplicate field `x`" name it in their text.
    let named = message.split_once(" field `").and_then(|(_, rest)| rest.split('`').next());
    match named {
        Some(field) if message.starts_with("unknown field") => {
            Error::invalid(field, "is not known; a webhook has `idempotency_key`, `event_type` and `payload`")
        }
        Some(field) if message.starts_with("duplicate field") => {
            Error::invalid(field, "is given twice; give it once")
        }
        _ if path.is_empty() || path == "." => {
            Error::new(Reason::InvalidField, format!("the body is wrong: {message}"))
        }
        _ => Error::invalid(path, format_args!("is wrong: {message}")),
    }
}

fn text(field: &'static str, given: Given<Cow<'_, str>>) -> Result<Box<str>> {
    match given {
        Some(Some(text)) => Ok(text.into_owned().into_boxed_str()),
        Some(None) => Err(Error::invalid(field, "is null; it must be a string of 1 to 255 characters")),
        None => Err(missing(field)),
    }
}

fn missing(field: &'static str) -> Error {
    Error::invalid(field, "is missing")
}

/// The key of the body, or of the header where the body has none; where both are given they agree.
fn idempotency_key(given: Given<Cow<'_, str>>, headers: &HeaderMap) -> Result<IdempotencyKey> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(header) = values.next() else { return IdempotencyKey::new(text("idempotency_key", given)?) };
    if values.next().is_some() {
        return Err(Error::invalid("Idempotency-Key", "is given more than once; give it once"));
    }
    let header = std::str::from_utf8(header.as_bytes())
        .map_err(|_| Error::invalid("Idempotency-Key", "is not valid UTF-8"))?;
    let header = unquoted(header);
    match given {
        None => IdempotencyKey::new(header.into_owned()),
        Some(_) => {
            let key = text("idempotency_key", given)?;
            if *key != *header {
                return Err(Error::invalid(
                    "idempotency_key",
                    "differs from the header Idempotency-Key; send one of them, or the same in both",
                ));
            }
            IdempotencyKey::new(key)
        }
    }
}

/// The header as it is, or what a structured-field string in it says: the IETF draft for this
/// header quotes the key, most senders do not.
fn unquoted(header: &str) -> Cow<'_, str> {
    match header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => Cow::Owned(quoted.replace("\\\"", "\"").replace("\\\\", "\\")),
        None => Cow::Borrowed(header),
    }
}

/// Headers as text, with names in lower case.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it.
fn add_rate_headers(headers: &mut HeaderMap, source: &Source, rate: RateState) {
    let policy = format!("\"{source}\";q={};w={}", rate.limit.quota, rate.limit.window.as_secs());
    let left = format!("\"{source}\";r={};t={}", rate.remaining, whole_seconds(rate.reset));
    // A source's name has nothing that a header may not have.
    if let (Ok(policy), Ok(left)) = (HeaderValue::try_from(policy), HeaderValue::try_from(left)) {
        headers.insert(RATE_LIMIT_POLICY, policy);
        headers.insert(RATE_LIMIT, left);
    }
}
