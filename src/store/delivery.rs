//! The stored form of a delivery: one JSON text, the same in both stores.
//!
//! A body that is a text is a string in it, any other one base64. Members that this version does not know are
//! ignored. Times are whole microseconds.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diesel::QueryResult;
use serde::{Deserialize, Serialize};

use super::columns::unreadable;
use crate::domain::delivery::{Answer, Delivery};

/// Names and values.
type Headers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

#[derive(Serialize, Deserialize)]
struct StoredDelivery<'a> {
    method: Cow<'a, str>,
    url: Cow<'a, str>,
    headers: Headers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<StoredAnswer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_us: Option<u64>,
    total_us: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredAnswer<'a> {
    status: u16,
    headers: Headers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    is_cut: bool,
}

/// A delivery as the stores keep it.
pub(super) fn to_text(delivery: &Delivery) -> String {
    let stored = StoredDelivery {
        method: delivery.method.as_str().into(),
        url: delivery.url.as_str().into(),
        headers: borrowed(&delivery.request_headers),
        answer: delivery.answer.as_ref().map(StoredAnswer::of),
        connect_us: delivery.connect_time.map(microseconds),
        first_byte_us: delivery.first_byte_time.map(microseconds),
        total_us: microseconds(delivery.total_time),
    };
    #[expect(clippy::expect_used, reason = "strings, numbers and lists of them always serialize")]
    serde_json::to_string(&stored).expect("serializes")
}

/// The delivery that a store has kept as `text`.
pub(super) fn from_text(text: &str) -> QueryResult<Delivery> {
    let stored = serde_json::from_str::<StoredDelivery<'_>>(text).map_err(unreadable)?;
    Ok(Delivery {
        method: stored.method.into_owned(),
        url: stored.url.into_owned(),
        request_headers: owned(stored.headers),
        answer: stored.answer.map(StoredAnswer::into_answer).transpose()?,
        connect_time: stored.connect_us.map(Duration::from_micros),
        first_byte_time: stored.first_byte_us.map(Duration::from_micros),
        total_time: Duration::from_micros(stored.total_us),
    })
}

impl<'a> StoredAnswer<'a> {
    fn of(answer: &'a Answer) -> Self {
        let body = as_text(&answer.body).map(Cow::from);
        Self {
            status: answer.status,
            headers: borrowed(&answer.headers),
            body_base64: body.is_none().then(|| STANDARD.encode(&answer.body)),
            body,
            is_cut: answer.is_cut,
        }
    }

    fn into_answer(self) -> QueryResult<Answer> {
        let body = match (self.body, self.body_base64) {
            (Some(text), _) => text.into_owned().into_bytes(),
            (None, Some(encoded)) => STANDARD.decode(encoded).map_err(unreadable)?,
            (None, None) => Vec::new(),
        };
        Ok(Answer { status: self.status, headers: owned(self.headers), body, is_cut: self.is_cut })
    }
}

/// The body as a text, if it is one. A body with control characters is none: JSON would write six bytes for each.
fn as_text(body: &[u8]) -> Option<&str> {
    let is_text = body.iter().all(|byte| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'));
    std::str::from_utf8(body).ok().filter(|_| is_text)
}

fn borrowed(headers: &[(String, String)]) -> Headers<'_> {
    headers.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
}

fn owned(headers: Headers<'_>) -> Vec<(String, String)> {
    headers.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::MAX_KEPT_BODY_BYTES;

    fn delivery(body: &[u8]) -> Delivery {
        Delivery {
            method: "POST".to_owned(),
            url: "http://orders.internal/hooks".to_owned(),
            request_headers: vec![("x-team".to_owned(), "\"blue\"\t\0é".to_owned())],
            answer: Some(Answer {
                status: 503,
                headers: vec![
                    ("set-cookie".to_owned(), "a".to_owned()),
                    ("set-cookie".to_owned(), "b".to_owned()),
                ],
                body: body.to_vec(),
                is_cut: true,
            }),
            connect_time: Some(Duration::from_micros(1_234)),
            first_byte_time: Some(Duration::from_micros(56_789)),
            total_time: Duration::from_secs(86_400),
        }
    }

    #[test]
    fn a_delivery_is_read_as_it_was_stored() {
        let every_byte = (0..=u8::MAX).collect::<Vec<_>>();
        for body in
            [b"".as_slice(), b"ok", "ż\n\t\r\"\\".as_bytes(), b"a\0b", b"\xff\xfe", b"\x1b[31m", &every_byte]
        {
            let text = to_text(&delivery(body));
            assert_eq!(from_text(&text).expect("reads"), delivery(body), "{text}");
            assert!(!text.contains('\0'), "PostgreSQL could not store it");
        }
        let unanswered = Delivery { url: "http://a/".to_owned(), ..Delivery::default() };
        let text = to_text(&unanswered);
        assert_eq!(text, r#"{"method":"","url":"http://a/","headers":[],"total_us":0}"#);
        assert_eq!(from_text(&text).expect("reads"), unanswered);
    }

    #[test]
    fn a_stored_body_is_at_most_twice_as_long() {
        for byte in [b'\n', b'"', 0, 0xff] {
            let text = to_text(&delivery(&[byte; MAX_KEPT_BODY_BYTES]));
            assert!(text.len() <= 2 * MAX_KEPT_BODY_BYTES + 1_000, "{} bytes", text.len());
        }
    }

    #[test]
    fn members_of_later_versions_are_ignored() {
        let text = r#"{"method":"POST","url":"u","headers":[],"total_us":7,"protocol":"h2",
                       "answer":{"status":200,"headers":[],"body":"ok","is_cut":false,"trailers":[]}}"#;
        let read = from_text(text).expect("reads");
        assert_eq!(
            (read.total_time, read.answer.map(|answer| answer.body)),
            (Duration::from_micros(7), Some(b"ok".to_vec()))
        );
        assert!(from_text("{").is_err());
    }
}
