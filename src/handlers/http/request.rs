//! The request of an attempt: the payload of the webhook, byte for byte, and headers that say what it is.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Method, Request};

use super::sign::signature;
use super::targets::Target;
use crate::domain::AGENT;
use crate::domain::handler::Http as Settings;
use crate::worker::handler::Attempt;

/// The request of an attempt. `traceparent` belongs to the span of the request.
pub(super) fn request(
    attempt: &Attempt<'_>,
    settings: &Settings,
    target: &Target,
    traceparent: &str,
) -> Request {
    let delivery = attempt.delivery_id();
    let timestamp = attempt.now().as_second();
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.extend(target.headers.clone());
    let mut set = |name: &'static str, value: &str| {
        // Names of webhooks have no control characters, and content types are those of headers, so that every value is
        // valid.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("content-type", attempt.content_type());
    // The client leaves it out where there is nothing to send, and some servers then wait for a body or refuse.
    if attempt.payload().is_empty() {
        set("content-length", "0");
    }
    set("idempotency-key", &delivery);
    set("webhook-id", &delivery);
    set("webhook-timestamp", &timestamp.to_string());
    if let Some(key) = settings.secrets.first() {
        set("webhook-signature", &signature(key, &delivery, timestamp, attempt.payload()));
    }
    set("traceparent", traceparent);
    set("hookbox-webhook", &attempt.webhook_id());
    set("hookbox-source", attempt.source());
    set("hookbox-event-type", attempt.event_type());
    set("hookbox-attempt", &attempt.number().to_string());
    let mut request = Request::new(Method::POST, target.url.clone());
    *request.headers_mut() = headers;
    *request.body_mut() = Some(attempt.payload().to_owned().into());
    request
}

/// The headers of a request as they are kept with the attempt. The values of those from the settings are hidden.
pub(super) fn kept_headers(request: &Request, target: &Target) -> Vec<(String, String)> {
    let headers = request.headers().iter().map(|(name, value)| {
        let is_hidden = target.headers.contains_key(name);
        let value = if is_hidden { "***".into() } else { String::from_utf8_lossy(value.as_bytes()) };
        (name.as_str().to_owned(), value.into_owned())
    });
    headers.collect()
}
