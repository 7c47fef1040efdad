//! Reads the body of a request, within limits on its type, size and time.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;

use super::problem::Refused;
use super::reason::RestReason;
use crate::connections::{Arrival, Bodies, Unread};
use crate::domain::error::{Error, Reason};

/// The most characters of a header that an error shows. Errors are kept for operators and logged.
const SHOWN_CHARS: usize = 255;

/// Refuses a body that is compressed.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Refused> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    match encodings.find(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        None => Ok(()),
        Some(encoding) => Err(Refused::Request(
            RestReason::UnsupportedMediaType,
            format!("the Content-Encoding is {}; send the body as it is", shown(encoding.as_bytes())),
        )),
    }
}

/// Refuses a body that is not declared as JSON, or is compressed.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Refused> {
    check_encoding(headers)?;
    let given = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = given.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        return Ok(());
    }
    let given = if given.is_empty() { "none".to_owned() } else { shown(given) };
    Err(Refused::Request(
        RestReason::UnsupportedMediaType,
        format!("the Content-Type is {given}; send the body as application/json"),
    ))
}

/// The value of a header as an error shows it, without what is too long.
fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    format!("{:?}", text.chars().take(SHOWN_CHARS).collect::<String>())
}

/// Reads a body of at most `limit` bytes, within the limits of [`Arrival`]. Keep the arrival for as long as the
/// body.
pub(super) async fn read_body(
    body: Body,
    limit: usize,
    bodies: &Bodies,
) -> Result<(Bytes, Arrival), Refused> {
    bodies.read(body, limit).await.map_err(|unread| refusal_of(unread, limit))
}

/// The error for a body that was not read. `limit` is the most bytes that it may have.
pub(super) fn refusal_of(unread: Unread, limit: usize) -> Refused {
    match unread {
        Unread::TooLarge => {
            let detail = format!("the body has more than {limit} bytes; send a smaller one");
            Refused::Error(Error::new(Reason::BodyTooLarge, detail))
        }
        Unread::TooSlow { bytes } => {
            let detail = format!("the body arrived too slowly: {bytes} bytes of it; send it again");
            Refused::Request(RestReason::BodyTimeout, detail)
        }
        Unread::Incomplete(error) => {
            let detail = format!("the body is incomplete: {error}");
            Refused::Error(Error::new(Reason::MalformedJson, detail))
        }
        Unread::NoMemory(error) => Refused::Error(error),
    }
}
