//! A payload as responses show it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::domain::content_type::ContentType;

/// A payload as one of three members of a response: `payload`, `payload_text` or `payload_base64`.
#[derive(Default)]
pub(super) struct Shown {
    /// The payload, if it is JSON that clients can read and its content type says so.
    pub(super) json: Option<Box<RawValue>>,
    /// Any other payload that is UTF-8.
    pub(super) text: Option<String>,
    /// The payload in base64, if it is not UTF-8.
    pub(super) base64: Option<String>,
}

impl Shown {
    /// `payload` is none once its retention is over; then nothing is shown.
    pub(super) fn new(payload: Option<Vec<u8>>, content_type: &ContentType) -> Self {
        let Some(bytes) = payload else { return Self::default() };
        if let Some(json) = content_type.shown_json_of(&bytes) {
            return Self { json: Some(json.to_owned()), ..Self::default() };
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text), ..Self::default() },
            Err(error) => Self { base64: Some(STANDARD.encode(error.as_bytes())), ..Self::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_or_a_text_or_base64() {
        let text = ContentType::of_header(Some(b"text/plain"));
        for (bytes, content_type, expected) in [
            (&b"{\"a\" : 1.10}"[..], &ContentType::JSON, (Some("{\"a\" : 1.10}"), None, None)),
            (b"{\"a\"", &ContentType::JSON, (None, Some("{\"a\""), None)),
            (b"\"\\ud83d\"", &ContentType::JSON, (None, Some("\"\\ud83d\""), None)),
            (b"", &ContentType::JSON, (None, Some(""), None)),
            (b"1", &text, (None, Some("1"), None)),
            ("a\0é".as_bytes(), &ContentType::BYTES, (None, Some("a\0é"), None)),
            (b"\xff\0", &ContentType::JSON, (None, None, Some("/wA="))),
        ] {
            let Shown { json, text, base64 } = Shown::new(Some(bytes.to_vec()), content_type);
            let json = json.as_deref().map(RawValue::get);
            assert_eq!((json, text.as_deref(), base64.as_deref()), expected, "{bytes:?}");
        }
        let Shown { json, text, base64 } = Shown::new(None, &ContentType::JSON);
        assert!(json.is_none() && text.is_none() && base64.is_none(), "the payload is gone");
    }
}
