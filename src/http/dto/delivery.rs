//! What a handler sent and was answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::delivery::{Answer, Delivery, milliseconds};

/// A request that a handler sent, and the answer to it. Of what is longer than its limit, the first part is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(super) struct DeliveryBody {
    /// The method of the request.
    method: String,
    /// The URL of the request, without credentials and query; of a URL that is a secret, only scheme, host and port.
    url: String,
    /// The headers of the request. Values from the settings are `***`. At most 128; with method and URL, at most 8 KiB.
    request_headers: Vec<HeaderBody>,
    /// What was answered; null if no answer began.
    answer: Option<AnswerBody>,
    /// How many milliseconds it took to look up the name, to connect, and for the handshake of TLS; null if a
    /// connection was there already, or none was made.
    connect_ms: Option<f64>,
    /// How many milliseconds it took until the head of the answer was here; null if no answer began.
    first_byte_ms: Option<f64>,
    /// How many milliseconds it took in all.
    total_ms: f64,
}

/// An answer to a request that a handler sent. If it did not end, this is what arrived of it. One of `body_text` and
/// `body_base64` is there.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Answer)]
struct AnswerBody {
    /// The status code of HTTP.
    status: u32,
    /// The first headers, at most 128 and 16 KiB.
    headers: Vec<HeaderBody>,
    /// The first 16 KiB of the body, if they are UTF-8. If the body is cut within a character, that character is left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_text: Option<String>,
    /// The first 16 KiB of the body in base64, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Whether the body has more bytes than these.
    body_cut: bool,
}

/// A header of a request or an answer. A name that was sent several times is there several times.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Header)]
pub(super) struct HeaderBody {
    /// The name, in lower case.
    name: String,
    /// The value. Bytes that are not UTF-8 are replaced by U+FFFD.
    value: String,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            method: delivery.method,
            url: delivery.url,
            request_headers: headers(delivery.request_headers),
            answer: delivery.answer.map(Into::into),
            connect_ms: delivery.connect_time.map(milliseconds),
            first_byte_ms: delivery.first_byte_time.map(milliseconds),
            total_ms: milliseconds(delivery.total_time),
        }
    }
}

impl From<Answer> for AnswerBody {
    fn from(answer: Answer) -> Self {
        let Answer { status, headers: named, body, is_cut } = answer;
        let (body_text, body_base64) = match text(body, is_cut) {
            Ok(text) => (Some(text), None),
            Err(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        Self { status: status.into(), headers: headers(named), body_text, body_base64, body_cut: is_cut }
    }
}

/// The body as a text. If it is none, gives its bytes back.
fn text(body: Vec<u8>, is_cut: bool) -> Result<String, Vec<u8>> {
    String::from_utf8(body).or_else(|error| {
        let (valid, is_incomplete) =
            (error.utf8_error().valid_up_to(), error.utf8_error().error_len().is_none());
        let mut bytes = error.into_bytes();
        if !(is_cut && is_incomplete) {
            return Err(bytes);
        }
        bytes.truncate(valid);
        String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes)
    })
}

pub(super) fn headers(headers: Vec<(String, String)>) -> Vec<HeaderBody> {
    headers.into_iter().map(|(name, value)| HeaderBody { name, value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_text_unless_it_is_not_utf_8() {
        type Case<'a> = (&'a [u8], bool, Result<&'a str, &'a [u8]>);
        let cases: [Case<'_>; 6] = [
            (b"", false, Ok("")),
            (b"a\0b", true, Ok("a\0b")),
            ("é".as_bytes(), false, Ok("é")),
            (b"a\xc3", true, Ok("a")),
            (b"a\xc3", false, Err(b"a\xc3")),
            (b"\xc3a", true, Err(b"\xc3a")),
        ];
        for (body, is_cut, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(<[u8]>::to_vec);
            assert_eq!(text(body.to_vec(), is_cut), expected, "{body:?}");
        }
    }
}
