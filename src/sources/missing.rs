//! Says why a request does not have a part of its key.

use super::json::Document;
use super::part::Part;
use super::place::Place;

/// The text about a part of a key that is missing. `whole` is the whole body.
pub(super) fn missing(part: &Part, whole: &Document<'_>) -> String {
    let text = if part.is_in_json() && whole.json().is_none() {
        format!("{}, so {part} is missing", no_json(whole.bytes()))
    } else {
        format!("{part} is missing{}", otherwise(part))
    };
    format!("{text}; the idempotency key is made of it")
}

/// Why a body that is not JSON is not.
pub(super) fn no_json(body: &[u8]) -> &'static str {
    if body.starts_with("\u{feff}".as_bytes()) {
        "the body begins with a byte-order mark, which JSON must not have"
    } else if std::str::from_utf8(body).is_err() {
        "the body is not valid JSON, because it is not UTF-8"
    } else {
        "the body is not valid JSON"
    }
}

/// How else a value can be there and not be read.
pub(super) fn unread(place: &Place) -> &'static str {
    match place {
        // Of a repeated member, the last one counts.
        Place::Json(_) => ", empty, or no string, number or boolean",
        Place::Header(_) => ", empty, not UTF-8, or there more than once",
        Place::Form(_) | Place::Query(_) => ", empty, or there more than once",
    }
}

fn otherwise(part: &Part) -> &'static str {
    match part {
        Part::Of(place) => unread(place),
        Part::Outer(_) => ", empty, or no string, number or boolean",
        Part::Decoded(_) => ", empty, not UTF-8, or there more than once",
        Part::UnlessType(part, _) => otherwise(part),
        Part::Body | Part::Request | Part::Text(_) | Part::Name(_) | Part::First(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use crate::sources::fixture::{request, rules};
    use crate::sources::read;

    #[test]
    fn a_body_that_is_no_json_is_told_as_such_and_not_as_a_missing_value() {
        let of = |key: &str, body: &[u8]| {
            let rules = rules(&format!("verify = \"none\"\nkey = {key}"), &[]);
            read(&request(&[], body), &rules).expect_err("is refused").to_string()
        };
        let utf_16 = "{\"id\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        for (body, told) in [
            (&b"{\"id\":NaN}"[..], "the body is not valid JSON, so the JSON value `/id` is missing"),
            (b"{\"id\":1} x", "the body is not valid JSON, so"),
            (b"", "the body is not valid JSON, so"),
            (&utf_16[..], "the body is not valid JSON, so"),
            (b"\xff\xfe{\0", "the body is not valid JSON, because it is not UTF-8, so"),
            (b"{\"id\":\"caf\xe9\"}", "the body is not valid JSON, because it is not UTF-8, so"),
            (
                b"\xef\xbb\xbf{\"id\":1}",
                "the body begins with a byte-order mark, which JSON must not have, so",
            ),
            (b"{}", "the JSON value `/id` is missing, empty, or no string"),
        ] {
            for key in ["{ json = \"/id\" }", "[{ text = \"a\" }, { json = \"/id\" }]"] {
                let error = of(key, body);
                assert!(error.starts_with(told), "{body:?}: {error}");
            }
        }
        let either = of("{ first = [{ header = \"X-Id\" }, { json = \"/id\" }] }", b"x");
        let expected = "the body is not valid JSON, so the header `X-Id` or the JSON value `/id` is missing";
        assert!(either.starts_with(expected), "{either}");
        assert!(of("{ header = \"X-Id\" }", b"x").starts_with("the header `X-Id` is missing"));
    }

    #[test]
    fn a_batch_that_begins_with_a_byte_order_mark_is_told_as_such() {
        let rules = rules("verify = \"none\"\nsplit = \"\"\nkey = \"body\"", &[]);
        let error = read(&request(&[], b"\xef\xbb\xbf[1]"), &rules).expect_err("is refused");
        assert_eq!(error.to_string(), "the body begins with a byte-order mark, which JSON must not have");
    }
}
