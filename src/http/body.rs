//! Reads the body of a request, within limits on its type, size and time.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use serde::Deserialize;

use super::problem::Refused;
use super::reason::RestReason;
use crate::connections::{Arrival, Bodies, Unread};
use crate::domain::error::{Error, Reason};

/// The most characters of a header that an error shows. Errors are kept for operators and logged.
const SHOWN_CHARS: usize = 255;

/// Refuses a body that is compressed.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Refused> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    match encodings.find(|encoding| *encoding != "identity") {
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

/// Reads the members of a JSON object. `known` says in the error of an unknown member which members there are, to
/// continue a sentence after a semicolon.
pub(super) fn members<'a, T: Deserialize<'a>>(body: &'a [u8], known: &str) -> Result<T, Error> {
    let begins = body.trim_ascii_start().first();
    if begins.is_some_and(|byte| matches!(byte, b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9')) {
        // Serde would read the items of an array as the members of the object.
        return Err(Error::new(Reason::InvalidField, "the body is not a JSON object; send one"));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => wrong_member(&error, known),
        _ => Error::new(Reason::MalformedJson, format!("the body is not valid JSON: {error}")),
    })
}

/// The error of a member that is missing, not known, given twice, or of another type.
fn wrong_member(error: &serde_json::Error, known: &str) -> Error {
    let message = error.to_string();
    // The texts "unknown field `x`" and "duplicate field `x`" contain the name.
    let named = message.split_once(" field `").and_then(|(_, rest)| rest.split('`').next());
    match named {
        Some(field) if message.starts_with("unknown field") => {
            Error::invalid(field, format_args!("is not known; {known}"))
        }
        Some(field) if message.starts_with("duplicate field") => {
            Error::invalid(field, "is given twice; give it once")
        }
        Some(field) if message.starts_with("missing field") => Error::invalid(field, "is missing"),
        _ => Error::new(Reason::InvalidField, format!("the body is wrong: {message}")),
    }
}
