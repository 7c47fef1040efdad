//! The signed text: a template with placeholders.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::hex;
use super::json::{Document, Pointer};
use super::place::{List, Place};
use super::request::{HeaderName, Request};
use crate::domain::verdict::Cause;

const KNOWN: &str = "{body}, {timestamp}, {header:NAME}, {query:NAME}, {json:/POINTER}, {form:NAME}, {method}, {url}, \
    {form_sorted} and {body_sha256}";

/// The text that a sender signs, as a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    Body,
    Timestamp,
    Method,
    Url,
    FormSorted,
    BodySha256,
    Of(Place),
}

impl Default for Template {
    /// The body alone.
    fn default() -> Self {
        Self(vec![Piece::Body])
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            let (literal, placeholder) = rest.split_at(at);
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            let (name, after) = placeholder
                .strip_prefix('{')
                .and_then(|placeholder| placeholder.split_once('}'))
                .ok_or_else(|| {
                    format!("a brace of {text:?} does not belong to a placeholder; known are {KNOWN}")
                })?;
            pieces.push(piece(name)?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

impl Template {
    /// Whether the body is part of what is signed, in any form.
    pub(super) fn covers_body(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Body | Piece::FormSorted | Piece::BodySha256))
    }

    /// Whether the timestamp is part of what is signed.
    pub(super) fn has_timestamp(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Timestamp))
    }

    /// Whether the value at this place is part of what is signed, by itself or within the body.
    pub(super) fn signs(&self, place: &Place) -> bool {
        let is_in_body = matches!(place, Place::Json(_) | Place::Form(_));
        let place = place.to_string();
        (is_in_body && self.covers_body())
            || self.0.iter().any(|piece| matches!(piece, Piece::Of(other) if other.to_string() == place))
    }

    /// The places of values that are part of what is signed.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Of(place) => Some(place),
            _ => None,
        })
    }

    /// Whether the URL is part of what is signed.
    pub(super) fn has_url(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Url))
    }

    /// What the sender should have signed. Several texts if the URL is part of it: senders differ about writing the
    /// port. Errors: a part of it is missing.
    pub(super) fn render<'a>(
        &self,
        request: &Request<'a>,
        document: &Document<'_>,
        timestamp: Option<&str>,
    ) -> Result<Vec<Cow<'a, [u8]>>, Cause> {
        if let [Piece::Body] = *self.0 {
            return Ok(vec![Cow::Borrowed(request.body)]);
        }
        let urls = match request.url {
            _ if !self.has_url() => vec![String::new()],
            Some(url) => urls(url),
            None => return Err(Cause::KeyUnavailable),
        };
        let texts = urls.iter().map(|url| self.text(request, document, timestamp, url).map(Cow::Owned));
        texts.collect()
    }

    fn text(
        &self,
        request: &Request<'_>,
        document: &Document<'_>,
        timestamp: Option<&str>,
        url: &str,
    ) -> Result<Vec<u8>, Cause> {
        let mut text = Vec::with_capacity(request.body.len() + 256);
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.extend_from_slice(literal.as_bytes()),
                Piece::Body => text.extend_from_slice(request.body),
                Piece::Timestamp => {
                    text.extend_from_slice(timestamp.ok_or(Cause::TimestampMissing)?.as_bytes());
                }
                Piece::Method => text.extend_from_slice(request.method.as_bytes()),
                Piece::Url => text.extend_from_slice(url.as_bytes()),
                Piece::FormSorted => {
                    let fields = request.fields().ok_or(Cause::SignatureMalformed)?;
                    for (name, value) in fields.collect::<BTreeSet<_>>() {
                        text.extend_from_slice(name.as_bytes());
                        text.extend_from_slice(value.as_bytes());
                    }
                }
                Piece::BodySha256 => {
                    text.extend_from_slice(hex::encode(&Sha256::digest(request.body)).as_bytes());
                }
                Piece::Of(place) => {
                    let value = place.find(request, document).ok_or(Cause::SignatureMalformed)?;
                    text.extend_from_slice(value.as_bytes());
                }
            }
        }
        Ok(text)
    }
}

fn piece(name: &str) -> Result<Piece, String> {
    let (kind, of) = name.split_once(':').unwrap_or((name, ""));
    Ok(match (kind, of) {
        ("body", "") => Piece::Body,
        ("timestamp", "") => Piece::Timestamp,
        ("method", "") => Piece::Method,
        ("url", "") => Piece::Url,
        ("form_sorted", "") => Piece::FormSorted,
        ("body_sha256", "") => Piece::BodySha256,
        ("header", _) => Piece::Of(Place::Header(List(vec![HeaderName::try_from(of.to_owned())?]))),
        ("json", _) => Piece::Of(Place::Json(List(vec![Pointer::try_from(of.to_owned())?]))),
        ("query", of) if !of.is_empty() => Piece::Of(Place::Query(List(vec![of.to_owned()]))),
        ("form", of) if !of.is_empty() => Piece::Of(Place::Form(List(vec![of.to_owned()]))),
        _ => return Err(format!("the placeholder {{{name}}} is not known; known are {KNOWN}")),
    })
}

/// A URL as it is, and without its port; if it has none, with the default port of its scheme. Twilio may leave out any
/// port, not only the default one (twilio for Python, `request_validator.py`).
fn urls(url: &str) -> Vec<String> {
    let mut urls = vec![url.to_owned()];
    let default_port = if url.starts_with("https://") { ":443" } else { ":80" };
    if let Some(start) = url.find("://").map(|at| at + 3) {
        let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
        let (before, path) = (&url[..end], &url[end..]);
        // An IPv6 address in brackets has colons of its own.
        let host = before.rfind(']').unwrap_or(start);
        urls.push(match before[host..].find(':') {
            Some(length) => format!("{}{path}", &before[..host + length]),
            None => format!("{before}{default_port}{path}"),
        });
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::fixture::request;

    fn rendered(template: &str, request: &Request<'_>) -> Result<Vec<String>, Cause> {
        let template = Template::try_from(template.to_owned()).expect(template);
        let texts = template.render(request, &Document::new(request.body), Some("12"))?;
        Ok(texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
    }

    #[test]
    fn placeholders_are_replaced_by_what_the_request_has() {
        let headers = [("x-id", &b"7"[..]), ("content-type", b"application/json")];
        let request = Request { query: "q=a%20b", ..request(&headers, br#"{"n":1.50}"#) };
        let all = "v0:{timestamp}.{header:X-Id}.{query:q}.{json:/n}.{method}.{body}";
        assert_eq!(rendered(all, &request), Ok(vec![r#"v0:12.7.a b.1.50.POST.{"n":1.50}"#.to_owned()]));
        assert_eq!(rendered("{body_sha256}", &request).map(|texts| texts[0].len()), Ok(64));
        assert_eq!(rendered("{header:x-no}", &request), Err(Cause::SignatureMalformed));
        assert_eq!(rendered("{form_sorted}", &request), Err(Cause::SignatureMalformed), "it is no form");
    }

    #[test]
    fn the_url_is_that_of_the_setting_with_and_without_a_port() {
        let of = |url| rendered("{url}", &Request { url, ..request(&[], b"") }).map(|urls| urls.join(" "));
        for (url, expected) in [
            ("https://a.example/x?y=:", "https://a.example/x?y=: https://a.example:443/x?y=:"),
            ("https://a.example:443/x", "https://a.example:443/x https://a.example/x"),
            ("http://a.example:8080/x:y", "http://a.example:8080/x:y http://a.example/x:y"),
            ("http://[::1]/x", "http://[::1]/x http://[::1]:80/x"),
            ("http://[::1]:8080", "http://[::1]:8080 http://[::1]"),
        ] {
            assert_eq!(of(Some(url)).as_deref(), Ok(expected));
        }
        assert_eq!(of(None), Err(Cause::KeyUnavailable));
    }

    #[test]
    fn fields_of_a_form_are_sorted_and_repeated_ones_are_signed_once() {
        let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
        let request = request(&headers, b"b=2&a=z&a=x%20y&b=2");
        assert_eq!(rendered("{form_sorted}", &request), Ok(vec!["ax yazb2".to_owned()]));
    }

    #[test]
    fn a_wrong_template_is_refused() {
        for text in
            ["{", "}", "{bdy}", "{body", "{header:}", "{header:a b}", "{json:a}", "{query:}", "{body:x}"]
        {
            assert!(Template::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
