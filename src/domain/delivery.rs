//! What a handler sent during an attempt, and what was answered. Kept with the attempt.

use std::time::Duration;

use super::id::WebhookId;

/// The most bytes that are kept of an answer's body.
pub const MAX_KEPT_BODY_BYTES: usize = 16 * 1024;

/// The most bytes that are kept of an answer's headers.
pub const MAX_KEPT_HEADER_BYTES: usize = 16 * 1024;

/// The most bytes that are kept of a request: its method, its URL and its headers.
pub const MAX_KEPT_REQUEST_BYTES: usize = 8 * 1024;

/// The most headers that are kept of a request, and of an answer.
pub const MAX_KEPT_HEADERS: usize = 128;

/// Of the attempts of a job that are read at once, this many are read and shown with their delivery, the latest ones.
/// Those of earlier attempts are stored, but a webhook with many attempts would be too large to show.
pub const SHOWN_DELIVERIES: u16 = 20;

/// The name of what the attempts of a run deliver: the same for every attempt of the run, and different for every other
/// route, webhook or run. It has no dots, which Standard Webhooks forbids in `webhook-id`.
pub fn delivery_id(webhook: WebhookId, route: &str, run: u32) -> String {
    match run {
        0 | 1 => format!("{webhook}_{route}"),
        run => format!("{webhook}_{route}_{run}"),
    }
}

/// A request that a handler sent, and the answer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The method of the request.
    pub method: String,
    /// The URL of the request, without credentials and query; of a URL that is a secret, only scheme, host and port.
    pub url: String,
    /// The headers of the request: names in lower case, and values. Values from the settings are `***`.
    pub request_headers: Vec<(String, String)>,
    /// What was answered; none if no answer began.
    pub answer: Option<Answer>,
    /// How long it took to connect; none if the connection was there already, or no connection was made.
    pub connect_time: Option<Duration>,
    /// How long it took until the head of the answer was here; none if no answer began.
    pub first_byte_time: Option<Duration>,
    /// How long it took in all.
    pub total_time: Duration,
}

/// An answer to a request that a handler sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The first headers, [`MAX_KEPT_HEADER_BYTES`] of them at most: names in lower case, and values. Invalid UTF-8
    /// is replaced.
    pub headers: Vec<(String, String)>,
    /// The first [`MAX_KEPT_BODY_BYTES`] of the body.
    pub body: Vec<u8>,
    /// Whether the body has more bytes than these.
    pub is_cut: bool,
}

impl Delivery {
    /// Cuts off what is longer than the limits.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let mut room = MAX_KEPT_REQUEST_BYTES;
        for text in [&mut self.method, &mut self.url] {
            cut(text, room);
            room -= text.len();
        }
        keep_first(&mut self.request_headers, room);
        if let Some(answer) = &mut self.answer {
            keep_first(&mut answer.headers, MAX_KEPT_HEADER_BYTES);
            answer.is_cut |= answer.body.len() > MAX_KEPT_BODY_BYTES;
            answer.body.truncate(MAX_KEPT_BODY_BYTES);
        }
        self
    }

    /// The length of all texts and of the body, in bytes.
    pub fn bytes(&self) -> usize {
        let answer = self.answer.as_ref().map_or(0, |answer| bytes_of(&answer.headers) + answer.body.len());
        self.method.len() + self.url.len() + bytes_of(&self.request_headers) + answer
    }
}

/// A time of a delivery in milliseconds, as both APIs show it: with three decimals at most.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

fn bytes_of(headers: &[(String, String)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Keeps the first headers, [`MAX_KEPT_HEADERS`] at most, as many as have `room` bytes.
fn keep_first(headers: &mut Vec<(String, String)>, room: usize) {
    let mut bytes = 0;
    let fits = |(name, value): &&(String, String)| {
        bytes += name.len() + value.len();
        bytes <= room
    };
    let kept = headers.iter().take(MAX_KEPT_HEADERS).take_while(fits).count();
    headers.truncate(kept);
}

/// Cuts a text to at most this many bytes, between two characters.
fn cut(text: &mut String, most_bytes: usize) {
    let mut end = most_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(count: usize, value_bytes: usize) -> Vec<(String, String)> {
        vec![("x".to_owned(), "v".repeat(value_bytes)); count]
    }

    #[test]
    fn a_delivery_within_the_limits_is_kept_whole() {
        let delivery = Delivery {
            method: "POST".to_owned(),
            url: "http://orders.internal/hooks".to_owned(),
            request_headers: headers(2, 10),
            answer: Some(Answer {
                status: 200,
                headers: headers(MAX_KEPT_HEADERS, 1),
                body: vec![b'b'; MAX_KEPT_BODY_BYTES],
                is_cut: false,
            }),
            ..Delivery::default()
        };
        assert_eq!(delivery.clone().bounded(), delivery);
        assert_eq!(delivery.bytes(), 4 + 28 + 2 * 11 + MAX_KEPT_HEADERS * 2 + MAX_KEPT_BODY_BYTES);
    }

    #[test]
    fn times_are_shown_in_milliseconds_with_three_decimals() {
        for (nanoseconds, shown) in [
            (0, "0"),
            (999, "0.001"),
            (1_234_000, "1.234"),
            (30_000_000_000, "30000"),
            (56_789_400, "56.789"),
        ] {
            assert_eq!(milliseconds(Duration::from_nanos(nanoseconds)).to_string(), shown);
        }
    }

    #[test]
    fn what_is_longer_than_the_limits_is_cut_off() {
        let most = MAX_KEPT_BODY_BYTES + MAX_KEPT_HEADER_BYTES + MAX_KEPT_REQUEST_BYTES;
        let large = 1_000_000;
        for (url, request_headers, answer_headers) in [
            ("é".repeat(large), headers(1, large), headers(1, large)),
            ("http://a/".to_owned(), headers(large, 100), headers(large, 100)),
            ("http://a/".to_owned(), headers(large, 0), headers(large, 0)),
        ] {
            let answer = Answer { headers: answer_headers, body: vec![0; large], ..Answer::default() };
            let answer = Some(answer);
            let method = "POST".to_owned();
            let cut = Delivery { method, url, request_headers, answer, ..Delivery::default() }.bounded();
            assert!(cut.bytes() <= most, "{} bytes", cut.bytes());
            assert!(cut.request_headers.len() <= MAX_KEPT_HEADERS);
            assert_eq!(cut.method, "POST");
            let answer = cut.answer.expect("an answer");
            assert!(answer.headers.len() <= MAX_KEPT_HEADERS);
            assert_eq!((answer.body.len(), answer.is_cut), (MAX_KEPT_BODY_BYTES, true));
        }
    }
}
