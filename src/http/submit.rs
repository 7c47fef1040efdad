//! `POST /v1/webhooks`: reads a webhook from a request, stores it, and answers.

use std::borrow::Cow;

use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Api;
use super::body::{check_media_type, read_body};
use super::dto::SubmitWebhookResponse;
use super::members::members;
use super::problem::{Problem, Refused};
use crate::connections::Arrival;
use crate::domain::duration::whole_seconds;
use crate::domain::error::{Error, Reason, Result, all_of};
use crate::domain::headers::KeptHeaders;
use crate::domain::payload::Payload;
use crate::domain::trace::Traceparent;
use crate::domain::verdict::Verdict;
use crate::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use crate::service::conflicts::Via;
use crate::service::{RateState, apart};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A webhook as its sender submits it. Its source is `default`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SubmitWebhookRequest)]
pub(super) struct SubmitBody<'a> {
    /// The sender's unique name of the webhook within its source: 1 to 255 characters without control
    /// characters, compared byte for byte. Required here or in the header `Idempotency-Key`.
    #[serde(borrow, default, deserialize_with = "raw")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 255, example = "evt-001")]
    idempotency_key: Given<'a>,
    /// What happened, in the sender's words: 1 to 255 characters without control characters.
    #[serde(borrow, default, deserialize_with = "raw")]
    #[schema(value_type = String, required = true, min_length = 1, max_length = 255, example = "order.created")]
    event_type: Given<'a>,
    /// The content: any JSON value, nested at most 128 levels deep, without repeated members in an object and
    /// without half of a surrogate pair; kept byte for byte.
    #[serde(borrow, default, deserialize_with = "raw")]
    #[schema(value_type = serde_json::Value, required = true)]
    payload: Given<'a>,
}

/// A member of the body, of any type, so that all faults of the members are reported together. `None` if it is
/// absent.
type Given<'a> = Option<&'a RawValue>;

/// Any JSON value; `null` is a value too.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Given<'de>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Stores a webhook
///
/// The response is sent only after the webhook and a job for each matching route are on disk. If the same
/// webhook was accepted before, the response has its current status and `duplicate` set; it gets no further
/// jobs. Objects whose members have another order, and numbers and strings that are written in another way,
/// are the same payload. The same key with another event type or payload is refused.
#[utoipa::path(
    post,
    path = "/v1/webhooks",
    tag = "webhooks",
    operation_id = "SubmitWebhook",
    params(("Idempotency-Key" = Option<String>, Header, description = "The idempotency key, plain or in double quotes. If the body has one too, both must be equal")),
    request_body(content = SubmitBody, content_type = "application/json"),
    responses(
        (status = 202, description = "The webhook is stored with a job for each matching route", body = SubmitWebhookResponse, headers(
            ("Location" = String, description = "The path of the webhook"),
            ("RateLimit" = Option<String>, description = "What is left of the source's rate limit, if it has one"),
            ("RateLimit-Policy" = Option<String>, description = "The source's rate limit, if it has one"),
        )),
        (status = 200, description = "The webhook was stored before", body = SubmitWebhookResponse, headers(
            ("Location" = String, description = "The path of the webhook"),
            ("RateLimit" = Option<String>, description = "What is left of the source's rate limit, if it has one"),
            ("RateLimit-Policy" = Option<String>, description = "The source's rate limit, if it has one"),
        )),
        (status = 400, description = "The body is not valid JSON, or fields are wrong; `violations` lists the fields", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body arrived too slowly, or did not arrive within 30 seconds", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than the setting `max_body` allows, 1 MiB by default", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The Content-Type is not application/json, or the body is compressed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The key was used for another webhook", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The source is over its rate limit", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "After how many seconds to try again"),
            ("RateLimit" = String, description = "What is left of the source's rate limit"),
            ("RateLimit-Policy" = String, description = "The source's rate limit"),
        )),
        (status = 503, description = "The backlog is full, or the store is not available; nothing was acknowledged", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "After how many seconds to try again"),
        )),
    )
)]
pub(super) async fn submit_webhook(
    api: Api,
    Extension(traceparent): Extension<Traceparent>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let routes = match api.service.routes_for_caller() {
        Ok(routes) => routes,
        Err(error) => return Refused::from(error).into_response(),
    };
    // The arrival is kept until the response: the payload stays in memory while it waits to be stored.
    let (fields, _arrival) = match read(&api, &headers, body).await {
        Ok(read) => read,
        Err(refused) => {
            api.service.count_refused_submission(refused.reason());
            tracing::debug!(
                trace_id = traceparent.trace_id(),
                outcome = refused.reason(),
                field = refused.field(),
                "a submission is refused"
            );
            return refused.into_response();
        }
    };
    let source = Source::default();
    let (idempotency_key, event_type, payload) = fields;
    let webhook = NewWebhook {
        source: source.clone(),
        idempotency_key,
        event_type,
        payload,
        headers: kept(&headers),
        verdict: Verdict::None,
        traceparent,
    };
    let submitted = api.service.submit(webhook, &routes, &|| texts(&headers), Via::Rest).await;
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

/// The fields of a webhook.
type Fields = (IdempotencyKey, EventType, Payload);

async fn read(api: &Api, headers: &HeaderMap, body: Body) -> std::result::Result<(Fields, Arrival), Refused> {
    check_media_type(headers)?;
    let (body, arrival) = read_body(body, api.max_body_bytes, &api.bodies).await?;
    let fields = apart(body.len(), || submitted(&body, headers)).await?;
    Ok((fields, arrival))
}

/// The fields of a webhook, from the body of `POST /v1/webhooks`, and its key from the headers if the body has none.
/// Errors: the body is no JSON, or has wrong fields.
pub fn submitted(body: &[u8], headers: &HeaderMap) -> Result<Fields> {
    let given = parse(body)?;
    all_of(
        idempotency_key(given.idempotency_key, headers),
        text("event_type", given.event_type).and_then(EventType::new),
        given.payload.ok_or_else(|| missing("payload")).and_then(|payload| Payload::new(payload.get())),
    )
}

fn parse(body: &[u8]) -> Result<SubmitBody<'_>> {
    members(body, "a webhook has `idempotency_key`, `event_type` and `payload`")
}

/// The text of a member that must be a string.
fn text(field: &'static str, given: Given<'_>) -> Result<Box<str>> {
    let json = given.ok_or_else(|| missing(field))?.get();
    let kind = match json.as_bytes().first() {
        Some(b'"') => {
            return serde_json::from_str(json).map_err(|error| {
                Error::new(
                    Reason::MalformedJson,
                    format!("`{field}` is not valid JSON; within its text: {error}"),
                )
            });
        }
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        _ => "a number",
    };
    Err(Error::invalid(field, format_args!("is {kind}; it must be a string of 1 to 255 characters")))
}

fn missing(field: &'static str) -> Error {
    Error::invalid(field, "is missing")
}

/// The key from the body, or from the header if the body has none. Refuses two different keys.
fn idempotency_key(given: Given<'_>, headers: &HeaderMap) -> Result<IdempotencyKey> {
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

/// The header without the quotes and escapes of a structured-field string: the IETF draft for this header
/// quotes the key, but most senders do not.
fn unquoted(header: &str) -> Cow<'_, str> {
    match header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => Cow::Owned(quoted.replace("\\\"", "\"").replace("\\\\", "\\")),
        None => Cow::Borrowed(header),
    }
}

/// What is kept of headers.
fn kept(headers: &HeaderMap) -> KeptHeaders {
    KeptHeaders::keep(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())), |_| false)
}

/// Names (in lower case) and values of headers as text; invalid UTF-8 is replaced.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// Adds `RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers: the limit, and what
/// is left of it.
pub(super) fn add_rate_headers(headers: &mut HeaderMap, source: &Source, rate: RateState) {
    let policy = format!("\"{source}\";q={};w={}", rate.limit.quota, rate.limit.window.as_secs());
    let left = format!("\"{source}\";r={};t={}", rate.remaining, whole_seconds(rate.reset));
    // Cannot fail: the name of a source has only characters that a header may have.
    if let (Ok(policy), Ok(left)) = (HeaderValue::try_from(policy), HeaderValue::try_from(left)) {
        headers.insert(RATE_LIMIT_POLICY, policy);
        headers.insert(RATE_LIMIT, left);
    }
}
