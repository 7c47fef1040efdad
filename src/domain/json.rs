//! JSON of senders and handlers, without a tree, so that every value keeps its exact bytes; and the rules for what counts
//! as JSON:
//!
//! - [`read`]: it is valid. Keys, event types and filters are looked up in it.
//! - [`check_readable`]: clients can read it, too. Only then is it put into a document as JSON.
//!
//! For conditions and order values there is a tree (`routes/body.rs`), which also needs distinct members and at most
//! [`MAX_DEPTH`] levels. All of them read a lone surrogate as U+FFFD.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::canonical::MAX_DEPTH;
use super::{pointer, surrogates};

/// A text as JSON, without the white space around the value; none if it is not valid (RFC 8259), or not UTF-8.
pub fn read(text: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(text).ok()
}

/// The text of a JSON string, with U+FFFD in the place of lone surrogates; none for any other value.
pub fn text(json: &RawValue) -> Option<Cow<'_, str>> {
    let json = json.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_slice::<String>(&surrogates::replaced(json.as_bytes())).ok().map(Cow::Owned)
}

/// Why clients may not be able to read a JSON value. The text continues a sentence that begins with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Arrays and objects nest more than [`MAX_DEPTH`] levels deep.
    TooDeep,
    /// A string has half of a character.
    LoneSurrogate,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => {
                write!(f, "nests more than {MAX_DEPTH} levels deep; flatten it, or send it as a string")
            }
            Self::LoneSurrogate => f.write_str(
                "has half of a surrogate pair, such as \\ud83d; write the other half too, or \\ufffd in its place",
            ),
        }
    }
}

/// Checks that clients can read a valid JSON text. One that they cannot read would make the whole document unreadable that
/// it is a part of. Errors: why they may not be able to.
pub fn check_readable(json: &str) -> Result<(), Unreadable> {
    if surrogates::find(json.as_bytes(), 0).is_some() {
        return Err(Unreadable::LoneSurrogate);
    }
    if levels(json) > MAX_DEPTH { Err(Unreadable::TooDeep) } else { Ok(()) }
}

/// How many levels deep the arrays and objects of a valid JSON text nest.
fn levels(json: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0_usize);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                open += 1;
                most = most.max(open);
            }
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Skips the rest of a string, and its end.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

/// The value that the members of a pointer lead to; none if there is none. Of a repeated member, the last one counts.
/// Reads the value of each member once more, but the last.
pub fn find<'a>(json: &'a RawValue, members: &[Box<str>]) -> Option<&'a RawValue> {
    members.iter().try_fold(json, |json, member| child(json, member))
}

fn child<'a>(json: &'a RawValue, member: &str) -> Option<&'a RawValue> {
    let mut parser = serde_json::Deserializer::from_str(json.get());
    match json.get().as_bytes().first()? {
        b'{' => parser.deserialize_map(Member(member)).ok()?,
        b'[' => parser.deserialize_seq(Item(pointer::index(member)?)).ok()?,
        _ => None,
    }
}

/// Reads the member of an object that has this name, and skips the others.
struct Member<'m>(&'m str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<&RawValue>()? {
            if text(name).is_some_and(|name| name == self.0) {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Reads the item of an array at this index, and skips the others.
struct Item(usize);

impl<'de> Visitor<'de> for Item {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.0 {
            if array.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = array.next_element()?;
        // The rest has to be read, or else the parser reports it as a fault.
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(json: &'a str, pointer: &str) -> Option<&'a str> {
        let json = serde_json::from_str::<&RawValue>(json).expect("valid");
        find(json, &pointer::members(pointer).expect(pointer)).map(RawValue::get)
    }

    #[test]
    fn values_keep_their_exact_bytes() {
        let json = r#" {"a":{"b~/c":["x", { "n" : 1.10e2 }]},"":[[0],[1,[2]]]} "#;
        assert_eq!(found(json, "/a/b~0~1c/0"), Some("\"x\""));
        assert_eq!(found(json, "/a/b~0~1c/1"), Some(r#"{ "n" : 1.10e2 }"#));
        assert_eq!(found(json, "/a/b~0~1c/1/n"), Some("1.10e2"));
        assert_eq!(found(json, "//1/1/0"), Some("2"));
        assert_eq!(found("[7]", ""), Some("[7]"));
        let far = "//18446744073709551615";
        for pointer in ["/b", "/a/b", "/a/b~0~1c/2", "/a/b~0~1c/00", "/a/b~0~1c/0/0", far] {
            assert_eq!(found(json, pointer), None, "{pointer}");
        }
    }

    #[test]
    fn of_a_repeated_member_the_last_one_counts() {
        assert_eq!(found(r#"{"a":1,"\u0061":2,"b":3}"#, "/a"), Some("2"));
    }

    #[test]
    fn half_a_character_is_the_replacement_character_in_names_and_texts() {
        let json = r#"{"\ud83d":1,"b":"cut \ud83d","c":"\ud83d\ude00"}"#;
        assert_eq!(found(json, "/\u{fffd}"), Some("1"));
        let text_at = |pointer: &str| {
            let json = read(json.as_bytes()).expect("valid");
            find(json, &pointer::members(pointer).expect(pointer)).and_then(text).map(Cow::into_owned)
        };
        assert_eq!(text_at("/b").as_deref(), Some("cut \u{fffd}"));
        assert_eq!(text_at("/c").as_deref(), Some("😀"));
        assert_eq!((text_at("/\u{fffd}"), text_at("")), (None, None));
    }

    #[test]
    fn clients_can_read_json_that_has_few_levels_and_whole_characters() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let wide = format!("[{}0]", "[{}],".repeat(1_000));
        let in_text = format!(r#"["{}\"[{{",1]"#, "[".repeat(1_000));
        for json in ["1", r#""\ud83d\ude00""#, r#""\\ud83d""#, &nested(MAX_DEPTH), &wide, &in_text] {
            assert!(read(json.as_bytes()).is_some(), "{json}");
            assert_eq!(check_readable(json), Ok(()), "{json}");
        }
        assert_eq!(check_readable(&nested(MAX_DEPTH + 1)), Err(Unreadable::TooDeep));
        assert_eq!(check_readable(r#"[{"a":"\ud83d"}]"#), Err(Unreadable::LoneSurrogate));
        assert_eq!(check_readable(r#"{"\ude00":1}"#), Err(Unreadable::LoneSurrogate));
    }

    #[test]
    fn an_array_of_any_length_and_depth_is_read() {
        let long = format!("[{}7]", "0,".repeat(100_000));
        assert_eq!(found(&long, "/100000"), Some("7"));
        let deep = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(found(&deep, "/b"), Some("1"));
    }
}
