//! The media type of a body.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::headers::is_token;
use super::json;

/// The longest content type that is kept, in bytes.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;

/// The media type of a body, with its parameters, as the sender wrote it: 1 to 255 characters of visible ASCII, spaces
/// and tabs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType(Cow<'static, str>);

impl ContentType {
    /// `application/json`.
    pub const JSON: Self = Self(Cow::Borrowed("application/json"));

    /// `application/octet-stream`: what a body is if its sender does not say more (RFC 9110, section 8.3).
    pub const BYTES: Self = Self(Cow::Borrowed("application/octet-stream"));

    /// The content type of a request, from the value of its header. It is [`BYTES`](Self::BYTES) if there is no such
    /// header, or a value is empty, too long, or has other characters than visible ASCII, spaces and tabs.
    pub fn of_header(value: Option<&[u8]>) -> Self {
        let given = value.unwrap_or_default().trim_ascii();
        if given == Self::JSON.0.as_bytes() {
            return Self::JSON;
        }
        let is_valid = (1..=MAX_CONTENT_TYPE_BYTES).contains(&given.len())
            && given.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        match std::str::from_utf8(given) {
            Ok(text) if is_valid => Self(Cow::Owned(text.to_owned())),
            _ => Self::BYTES,
        }
    }

    /// The content type that settings name: a type and a subtype, with parameters or without (RFC 9110, section 8.3.1).
    /// None if the text is anything else.
    pub fn of_settings(text: &str) -> Option<Self> {
        let content_type = Self::of_header(Some(text.as_bytes()));
        let mut parts = text.split(';').map(str::trim_ascii);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let is_valid = is_token(kind) && is_token(subtype) && parts.all(is_parameter);
        // A text that no header can have is another content type now.
        (is_valid && content_type.as_str() == text).then_some(content_type)
    }

    /// The text of the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a type of JSON: `application/json`, `text/json`, or one that ends in `+json` (RFC 6839).
    pub fn is_json(&self) -> bool {
        let essence = self.essence().as_bytes();
        let suffix = essence.len().checked_sub(5).map(|at| &essence[at..]);
        essence.eq_ignore_ascii_case(b"application/json")
            || essence.eq_ignore_ascii_case(b"text/json")
            || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
    }

    /// Whether it is the type of forms: `application/x-www-form-urlencoded`.
    pub fn is_form(&self) -> bool {
        self.essence().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    /// A body of this type as JSON, to look something up in it; none if the type is not one of JSON, or the body is not
    /// valid JSON. White space around the value is left out.
    pub fn json_of<'b>(&self, body: &'b [u8]) -> Option<&'b RawValue> {
        self.is_json().then(|| json::read(body)).flatten()
    }

    /// A body of this type as JSON, to show it as such; none also if clients may not be able to read it
    /// ([`json::check_readable`]).
    pub fn shown_json_of<'b>(&self, body: &'b [u8]) -> Option<&'b RawValue> {
        self.json_of(body).filter(|json| json::check_readable(json.get()).is_ok())
    }

    /// The type without its parameters.
    fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim_ascii()
    }
}

/// Whether a text is a parameter of a media type: a name and a value, which is a token or is in double quotes.
fn is_parameter(text: &str) -> bool {
    let Some((name, value)) = text.split_once('=') else { return false };
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    is_token(name) && quoted.map_or_else(|| is_token(value), |text| !text.contains(['"', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> ContentType {
        ContentType::of_header(Some(value.as_bytes()))
    }

    #[test]
    fn a_content_type_is_kept_as_it_was_written() {
        for kept in
            ["application/json", "Application/JSON; charset=\"utf-8\"", "text/plain;\tx=1", "nonsense"]
        {
            assert_eq!(of(kept).as_str(), kept);
            assert_eq!(of(&format!(" {kept} ")).as_str(), kept);
        }
    }

    #[test]
    fn a_content_type_that_is_absent_or_no_header_is_that_of_any_bytes() {
        assert_eq!(ContentType::of_header(None), ContentType::BYTES);
        for refused in ["", " ", "text/plain\r\nx: 1", "text/\0", "text/ż", &"t".repeat(256)] {
            assert_eq!(of(refused), ContentType::BYTES, "{refused:?}");
        }
        assert_eq!(ContentType::of_header(Some(b"text/\xff")), ContentType::BYTES);
    }

    #[test]
    fn settings_name_a_media_type_and_nothing_else() {
        for valid in [
            "application/json",
            "Application/vnd.shop+JSON;charset=utf-8",
            "text/plain; charset=\"utf-8\" ; x=1",
            "application/octet-stream",
        ] {
            assert_eq!(ContentType::of_settings(valid).expect(valid).as_str(), valid);
        }
        for refused in [
            "",
            "json",
            "application/",
            "/json",
            "application/json/x",
            "application /json",
            " application/json",
            "application/json\n",
            "application/json;",
            "application/json; charset",
            "application/json; =utf-8",
            "application/json; charset=\"utf-8",
            "application/json, text/plain",
            "text/ż",
            &format!("text/{}", "t".repeat(256)),
        ] {
            assert_eq!(ContentType::of_settings(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn types_of_json_and_of_forms_are_known_with_parameters_and_in_any_case() {
        for json in ["application/json", "TEXT/JSON ;charset=utf-8", "application/cloudevents+json; x=1"] {
            assert!(of(json).is_json() && !of(json).is_form(), "{json}");
        }
        for form in ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=utf-8"]
        {
            assert!(of(form).is_form() && !of(form).is_json(), "{form}");
        }
        for other in ["text/plain", "application/jsonp", "json", "application/xml;x=+json", "+jso"] {
            assert!(!of(other).is_json() && !of(other).is_form(), "{other}");
        }
    }

    #[test]
    fn a_body_is_json_if_its_type_says_so_and_it_is_valid() {
        let json = |content_type: &str, body: &[u8]| {
            of(content_type).json_of(body).map(|json| json.get().to_owned())
        };
        assert_eq!(json("application/json", b" {\"a\": 1.10}\n").as_deref(), Some("{\"a\": 1.10}"));
        assert_eq!(json("text/plain", b"1"), None);
        for invalid in [&b""[..], b"{", b"1 2", b"\"\xff\"", b"\xef\xbb\xbf1"] {
            assert_eq!(json("application/json", invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn a_body_that_clients_cannot_read_is_json_but_not_shown_as_such() {
        let deep = ["[".repeat(129), "]".repeat(129)].concat();
        for body in [r#"{"t":"cut \ud83d"}"#, &deep] {
            assert!(ContentType::JSON.json_of(body.as_bytes()).is_some(), "{body}");
            assert!(ContentType::JSON.shown_json_of(body.as_bytes()).is_none(), "{body}");
        }
        assert!(
            ContentType::JSON.shown_json_of(b" {\"a\":1} ").is_some_and(|json| json.get() == "{\"a\":1}")
        );
        assert!(of("text/plain").shown_json_of(b"1").is_none());
    }
}
