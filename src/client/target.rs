//! The server on this machine to which `hookbox listen` delivers webhooks.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Request, Response};
use tokio::time::Instant;
use url::Url;

use super::connect::{SetupError, client_builder, problem_of_authorities, roots_for};
use super::error::cause_of;
use super::webhook::{Content, Webhook};
use crate::domain::headers::OF_CONNECTION;

/// The source whose webhooks have their key beside their payload, and so not in the body that is delivered.
const DEFAULT_SOURCE: &str = "default";

/// The most bytes of an answer that are read, so that the connection can be used again.
const ANSWER_BYTES: usize = 1024 * 1024;

/// A server that takes webhooks.
#[derive(Clone, Debug)]
pub struct Target {
    url: Url,
    http: reqwest::Client,
}

/// An answer of the server.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// The status.
    pub status: u16,
    /// How long it took until the answer was here.
    pub took: Duration,
}

impl Target {
    /// A server at a URL. It gets `answer_time` for each answer.
    pub fn new(url: Url, answer_time: Duration) -> Result<Self, SetupError> {
        let http = client_builder(roots_for(&url), None)?.redirect(reqwest::redirect::Policy::none());
        Ok(Self { url, http: http.timeout(answer_time).build()? })
    }

    /// Delivers a webhook: the body and the headers of its sender, and what names it at hookbox. `query` replaces that of
    /// the URL; none to leave it. Errors: why there is no answer.
    pub async fn deliver(
        &self,
        webhook: &Webhook,
        content: &Content,
        query: Option<&str>,
    ) -> Result<Delivered, String> {
        let mut url = self.url.clone();
        if let Some(query) = query {
            url.set_query(Some(query).filter(|query| !query.is_empty()));
        }
        let mut request = Request::new(reqwest::Method::POST, url);
        *request.headers_mut() = headers(webhook, content);
        *request.body_mut() = Some(content.body.clone().into());
        let began = Instant::now();
        let response = self.http.execute(request).await;
        let response = response.map_err(|error| cause_of(&error, problem_of_authorities(&self.url)))?;
        let status = response.status().as_u16();
        // The status is the answer, whether its body arrives or not.
        let _ = read(response).await;
        Ok(Delivered { status, took: began.elapsed() })
    }
}

/// Reads an answer, or the beginning of a large one.
async fn read(mut response: Response) -> reqwest::Result<()> {
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await? {
        bytes += chunk.len();
        if bytes > ANSWER_BYTES {
            break;
        }
    }
    Ok(())
}

/// The headers of the sender, so far as hookbox keeps them, and those that name the webhook.
fn headers(webhook: &Webhook, content: &Content) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in content.kept_headers() {
        // The content type is that of the webhook: the body that came with another one may have been the envelope of it.
        if OF_CONNECTION.contains(&name.as_str()) || name == "content-type" {
            continue;
        }
        // Names and values are valid headers, except for values with replaced bytes.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    }
    for (name, value) in [
        (CONTENT_TYPE, content.content_type.as_str()),
        (HeaderName::from_static("hookbox-webhook"), webhook.id.as_str()),
        (HeaderName::from_static("hookbox-source"), webhook.source.as_str()),
        (HeaderName::from_static("hookbox-event-type"), webhook.event_type.as_str()),
    ] {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    }
    // Its sender may have given the key in this header.
    let key = HeaderName::from_static("idempotency-key");
    if webhook.source == DEFAULT_SOURCE
        && !headers.contains_key(&key)
        && let Ok(value) = HeaderValue::from_bytes(webhook.idempotency_key.as_bytes())
    {
        headers.insert(key, value);
    }
    // The client leaves it out where there is nothing to send, and some servers then wait for a body or refuse.
    if content.body.is_empty() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(source: &str, event_type: &str) -> Webhook {
        Webhook {
            id: "01".to_owned(),
            source: source.to_owned(),
            idempotency_key: "k".to_owned(),
            event_type: event_type.to_owned(),
            status: "pending".to_owned(),
            attempt_count: None,
            accepted_at: String::new(),
            last_error: None,
        }
    }

    #[test]
    fn the_headers_of_the_sender_are_sent_but_those_of_its_connection_and_hidden_ones() {
        let given = [
            ("host", "hooks.example"),
            ("content-length", "7"),
            ("content-type", "application/x-other"),
            ("authorization", "***"),
            ("x-signature", "v1=a"),
            ("x-twice", "1"),
            ("x-twice", "2"),
            ("user-agent", "Sender/1"),
            ("hookbox-webhook", "forged"),
            ("x-nul", "a\0"),
        ];
        let content = Content {
            content_type: "application/json".to_owned(),
            headers: given.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: Vec::new(),
        };
        let sent = headers(&webhook("shop", "zamówienie"), &content);
        let mut sent = sent.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect::<Vec<_>>();
        sent.sort_unstable();
        let expected: [(&str, &[u8]); 9] = [
            ("content-length", b"0"),
            ("content-type", b"application/json"),
            ("hookbox-event-type", "zamówienie".as_bytes()),
            ("hookbox-source", b"shop"),
            ("hookbox-webhook", b"01"),
            ("user-agent", b"Sender/1"),
            ("x-signature", b"v1=a"),
            ("x-twice", b"1"),
            ("x-twice", b"2"),
        ];
        assert_eq!(sent, expected);
    }
    #[test]
    fn webhooks_of_the_source_default_are_forwarded_with_their_key() {
        let key_of = |source: &str, given: &[(&str, &str)]| {
            let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let content =
                Content { content_type: "t".to_owned(), headers: given.collect(), body: Vec::new() };
            let sent = headers(&webhook(source, "t"), &content);
            let key = sent.get("idempotency-key").map(|value| value.to_str().expect("ASCII").to_owned());
            key.unwrap_or_default()
        };
        assert_eq!(key_of("default", &[]), "k");
        assert_eq!(key_of("default", &[("idempotency-key", "\"k\"")]), "\"k\"");
        assert_eq!(key_of("shop", &[]), "", "its key is where its sender has it");
    }
}
