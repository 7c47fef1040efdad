//! A request of a sender, as it came.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use url::form_urlencoded;

use crate::domain::headers::is_token;

/// A request of a sender. None of it is trusted.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// A text that no other request has, for senders that give their webhooks no name.
    pub id: &'a str,
    /// The method, in capitals.
    pub method: &'a str,
    /// The whole URL as the sender sees it: that of the setting `public_url`, with the path and the query of the
    /// request as they came. None if the setting is not set.
    pub url: Option<&'a str>,
    /// The query as it came, without the question mark; empty if there is none.
    pub query: &'a str,
    /// The headers in the order in which they came. The case of their names does not matter.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The exact bytes of the body.
    pub body: &'a [u8],
    /// When the request came.
    pub received_at: Timestamp,
}

impl<'a> Request<'a> {
    /// The values of all headers with this name.
    pub(super) fn headers_named(&self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.values_of(name.as_str())
    }

    /// The value of a header, without spaces around it; none if it is not there, is there more than once, or is not
    /// UTF-8.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&'a str> {
        self.header_named(name.as_str())
    }

    /// As [`header`](Self::header), by a name that no settings have written.
    pub(super) fn header_named(&self, name: &str) -> Option<&'a str> {
        Some(std::str::from_utf8(only(self.values_of(name))?).ok()?.trim())
    }

    fn values_of(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The value of a parameter of the query; none if it is not there, or is there more than once.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        field(self.query.as_bytes(), name)
    }

    /// The names and values of all parameters of the query.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        form_urlencoded::parse(self.query.as_bytes())
    }

    /// The value of a field of a form; none if it is not there, is there more than once, or the body is no form.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        if self.is_form() { field(self.body, name) } else { None }
    }

    /// The names and values of all fields of a form; none if the body is no form.
    pub(super) fn fields(&self) -> Option<impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>> {
        self.is_form().then(|| form_urlencoded::parse(self.body))
    }

    /// The content type without its parameters; empty if there is none, or more than one.
    pub(super) fn media_type(&self) -> &'a [u8] {
        let types = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let media_type = only(types.map(|(_, value)| *value)).unwrap_or_default();
        media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
    }

    /// Whether the content type begins with this text, whatever its capitals.
    pub(super) fn is_of_type(&self, beginning: &str) -> bool {
        begins_with(self.media_type(), beginning)
    }

    fn is_form(&self) -> bool {
        self.media_type().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    }
}

/// The name of a header, as the settings write it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct HeaderName(Box<str>);

impl TryFrom<String> for HeaderName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if !is_token(&text) {
            return Err(format!("{text:?} is no name of a header; write letters, digits and hyphens"));
        }
        Ok(Self(text.into()))
    }
}

impl HeaderName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a media type begins with this text, whatever its capitals.
pub(super) fn begins_with(media_type: &[u8], beginning: &str) -> bool {
    let start = media_type.get(..beginning.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
}

fn field(form: &[u8], name: &str) -> Option<String> {
    only(form_urlencoded::parse(form).filter(|(other, _)| other == name)).map(|(_, value)| value.into_owned())
}

/// The only item; none if there are several. What is there twice could be read differently by others.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::fixture::request;

    fn name(text: &str) -> HeaderName {
        HeaderName::try_from(text.to_owned()).expect(text)
    }

    #[test]
    fn a_value_that_is_there_twice_is_not_read() {
        let headers = [("X-Id", &b" a "[..]), ("x-twice", b"a"), ("X-Twice", b"a"), ("X-Bytes", b"\xff")];
        let request = Request { query: "a=1&b=x%20y&a=1", ..request(&headers, b"") };
        assert_eq!(request.header(&name("x-ID")), Some("a"));
        assert_eq!(["x-twice", "x-bytes", "x-no"].map(|header| request.header(&name(header))), [None; 3]);
        assert_eq!(request.parameter("b").as_deref(), Some("x y"));
        assert_eq!([request.parameter("a"), request.parameter("c")], [None, None]);
    }

    #[test]
    fn a_form_is_read_only_where_the_content_type_says_so() {
        let headers = [("Content-Type", &b"application/X-www-form-urlencoded; charset=utf-8"[..])];
        assert_eq!(request(&headers, b"a=1&b=2").field("b").as_deref(), Some("2"));
        assert_eq!(request(&[("content-type", b"application/json")], b"a=1").field("a"), None);
        assert_eq!(request(&[], b"a=1").field("a"), None);
    }

    #[test]
    fn a_name_that_no_header_can_have_is_refused() {
        for text in ["", "X Id", "X:Id", "Ü"] {
            assert!(HeaderName::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
