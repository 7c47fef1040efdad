//! The headers of a request, as they are kept with its webhook.

use std::borrow::Cow;
use std::sync::Arc;

/// The most headers that are kept of a request.
pub const MAX_HEADERS: usize = 128;

/// The most bytes of names and values that are kept of a request.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Headers with credentials of the sender. Their values are not kept, and expressions of routes do not see them.
pub const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Headers that belong to one connection, or to how a body is framed on it. They are not sent on with a webhook.
pub const OF_CONNECTION: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is kept instead of a value that is hidden.
pub const HIDDEN: &str = "***";

/// The room for the headers of most requests, in bytes, so that their text grows only once.
const USUAL_BYTES: usize = 512;

/// The headers of a request, encoded once, as the stores keep them. A clone shares the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptHeaders(Option<Arc<str>>);

impl KeptHeaders {
    /// Keeps the first headers: at most [`MAX_HEADERS`], as many as have [`MAX_HEADER_BYTES`]. Names are kept in lower
    /// case; invalid UTF-8 in values is replaced. Values of [`CREDENTIALS`], and of the headers for whose name, in
    /// lower case, `is_hidden` returns true, are replaced by `***`.
    pub fn keep<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        is_hidden: impl Fn(&str) -> bool,
    ) -> Self {
        let (mut text, mut bytes) = (Vec::with_capacity(USUAL_BYTES), 0);
        for (name, value) in headers.into_iter().take(MAX_HEADERS) {
            let name = lower_case(name);
            let is_hidden = CREDENTIALS.contains(&&*name) || is_hidden(&name);
            let value = if is_hidden { HIDDEN.into() } else { String::from_utf8_lossy(value) };
            bytes += name.len() + value.len();
            if bytes > MAX_HEADER_BYTES {
                break;
            }
            text.push(if text.is_empty() { b'[' } else { b',' });
            // Cannot fail: a pair of texts, written to memory.
            if serde_json::to_writer(&mut text, &(&*name, &*value)).is_err() {
                return Self::default();
            }
        }
        if text.is_empty() {
            return Self::default();
        }
        text.push(b']');
        Self(String::from_utf8(text).ok().map(Into::into))
    }

    /// The text that stores keep: a JSON array of pairs of a name and a value; none if there are no headers.
    pub fn as_text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// Whether a text is a token, as names of headers and of media types are (RFC 9110, section 5.6.2).
pub fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// Reads a text that [`KeptHeaders::as_text`] has given: names in lower case, and values. Errors: the text is another.
pub fn read(text: &str) -> serde_json::Result<Vec<(String, String)>> {
    serde_json::from_str(text)
}

fn lower_case(name: &str) -> Cow<'_, str> {
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_lower { name.into() } else { name.to_ascii_lowercase().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(headers: &[(&str, &[u8])], is_hidden: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let kept = KeptHeaders::keep(headers.iter().copied(), is_hidden);
        kept.as_text().map(|text| read(text).expect("pairs")).unwrap_or_default()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn headers_come_out_in_their_order_with_names_in_lower_case() {
        let given: [(&str, &[u8]); 5] =
            [("X-B", b"1"), ("x-a", b"\"quoted\"\t\\"), ("x-b", b"2"), ("x-c", b"\xff"), ("x-d", b"")];
        let expected =
            [("x-b", "1"), ("x-a", "\"quoted\"\t\\"), ("x-b", "2"), ("x-c", "\u{fffd}"), ("x-d", "")];
        assert_eq!(kept(&given, |_| false), pairs(&expected));
    }

    #[test]
    fn no_headers_take_no_text() {
        assert_eq!(KeptHeaders::keep([], |_| false).as_text(), None);
        assert_eq!(KeptHeaders::default().as_text(), None);
    }

    #[test]
    fn values_of_credentials_and_of_named_headers_are_hidden() {
        let given: [(&str, &[u8]); 5] = [
            ("Authorization", b"Bearer x"),
            ("cookie", b"a=x"),
            ("proxy-authorization", b"x"),
            ("X-Signature", b"x"),
            ("accept", b"*/*"),
        ];
        let hidden =
            ["authorization", "cookie", "proxy-authorization", "x-signature"].map(|name| (name, "***"));
        let expected = [&hidden[..], &[("accept", "*/*")]].concat();
        assert_eq!(kept(&given, |name| name == "x-signature"), pairs(&expected));
    }

    #[test]
    fn the_first_headers_within_the_limits_are_kept() {
        let many = vec![("x", &b"v"[..]); MAX_HEADERS + 1];
        assert_eq!(kept(&many, |_| false).len(), MAX_HEADERS);
        let value = vec![b'v'; MAX_HEADER_BYTES / 2 - 1];
        let large = [("x", &value[..]), ("y", &value[..]), ("z", b"")];
        assert_eq!(kept(&large, |_| false).len(), 2, "they have exactly the bytes that are kept");
    }
}
