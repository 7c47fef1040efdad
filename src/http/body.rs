//! Reads the body of a request, within limits on its type, size and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::problem::Refused;
use super::reason::RestReason;
use crate::domain::error::{Error, Reason};

/// How long a body may take to arrive; after that the request is answered 408.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Refuses a body that is not declared as JSON, or is compressed.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Refused> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        return Err(Refused::Request(
            RestReason::UnsupportedMediaType,
            format!("the Content-Encoding is {encoding:?}; send the body as it is"),
        ));
    }
    let given = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = given.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        return Ok(());
    }
    let given =
        if given.is_empty() { "none".into() } else { format!("{:?}", String::from_utf8_lossy(given)) };
    Err(Refused::Request(
        RestReason::UnsupportedMediaType,
        format!("the Content-Type is {given}; send the body as application/json"),
    ))
}

/// Reads a body of at most `limit` bytes, in at most [`BODY_TIME`].
pub(super) async fn read_body(body: Body, limit: usize) -> Result<Bytes, Refused> {
    let too_large = || {
        Error::new(Reason::BodyTooLarge, format!("the body has more than {limit} bytes; send a smaller one"))
    };
    if axum::body::HttpBody::size_hint(&body).lower() > limit as u64 {
        return Err(too_large().into());
    }
    let collected =
        tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await.map_err(|_| {
            Refused::Request(
                RestReason::BodyTimeout,
                format!("the body did not arrive within {} seconds; send it again", BODY_TIME.as_secs()),
            )
        })?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large().into()),
        Err(error) => {
            Err(Error::new(Reason::MalformedJson, format!("the body is incomplete: {error}")).into())
        }
    }
}
