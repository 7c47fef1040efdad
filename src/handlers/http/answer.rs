//! What an answer means: which ones complete a job, which ones are tried again and when, and which are final.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::fault::Fault;
use super::measure::Progress;
use super::secret_url::SecretParts;
use crate::domain::breaker::Health;
use crate::domain::delivery::{Answer, MAX_KEPT_BODY_BYTES, MAX_KEPT_HEADER_BYTES};
use crate::worker::handler::Failure;

/// The most characters of a `Location` that an error shows.
const MAX_LOCATION_CHARS: usize = 200;

/// What decides about an answer.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// The version of HTTP, as `network.protocol.version` of the span.
    pub(super) version: &'static str,
    retry_after: Option<String>,
    location: Option<String>,
}

impl Head {
    pub(super) fn of(response: &Response) -> Self {
        let text = |name: HeaderName| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let version = match response.version() {
            reqwest::Version::HTTP_10 => "1.0",
            reqwest::Version::HTTP_2 => "2",
            _ => "1.1",
        };
        let (retry_after, location) = (text(RETRY_AFTER), text(LOCATION));
        Self { status: response.status(), version, retry_after, location }
    }

    /// Hides what of the URL of the route nothing may show.
    pub(super) fn hide(&mut self, parts: &SecretParts) {
        self.location = self.location.take().map(|location| parts.hidden_in(&location));
    }

    /// What the target answered, for people.
    pub(super) fn answered(&self) -> String {
        format!("the target answered {}", named(self.status))
    }

    /// What the answer says about the target: 5xx and 429 that it cannot serve now, every other that it can.
    pub(super) fn health(&self) -> Health {
        let is_down = self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS;
        if is_down { Health::Down } else { Health::Up }
    }

    /// Whether the answer completes the job. 2xx does. 410 fails for good, and so do other 4xx, but for those that
    /// ask for another try (408, 409, 425, 429). Everything else is tried again. The `Retry-After` of 429 and 503 is
    /// obeyed, up to `longest_delay`.
    pub(super) fn judge(&self, longest_delay: Duration, now: Timestamp) -> Result<(), Failure> {
        let status = self.status;
        if status.is_success() {
            return Ok(());
        }
        let answered = self.answered();
        if status.is_client_error() && !TRIED_AGAIN.contains(&status) {
            return Err(Failure::Permanent { error: answered });
        }
        if status.is_redirection()
            && let Some(location) = &self.location
        {
            let to = shortened(location);
            let error = format!(
                "{answered}, a redirect to {to}; redirects are not followed: set `url` of the route to the place where \
                 webhooks are taken"
            );
            return Err(Failure::Retry { error, after: None });
        }
        let waits = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        let asked = self.retry_after.as_deref().filter(|_| waits).and_then(|text| retry_after(text, now));
        let after = asked.map(|delay| delay.min(longest_delay));
        Err(Failure::Retry { error: answered, after })
    }
}

/// The 4xx that another try may change.
const TRIED_AGAIN: [StatusCode; 4] =
    [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];

/// A status with its name, such as `503 Service Unavailable`.
pub(super) fn named(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_str()),
        None => status.as_str().to_owned(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_LOCATION_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The delay that a `Retry-After` asks for (RFC 9110, section 10.2.3): a number of seconds, or a date. None if it is
/// neither, or asks for no delay.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let delay = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More seconds than a number can have.
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => Duration::MAX,
        Err(_) => {
            let date = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
            Duration::try_from(date.duration_since(now)).ok()?
        }
    };
    (!delay.is_zero()).then_some(delay)
}

/// Notes the head of an answer, then reads its body as far as it is kept. What is longer is not read: the connection
/// is closed then.
pub(super) async fn keep(mut response: Response, progress: &Progress) -> Result<(), Fault> {
    let answer = Answer {
        status: response.status().as_u16(),
        headers: kept_headers(response.headers()),
        body: Vec::new(),
        is_cut: false,
    };
    progress.note(|known| known.answer = Some(answer));
    while let Some(chunk) = response.chunk().await.map_err(|error| Fault::of_answer(&error.without_url()))? {
        let mut is_cut = false;
        progress.note(|known| {
            let Some(answer) = &mut known.answer else { return };
            let room = MAX_KEPT_BODY_BYTES - answer.body.len();
            answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            answer.is_cut = chunk.len() > room;
            is_cut = answer.is_cut;
        });
        if is_cut {
            break;
        }
    }
    Ok(())
}

fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut room = MAX_KEPT_HEADER_BYTES;
    let texts = headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    texts
        .take_while(|(name, value)| {
            let bytes = name.len() + value.len();
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a time")
    }

    fn head(status: u16, retry_after: Option<&str>) -> Head {
        Head {
            status: StatusCode::from_u16(status).expect("a status"),
            version: "1.1",
            retry_after: retry_after.map(ToOwned::to_owned),
            location: None,
        }
    }

    fn judged(status: u16, retry_after: Option<&str>) -> Result<(), Failure> {
        head(status, retry_after).judge(HOUR, now())
    }

    #[test]
    fn only_5xx_and_429_say_that_the_target_is_down() {
        for status in [429, 500, 502, 503, 504, 599] {
            assert_eq!(head(status, None).health(), Health::Down, "{status}");
        }
        for status in [200, 204, 302, 304, 400, 401, 404, 408, 409, 410, 422, 425, 600, 999] {
            assert_eq!(head(status, None).health(), Health::Up, "{status}");
        }
    }

    #[test]
    fn a_status_completes_is_tried_again_or_is_final() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judged(status, None), Ok(()), "{status}");
        }
        for status in [301, 302, 304, 307, 308, 408, 409, 425, 429, 500, 501, 502, 503, 504, 599, 600, 999] {
            let judged = judged(status, None);
            assert!(matches!(judged, Err(Failure::Retry { after: None, .. })), "{status}: {judged:?}");
        }
        for status in [400, 401, 403, 404, 405, 410, 413, 415, 422, 451, 499] {
            let judged = judged(status, None);
            assert!(matches!(judged, Err(Failure::Permanent { .. })), "{status}: {judged:?}");
        }
        let error = "the target answered 410 Gone".to_owned();
        assert_eq!(judged(410, None), Err(Failure::Permanent { error }));
        let error = "the target answered 599".to_owned();
        assert_eq!(judged(599, None), Err(Failure::Retry { error, after: None }));
    }

    #[test]
    fn retry_after_is_obeyed_with_429_and_503_up_to_the_longest_delay() {
        let after = |status, text| match judged(status, Some(text)) {
            Err(Failure::Retry { after, .. }) => after.map(|delay| delay.as_secs()),
            other => panic!("{other:?}"),
        };
        for (text, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("3601", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 01 Mar 2026 12:05:00 GMT", Some(300)),
            ("Sunday, 01-Mar-26 12:05:00 GMT", Some(300)),
            ("Sun Mar  1 12:05:00 2026", Some(300)),
            ("Sun, 01 Mar 2026 14:00:00 GMT", Some(3600)),
            // The policy of the route decides.
            ("0", None),
            ("Sun, 01 Mar 2026 11:59:59 GMT", None),
            ("Sun, 01 Mar 2026 12:00:00 GMT", None),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(after(429, text), seconds, "429 with {text:?}");
            assert_eq!(after(503, text), seconds, "503 with {text:?}");
            assert_eq!(after(500, text), None, "500 with {text:?}");
        }
    }

    #[test]
    fn a_redirect_is_told_with_its_place() {
        let location = Some(format!("https://other.example/{}", "a".repeat(500)));
        let head = Head { status: StatusCode::FOUND, version: "2", retry_after: None, location };
        let Err(Failure::Retry { error, after: None }) = head.judge(HOUR, now()) else {
            panic!("is tried again");
        };
        assert!(error.starts_with("the target answered 302 Found, a redirect to https://other.example/aaa"));
        assert!(error.contains("…; redirects are not followed: set `url`"), "{error}");
        assert!(error.len() < 400, "{error}");
    }

    #[test]
    fn the_first_headers_are_kept_up_to_a_limit() {
        let mut headers = HeaderMap::new();
        headers.insert("x-first", "1".parse().expect("valid"));
        headers.insert("x-large", "a".repeat(MAX_KEPT_HEADER_BYTES).parse().expect("valid"));
        headers.insert("x-last", "1".parse().expect("valid"));
        assert_eq!(kept_headers(&headers), [("x-first".to_owned(), "1".to_owned())]);
    }
}
