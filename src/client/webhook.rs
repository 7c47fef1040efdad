//! A webhook as REST answers it, so far as commands have to understand it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The names and the status of a webhook. The texts are those of its sender.
#[derive(Clone, Debug, Deserialize)]
pub struct Webhook {
    /// The id.
    pub id: String,
    /// The source.
    pub source: String,
    /// The sender's key.
    pub idempotency_key: String,
    /// What happened.
    pub event_type: String,
    /// The status.
    pub status: String,
    /// How many attempts of its first job have started.
    #[serde(default)]
    pub attempt_count: u32,
    /// When it was accepted, as RFC 3339 writes it.
    pub accepted_at: String,
    /// Why its last attempt failed.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// What a sender sent.
#[derive(Clone, Debug)]
pub struct Content {
    /// The content type of the body.
    pub content_type: String,
    /// The headers that were kept: names in lower case, and values. A value that is hidden is `***`.
    pub headers: Vec<(String, String)>,
    /// The bytes of the body; of JSON, without the white space around it.
    pub body: Vec<u8>,
}

/// What is needed of the answer to get a body.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow, default, deserialize_with = "any")]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    payload_text: Option<String>,
    #[serde(default)]
    payload_base64: Option<String>,
    content_type: String,
    headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

/// Any JSON value; `null` is a value too.
fn any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The content of a webhook, from the answer to `GET /v1/webhooks/{id}`; none if its retention is over. Errors: the answer
/// is another.
pub fn content_of(answer: &str) -> Result<Option<Content>, String> {
    let shown = serde_json::from_str::<Shown<'_>>(answer).map_err(|error| error.to_string())?;
    let body = match (shown.payload, shown.payload_text, shown.payload_base64) {
        (Some(json), _, _) => json.get().as_bytes().to_vec(),
        (None, Some(text), _) => text.into_bytes(),
        (None, None, Some(encoded)) => STANDARD.decode(encoded).map_err(|error| error.to_string())?,
        (None, None, None) => return Ok(None),
    };
    let headers = shown.headers.into_iter().map(|header| (header.name, header.value)).collect();
    Ok(Some(Content { content_type: shown.content_type, headers, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_bytes_that_were_sent() {
        let body = |member: &str| {
            let answer = format!(
                r#"{{"id":"1","content_type":"t","headers":[{{"name":"a","value":"b"}}]{member},"jobs":[]}}"#
            );
            content_of(&answer).expect("reads").map(|content| content.body)
        };
        for (member, expected) in [
            (r#","payload":{"a" : 1.10}"#, &b"{\"a\" : 1.10}"[..]),
            (r#","payload":null"#, b"null"),
            (r#","payload_text":"a\u0000\u001b""#, b"a\0\x1b"),
            (r#","payload_base64":"/wA=""#, b"\xff\0"),
        ] {
            assert_eq!(body(member).as_deref(), Some(expected), "{member}");
        }
        assert_eq!(body(""), None, "its retention is over");
        assert!(content_of("{}").is_err());
    }
}
