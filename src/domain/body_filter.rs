//! What a list looks for in the bodies of webhooks.
//!
//! Bodies are JSON if the content type says so and the body is valid, an object of its fields if it is a form, and else a
//! text, or nothing if it is not UTF-8.

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memmem::Finder;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use url::form_urlencoded;

use super::canonical::canonical_number;
use super::content_type::ContentType;
use super::error::{Error, Result};
use super::filter::check_length;
use super::json::{self, find};
use super::payload::PayloadDigest;
use super::{pointer, surrogates};

/// The most members of a pointer in a filter. Looking for each of them reads the value of the one before once more, so
/// this limits the time that one body takes.
pub const MAX_POINTER_MEMBERS: usize = 32;

/// What the body of a webhook has to have to be listed.
#[derive(Clone, Debug)]
pub struct BodyFilter {
    value: Option<ValueAt>,
    contains: Option<Finder<'static>>,
}

/// A value, and the members of the pointer that leads to it.
#[derive(Clone, Debug)]
struct ValueAt {
    members: Box<[Box<str>]>,
    wanted: Wanted,
}

/// A value as it was given: the same JSON value fits, and a string with the same text.
#[derive(Clone, Debug)]
struct Wanted {
    text: Box<str>,
    json: Option<Json>,
}

/// A JSON value to compare others with.
#[derive(Clone, Debug)]
enum Json {
    Null,
    Bool(bool),
    /// As [`canonical_number`] writes it.
    Number(Box<str>),
    String(Box<str>),
    /// An array or an object.
    Composite(PayloadDigest),
}

impl BodyFilter {
    /// A filter for bodies that have the value `equals` where `pointer` points, and have the bytes of `contains`. Empty
    /// texts count as absent; none if all are. Without `pointer`, the whole body has to equal `equals`.
    /// Errors: `InvalidField` for `body_pointer`, `body_equals` or `body_contains`.
    pub fn from_fields(pointer: &str, equals: &str, contains: &str) -> Result<Option<Self>> {
        for (field, text) in [("body_pointer", pointer), ("body_equals", equals), ("body_contains", contains)]
        {
            check_length(field, text)?;
        }
        let value = match (pointer, equals) {
            ("", "") => None,
            (_, "") => {
                let problem = "is missing; it is the value that `body_pointer` has to point at";
                return Err(Error::invalid("body_equals", problem));
            }
            _ => Some(ValueAt { members: members(pointer)?, wanted: Wanted::new(equals) }),
        };
        let contains = (!contains.is_empty()).then(|| Finder::new(contains).into_owned());
        Ok((value.is_some() || contains.is_some()).then_some(Self { value, contains }))
    }

    /// Whether a body of this type has all that is looked for.
    pub fn matches(&self, body: &[u8], content_type: &ContentType) -> bool {
        self.contains.as_ref().is_none_or(|contains| contains.find(body).is_some())
            && self.value.as_ref().is_none_or(|value| value.is_in(body, content_type))
    }
}

fn members(pointer: &str) -> Result<Box<[Box<str>]>> {
    let members = pointer::members(pointer).ok_or_else(|| {
        let problem = "must be a JSON pointer, such as /data/0/id, with ~0 for ~ and ~1 for /";
        Error::invalid("body_pointer", problem)
    })?;
    if members.len() > MAX_POINTER_MEMBERS {
        let problem = format_args!("has more than {MAX_POINTER_MEMBERS} members; shorten it");
        return Err(Error::invalid("body_pointer", problem));
    }
    Ok(members)
}

impl ValueAt {
    fn is_in(&self, body: &[u8], content_type: &ContentType) -> bool {
        if content_type.is_form() {
            return form(body).is_some_and(|form| self.is_in_json(&form));
        }
        if let Some(json) = content_type.json_of(body) {
            return self.is_in_json(json);
        }
        self.members.is_empty() && std::str::from_utf8(body).is_ok_and(|text| self.wanted.is_text(text))
    }

    fn is_in_json(&self, json: &RawValue) -> bool {
        find(json, &self.members).is_some_and(|value| self.wanted.is(value))
    }
}

/// A field of a form. One that is repeated is the list of its values.
#[derive(Serialize)]
#[serde(untagged)]
enum Field<'a> {
    One(&'a str),
    Several(&'a [Cow<'a, str>]),
}

impl<'a> Field<'a> {
    fn of(values: &'a [Cow<'a, str>]) -> Self {
        match values {
            [one] => Self::One(one),
            several => Self::Several(several),
        }
    }
}

/// A form as a JSON object.
fn form(body: &[u8]) -> Option<Box<RawValue>> {
    let mut fields = BTreeMap::<Cow<'_, str>, Vec<Cow<'_, str>>>::new();
    for (name, value) in form_urlencoded::parse(body) {
        fields.entry(name).or_default().push(value);
    }
    let fields = fields.iter().map(|(name, values)| (&**name, Field::of(values)));
    to_raw_value(&fields.collect::<BTreeMap<_, _>>()).ok()
}

impl Wanted {
    fn new(text: &str) -> Self {
        Self { text: text.into(), json: Json::read(text) }
    }

    /// Whether a JSON value is the wanted one.
    fn is(&self, value: &RawValue) -> bool {
        let json = value.get();
        match (json.as_bytes().first(), &self.json) {
            (Some(b'"'), _) => json::text(value).is_some_and(|text| self.is_text(&text)),
            (Some(b'{' | b'['), Some(Json::Composite(wanted))) => {
                digest(json).is_some_and(|digest| digest == *wanted)
            }
            (Some(b't'), Some(Json::Bool(wanted))) => *wanted,
            (Some(b'f'), Some(Json::Bool(wanted))) => !*wanted,
            (Some(b'n'), Some(Json::Null)) => true,
            (Some(b'-' | b'0'..=b'9'), Some(Json::Number(wanted))) => *canonical_number(json) == **wanted,
            _ => false,
        }
    }

    /// Whether a string is the wanted one.
    fn is_text(&self, text: &str) -> bool {
        *text == *self.text || matches!(&self.json, Some(Json::String(wanted)) if *text == **wanted)
    }
}

impl Json {
    /// The value of a JSON text; none if it is not valid, repeats a member in an object, or nests too deep.
    fn read(text: &str) -> Option<Self> {
        let value = json::read(text.as_bytes())?;
        let json = value.get();
        Some(match json.as_bytes().first()? {
            b'"' => Self::String(json::text(value)?.into()),
            b'{' | b'[' => Self::Composite(digest(json)?),
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'n' => Self::Null,
            _ => Self::Number(canonical_number(json).into()),
        })
    }
}

/// The digest of an array or object, in which lone surrogates are U+FFFD; none if it repeats a member in an object, or
/// nests too deep.
fn digest(json: &str) -> Option<PayloadDigest> {
    let json = surrogates::replaced(json.as_bytes());
    PayloadDigest::of_json(std::str::from_utf8(&json).ok()?).ok()
}

#[cfg(test)]
mod tests;
