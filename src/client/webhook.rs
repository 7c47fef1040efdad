//! A webhook as REST answers it, so far as commands have to understand it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::headers::HIDDEN;

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
    /// The bytes of the body.
    pub body: Vec<u8>,
}

/// What an answer has of a webhook besides its body.
#[derive(Deserialize)]
struct Kept {
    content_type: String,
    headers: Vec<Header>,
}

/// What an answer has of a body.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow, default, deserialize_with = "any")]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    payload_text: Option<String>,
    #[serde(default)]
    payload_base64: Option<String>,
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

impl Content {
    /// The content of a webhook, from the answers to `GET /v1/webhooks/{id}` and to `GET /v1/webhooks/{id}/body`. Errors:
    /// the first answer is another.
    pub fn new(answer: &[u8], body: Vec<u8>) -> Result<Self, String> {
        let kept = serde_json::from_slice::<Kept>(answer).map_err(|error| error.to_string())?;
        let headers = kept.headers.into_iter().map(|header| (header.name, header.value)).collect();
        Ok(Self { content_type: kept.content_type, headers, body })
    }

    /// The names of the headers whose values hookbox does not keep.
    pub fn hidden_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(|(_, value)| value == HIDDEN).map(|(name, _)| name.as_str())
    }

    /// The headers whose values hookbox keeps.
    pub fn kept_headers(&self) -> impl Iterator<Item = &(String, String)> {
        self.headers.iter().filter(|(_, value)| value != HIDDEN)
    }
}

/// The content of a webhook as people see it, from the answer to `GET /v1/webhooks/{id}` alone: a body of JSON is without
/// the white space around it. None if its retention is over. Errors: the answer is another.
pub fn content_of(answer: &str) -> Result<Option<Content>, String> {
    let content = Content::new(answer.as_bytes(), Vec::new())?;
    let shown = serde_json::from_str::<Shown<'_>>(answer).map_err(|error| error.to_string())?;
    let body = match (shown.payload, shown.payload_text, shown.payload_base64) {
        (Some(json), _, _) => json.get().as_bytes().to_vec(),
        (None, Some(text), _) => text.into_bytes(),
        (None, None, Some(encoded)) => STANDARD.decode(encoded).map_err(|error| error.to_string())?,
        (None, None, None) => return Ok(None),
    };
    Ok(Some(Content { body, ..content }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_whatever_member_has_it() {
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

    #[test]
    fn headers_that_are_hidden_are_told_from_those_that_are_kept() {
        let answer =
            br#"{"content_type":"t","headers":[{"name":"a","value":"***"},{"name":"b","value":"1"}]}"#;
        let content = Content::new(answer, b" 1\n".to_vec()).expect("reads");
        assert_eq!((content.content_type.as_str(), content.body.as_slice()), ("t", &b" 1\n"[..]));
        assert_eq!(content.hidden_names().collect::<Vec<_>>(), ["a"]);
        assert_eq!(content.kept_headers().collect::<Vec<_>>(), [&("b".to_owned(), "1".to_owned())]);
    }
}
