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
    /// How many attempts of its first job have started. None if the answer does not say, as that to a submission.
    #[serde(default)]
    pub attempt_count: Option<u32>,
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

/// The content of a webhook as the answer to `GET /v1/webhooks/{id}` has it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The content. Its body is without the white space around it if it is JSON.
    pub content: Content,
    /// Whether the body has every byte that came. If not, `GET /v1/webhooks/{id}/body` has them.
    pub is_exact: bool,
}

/// What an answer has of the content of a webhook.
#[derive(Deserialize)]
struct Members<'a> {
    content_type: String,
    headers: Vec<Header>,
    payload_size: Option<u64>,
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
    /// The names of the headers whose values hookbox does not keep.
    pub fn hidden_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(|(_, value)| value == HIDDEN).map(|(name, _)| name.as_str())
    }

    /// The headers whose values hookbox keeps.
    pub fn kept_headers(&self) -> impl Iterator<Item = &(String, String)> {
        self.headers.iter().filter(|(_, value)| value != HIDDEN)
    }
}

/// The content of a webhook, from the answer to `GET /v1/webhooks/{id}`. None if its retention is over. Errors: the
/// answer is another.
pub fn content_of(answer: &[u8]) -> Result<Option<Shown>, String> {
    let members = serde_json::from_slice::<Members<'_>>(answer).map_err(|error| error.to_string())?;
    let body = match (members.payload, members.payload_text, members.payload_base64) {
        (Some(json), _, _) => json.get().as_bytes().to_vec(),
        (None, Some(text), _) => text.into_bytes(),
        (None, None, Some(encoded)) => STANDARD.decode(encoded).map_err(|error| error.to_string())?,
        (None, None, None) => return Ok(None),
    };
    let is_exact = members.payload_size == Some(body.len() as u64);
    let headers = members.headers.into_iter().map(|header| (header.name, header.value)).collect();
    Ok(Some(Shown { content: Content { content_type: members.content_type, headers, body }, is_exact }))
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
            content_of(answer.as_bytes()).expect("reads").map(|shown| (shown.content.body, shown.is_exact))
        };
        for (member, expected, is_exact) in [
            (r#","payload":{"a" : 1.10},"payload_size":12"#, &b"{\"a\" : 1.10}"[..], true),
            (r#","payload":{"a" : 1.10},"payload_size":13"#, b"{\"a\" : 1.10}", false),
            (r#","payload":null,"payload_size":4"#, b"null", true),
            (r#","payload":null"#, b"null", false),
            (r#","payload_text":"a\u0000\u001b","payload_size":3"#, b"a\0\x1b", true),
            (r#","payload_base64":"/wA=","payload_size":2"#, b"\xff\0", true),
        ] {
            assert_eq!(body(member), Some((expected.to_vec(), is_exact)), "{member}");
        }
        assert_eq!(body(""), None, "its retention is over");
        assert!(content_of(b"{}").is_err());
    }

    #[test]
    fn headers_that_are_hidden_are_told_from_those_that_are_kept() {
        let headers = [("a", "***"), ("b", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let content = Content { content_type: "t".to_owned(), headers: headers.to_vec(), body: Vec::new() };
        assert_eq!(content.hidden_names().collect::<Vec<_>>(), ["a"]);
        assert_eq!(content.kept_headers().collect::<Vec<_>>(), [&("b".to_owned(), "1".to_owned())]);
    }
}
