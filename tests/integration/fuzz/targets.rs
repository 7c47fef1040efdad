//! What reads the bytes of a stranger before they are verified, as functions that panic if a promise is broken.

use axum::http::{HeaderMap, HeaderValue};
use hookbox::internals::domain::content_type::{ContentType, MAX_CONTENT_TYPE_BYTES};
use hookbox::internals::domain::headers::{
    CREDENTIALS, KeptHeaders, MAX_HEADER_BYTES, MAX_HEADERS, read as pairs_of,
};
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::grpc::proto::SubmitWebhookRequest;
use hookbox::internals::grpc::proto::submit_webhook_request::Content;
use hookbox::internals::grpc::{memory_of, new_webhook};
use hookbox::internals::http::submitted;
use prost::Message as _;

use super::bodies::body;
use super::callers::{credentials, hosts, login};
use super::sources::{form, source};

/// Reads an input. Panics if a promise is broken.
pub(crate) type Target = fn(&[u8]);

/// All targets, by their names.
pub(crate) const TARGETS: [(&str, Target); 12] = [
    ("source", source),
    ("envelope", envelope),
    ("message", message),
    ("payload", payload),
    ("headers", headers),
    ("traceparent", traceparent),
    ("content_type", content_type),
    ("form", form),
    ("hosts", hosts),
    ("credentials", credentials),
    ("login", login),
    ("body", body),
];

/// The largest payload, in bytes.
const MAX_PAYLOAD_BYTES: usize = 16 * 1024;

/// The most bytes of a message beside its texts and values: the tags and lengths of its three fields and of the value.
const MAX_FRAME_BYTES: usize = 32;

/// A body of `POST /v1/webhooks`, after a line with the value of the header `Idempotency-Key`.
fn envelope(data: &[u8]) {
    let (key, body) = split_line(data);
    let mut headers = HeaderMap::new();
    if let Some(key) = HeaderValue::from_bytes(key).ok().filter(|key| !key.is_empty()) {
        headers.insert("idempotency-key", key);
    }
    let Ok((key, event_type, payload)) = submitted(body, &headers) else { return };
    check_submitted([key.as_str(), event_type.as_str()], &payload);
}

/// A message `SubmitWebhookRequest`.
fn message(data: &[u8]) {
    let Ok(request) = SubmitWebhookRequest::decode(data) else { return };
    let (bytes, held) = (request.encoded_len(), memory_of(&request));
    assert!(bytes <= held + MAX_FRAME_BYTES, "a message of {bytes} bytes counts as {held}");
    let json = match &request.content {
        Some(Content::PayloadJson(json)) => Some(json.clone()),
        Some(Content::Payload(_)) | None => None,
    };
    let traceparent = Traceparent::new(1, 1, false);
    let read = new_webhook(request, MAX_PAYLOAD_BYTES, KeptHeaders::default(), traceparent);
    let Ok(webhook) = read else { return };
    check_submitted([webhook.idempotency_key.as_str(), webhook.event_type.as_str()], &webhook.payload);
    let payload = webhook.payload.as_bytes();
    assert!(payload.len() <= MAX_PAYLOAD_BYTES, "a payload of {} bytes is taken", payload.len());
    assert!(json.is_none_or(|json| json.as_bytes() == payload), "a JSON text is not kept byte for byte");
}

/// Checks the key, the event type and the payload of a submission.
fn check_submitted(names: [&str; 2], payload: &Payload) {
    for name in names {
        assert!((1..=255).contains(&name.chars().count()), "a name is too short or too long");
        assert!(!name.contains(char::is_control), "a name has a control character");
    }
    assert!(payload.content_type().shown_json_of(payload.as_bytes()).is_some(), "a payload cannot be shown");
}

/// A payload: its digest is that of its value.
fn payload(data: &[u8]) {
    let bytes = Payload::of_bytes(data, ContentType::JSON);
    assert_eq!(bytes.as_bytes(), data);
    let text = std::str::from_utf8(data).unwrap_or_default();
    let Ok(payload) = Payload::new(text) else { return };
    assert!(payload.content_type().shown_json_of(payload.as_bytes()).is_some(), "a payload cannot be shown");
    let spaced = Payload::new(format!(" {text}\n")).map(|payload| payload.digest());
    assert_eq!(spaced.ok(), Some(payload.digest()), "white space changes the digest");
    assert_ne!(payload.digest(), bytes.digest(), "a text and its bytes have the same digest");
}

/// The headers that are kept, one on each line.
fn headers(data: &[u8]) {
    let given = data.split(|byte| *byte == b'\n').filter_map(pair).collect::<Vec<_>>();
    let kept = KeptHeaders::keep(given.iter().copied(), |name| name == "x-signature");
    let Some(text) = kept.as_text() else { return };
    let kept = pairs_of(text).expect("what is kept can be read");
    assert!(kept.len() <= MAX_HEADERS, "too many headers are kept");
    let bytes = kept.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    assert!(bytes <= MAX_HEADER_BYTES, "{bytes} bytes of headers are kept");
    for ((given, _), (name, value)) in given.iter().zip(&kept) {
        assert_eq!(*name, given.to_ascii_lowercase());
        let is_hidden = CREDENTIALS.contains(&name.as_str()) || name == "x-signature";
        assert!(!is_hidden || value == "***", "the value of {name} is kept");
    }
}

/// A header `traceparent`.
fn traceparent(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let Some(traceparent) = Traceparent::parse(text) else { return };
    assert_eq!(Traceparent::parse(traceparent.as_str()).as_ref(), Some(&traceparent));
    let trace_id = traceparent.trace_id();
    assert!(trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{trace_id}");
}

/// A header `Content-Type`, and on the next lines a body.
fn content_type(data: &[u8]) {
    let (header, body) = split_line(data);
    let content_type = ContentType::of_header(Some(header));
    let text = content_type.as_str();
    assert!((1..=MAX_CONTENT_TYPE_BYTES).contains(&text.len()), "{} bytes are kept", text.len());
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')), "{text:?} is no header");
    assert_eq!(ContentType::of_header(Some(text.as_bytes())), content_type);
    assert!(!(content_type.is_json() && content_type.is_form()), "{text:?} is JSON and a form");
    let json = content_type.shown_json_of(body).map_or("null", |json| json.get());
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok(), "{json:?} is shown as JSON");
}

/// A header on a line; none if it has no name.
pub(crate) fn pair(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    Some((std::str::from_utf8(name).ok()?, value[1..].trim_ascii()))
}

/// The first line, and what comes after it.
pub(crate) fn split_line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, rest) = data.split_at(end);
    (line, rest.get(1..).unwrap_or_default())
}
