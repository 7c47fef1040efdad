//! Finds values in JSON by pointers, without a tree, so that every value keeps its exact bytes.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::json::{self, find};
use crate::domain::pointer;

/// A parsed JSON pointer. The empty pointer names the whole value.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pointer {
    text: Box<str>,
    members: Box<[Box<str>]>,
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let members = pointer::members(&text).ok_or_else(|| {
            format!(
                "{text:?} is no JSON pointer; write one such as \"/data/0/id\", with ~0 for ~ and ~1 for /"
            )
        })?;
        Ok(Self { text: text.into(), members })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pointer {
    /// The name of the member, or the index, that the pointer ends with; empty for the empty pointer.
    pub(super) fn last(&self) -> &str {
        self.members.last().map_or("", AsRef::as_ref)
    }

    /// The names and indexes on the way to the value.
    pub(super) fn members(&self) -> &[Box<str>] {
        &self.members
    }

    /// The value that the pointer names; none if there is none. Of a repeated member, the last one counts.
    pub(super) fn find<'a>(&self, json: &'a RawValue) -> Option<&'a RawValue> {
        find(json, &self.members)
    }
}

/// A text that may be JSON. It is read when it is first asked for.
pub(super) struct Document<'a> {
    bytes: &'a [u8],
    json: OnceCell<Option<&'a RawValue>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, json: OnceCell::new() }
    }

    /// A document that is known to be JSON.
    pub(super) fn of(json: &'a RawValue) -> Self {
        Self { bytes: json.get().as_bytes(), json: OnceCell::from(Some(json)) }
    }

    /// The bytes, whether they are JSON or not.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The JSON; none if the bytes are no JSON in UTF-8.
    pub(super) fn json(&self) -> Option<&'a RawValue> {
        *self.json.get_or_init(|| json::read(self.bytes))
    }

    /// Whether a pointer names a value that is neither null nor an empty string.
    pub(super) fn has(&self, pointer: &Pointer) -> bool {
        let found = self.json().and_then(|json| pointer.find(json));
        found.is_some_and(|found| !matches!(found.get(), "null" | "\"\""))
    }

    /// The string, number or boolean that a pointer names, as a text. Numbers are as they are written.
    pub(super) fn text(&self, pointer: &Pointer) -> Option<String> {
        scalar(pointer.find(self.json()?)?)
    }
}

/// A string, number or boolean as a text; none for any other value. Numbers are as they are written, and lone surrogates
/// in strings are U+FFFD.
pub(super) fn scalar(json: &RawValue) -> Option<String> {
    match json.get().as_bytes().first()? {
        b'"' => json::text(json).map(Cow::into_owned),
        b'{' | b'[' | b'n' => None,
        _ => Some(json.get().to_owned()),
    }
}

/// The items of an array.
pub(super) enum Items<'a> {
    /// All of them.
    All(Vec<&'a RawValue>),
    /// The array has more items than are read.
    TooMany,
}

/// The items of an array, if it has at most `most`; none for any other value.
pub(super) fn items(json: &RawValue, most: usize) -> Option<Items<'_>> {
    serde_json::Deserializer::from_str(json.get()).deserialize_seq(AtMost(most)).ok()
}

/// Reads up to this number of items of an array.
struct AtMost(usize);

impl<'de> Visitor<'de> for AtMost {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            if items.len() == self.0 {
                // The rest has to be read, or else the parser reports it as a fault.
                while array.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Items::TooMany);
            }
            items.push(item);
        }
        Ok(Items::All(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str, pointer: &str) -> Option<String> {
        let pointer = Pointer::try_from(pointer.to_owned()).expect(pointer);
        Document::new(json.as_bytes()).text(&pointer)
    }

    #[test]
    fn strings_are_read_and_numbers_stay_as_they_are_written() {
        let json = r#" {"a":{"b~/c":["x",{"n":1.10e2,"t":true,"s":"\u0041\n"}]},"a2":null} "#;
        assert_eq!(text(json, "/a/b~0~1c/0").as_deref(), Some("x"));
        assert_eq!(text(json, "/a/b~0~1c/1/n").as_deref(), Some("1.10e2"));
        assert_eq!(text(json, "/a/b~0~1c/1/t").as_deref(), Some("true"));
        assert_eq!(text(json, "/a/b~0~1c/1/s").as_deref(), Some("A\n"));
        assert_eq!(text("12345678901234567890123", "").as_deref(), Some("12345678901234567890123"));
        for pointer in ["", "/a", "/a2", "/no", "/a/b~0~1c/2", "/a/b~0~1c/00", "/a/b~0~1c/0/0"] {
            assert_eq!(text(json, pointer), None, "{pointer}");
        }
    }

    #[test]
    fn half_a_character_is_the_replacement_character_and_hides_no_other_value() {
        let json = r#"{"\ud83d":{"\ude00":1},"id":"cut \ud83d"}"#;
        assert_eq!(text(json, "/id").as_deref(), Some("cut \u{fffd}"));
        assert_eq!(text(json, "/\u{fffd}/\u{fffd}").as_deref(), Some("1"));
    }

    #[test]
    fn what_is_not_json_has_no_values() {
        for json in ["", "{", r#"{"a":1} x"#, r#"{"a":1}{"a":1}"#, "\u{feff}{\"a\":1}", "a=1"] {
            assert_eq!(text(json, "/a"), None, "{json}");
        }
        assert_eq!(text(&format!("{{\"a\":1,\"b\":{}", "[".repeat(100_000)), "/a"), None);
    }

    #[test]
    fn of_a_repeated_member_the_last_one_counts() {
        assert_eq!(text(r#"{"a":1,"\u0061":2}"#, "/a").as_deref(), Some("2"));
    }

    #[test]
    fn items_keep_their_exact_bytes() {
        let json = serde_json::from_str::<&RawValue>(r#"[ {"b": 1.0 ,"a":"\u0041"} ,2 ]"#).expect("valid");
        let Some(Items::All(items_of_array)) = items(json, 2) else { panic!("an array of two") };
        let texts = items_of_array.into_iter().map(RawValue::get).collect::<Vec<_>>();
        assert_eq!(texts, [r#"{"b": 1.0 ,"a":"\u0041"}"#, "2"]);
        assert!(matches!(items(json, 1), Some(Items::TooMany)));
        assert!(items(serde_json::from_str("{}").expect("valid"), 1).is_none());
    }

    #[test]
    fn an_item_of_a_long_array_is_found() {
        let json = format!("[0{}]", ",1".repeat(20_000));
        assert_eq!(text(&json, "/0").as_deref(), Some("0"));
        assert_eq!(text(&json, "/20000").as_deref(), Some("1"));
        assert_eq!(text(&json, "/20001"), None);
        assert_eq!(text(&json, "/18446744073709551615"), None);
    }

    #[test]
    fn a_value_is_there_unless_it_is_null_or_an_empty_string() {
        let has = |pointer: &str| {
            let pointer = Pointer::try_from(pointer.to_owned()).expect(pointer);
            Document::new(br#"{"o":{},"a":[],"f":false,"z":0,"s":" ","n":null,"e":""}"#).has(&pointer)
        };
        assert_eq!(["/o", "/a", "/f", "/z", "/s"].map(has), [true; 5]);
        assert_eq!(["/n", "/e", "/x"].map(has), [false; 3]);
    }
}
