//! The body of a webhook as a tree, for conditions and pointers.
//!
//! Scalars are values of CEL, and strings without escapes are not copied. What counts as JSON is in
//! [`crate::domain::json`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString, CelUInt};
use cel::common::value::Val;
use json_event_parser::{JsonEvent, SliceJsonParser};
use url::form_urlencoded;

use crate::domain::canonical::MAX_DEPTH;
use crate::domain::payload::Payload;
use crate::domain::pointer::index;
use crate::domain::surrogates;

/// The body of a webhook.
pub(super) struct Body<'a> {
    pub(super) root: Node<'a>,
    /// Why the root is not what the sender may mean; none if it is JSON or a form.
    pub(super) not_parsed: Option<NotParsed>,
}

/// Why a body is a text or null, as a sentence without a full stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotParsed {
    /// The content type is that of something else.
    OtherType,
    /// It is not UTF-8.
    NotUtf8,
    /// It is not valid JSON.
    Invalid,
    /// It nests more than [`MAX_DEPTH`] levels deep.
    TooDeep,
    /// It repeats a member in an object.
    Repeats,
}

impl fmt::Display for NotParsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::NotUtf8 => return f.write_str("the body was read as null, because it is not UTF-8"),
            Self::TooDeep => {
                return write!(
                    f,
                    "the body was read as a text, because it nests more than {MAX_DEPTH} levels deep"
                );
            }
            Self::OtherType => "its content type is neither one of JSON nor that of forms",
            Self::Invalid => "it is not valid JSON",
            Self::Repeats => "it repeats a member in an object",
        };
        write!(f, "the body was read as a text, because {why}")
    }
}

/// A JSON value, or what a body that is not JSON looks like as one.
#[derive(Clone, Debug)]
pub(super) enum Node<'a> {
    /// `null`.
    Null(CelNull),
    /// `true` or `false`.
    Bool(CelBool),
    /// A whole number that fits an `i64`.
    Int(CelInt),
    /// Any other number.
    Number(Box<Number<'a>>),
    /// A string.
    String(CelString<'a>),
    /// An array.
    List(List<'a>),
    /// An object.
    Map(Map<'a>),
}

/// A number that is not an `int` of CEL.
#[derive(Clone, Debug)]
pub(super) struct Number<'a> {
    /// The number as it is written.
    pub(super) text: Cow<'a, str>,
    value: NumberValue,
}

#[derive(Clone, Debug)]
enum NumberValue {
    UInt(CelUInt),
    Double(CelDouble),
}

/// An array. A clone shares the items.
#[derive(Clone, Debug)]
pub(super) struct List<'a>(pub(super) Arc<[Node<'a>]>);

/// An object, its members sorted by name. A clone shares them.
#[derive(Clone, Debug)]
pub(super) struct Map<'a>(pub(super) Arc<[(CelString<'a>, Node<'a>)]>);

/// An array or object that is still open.
enum Open<'a> {
    List(Vec<Node<'a>>),
    Map(Vec<(CelString<'a>, Node<'a>)>, Option<CelString<'a>>),
}

impl<'a> Body<'a> {
    /// The body of a payload. A form is an object of its fields: a field that is repeated is the list of its values.
    /// Any other text that is not JSON is a string; what is not UTF-8 is null.
    pub(super) fn of(payload: &'a Payload) -> Self {
        let (body, content_type) = (payload.as_bytes(), payload.content_type());
        if content_type.is_form() {
            return Self { root: Node::form(body), not_parsed: None };
        }
        let parsed = if content_type.is_json() { Node::parse(body) } else { Err(NotParsed::OtherType) };
        let not_parsed = match parsed {
            Ok(root) => return Self { root, not_parsed: None },
            Err(why) => why,
        };
        match std::str::from_utf8(body) {
            Ok(text) => Self { root: Node::String(text.into()), not_parsed: Some(not_parsed) },
            Err(_) => Self { root: Node::Null(CelNull), not_parsed: Some(NotParsed::NotUtf8) },
        }
    }
}

impl<'a> Node<'a> {
    /// Parses a JSON text. Lone surrogates are U+FFFD in it. Errors: why it is not taken apart. The text of
    /// [`Payload::new`] always is.
    pub(super) fn parse(json: &'a (impl AsRef<[u8]> + ?Sized)) -> Result<Self, NotParsed> {
        let json = json.as_ref();
        match Self::read(json, std::convert::identity) {
            // The parser refuses lone surrogates.
            Err(NotParsed::Invalid) => match surrogates::replaced(json) {
                Cow::Owned(replaced) => Self::read(&replaced, |text| Cow::Owned(text.into_owned())),
                Cow::Borrowed(_) => Err(NotParsed::Invalid),
            },
            parsed => parsed,
        }
    }

    /// Parses a JSON text without lone surrogates. `keep` makes its parts live as long as the tree.
    fn read<'j>(json: &'j [u8], keep: impl Fn(Cow<'j, str>) -> Cow<'a, str>) -> Result<Self, NotParsed> {
        if json.starts_with("\u{feff}".as_bytes()) {
            // The parser would skip the byte-order mark. RFC 8259 does not allow it, and nothing else reads it as JSON.
            return Err(NotParsed::Invalid);
        }
        let mut parser = SliceJsonParser::new(json);
        let mut open: Vec<Open<'a>> = Vec::new();
        let mut root = None;
        loop {
            let node = match parser.parse_next().map_err(|_| NotParsed::Invalid)? {
                JsonEvent::Null => Self::Null(CelNull),
                JsonEvent::Boolean(value) => Self::Bool(value.into()),
                JsonEvent::Number(text) => Self::number(keep(text)),
                JsonEvent::String(text) => Self::String(keep(text).into()),
                JsonEvent::StartArray | JsonEvent::StartObject if open.len() == MAX_DEPTH => {
                    return Err(NotParsed::TooDeep);
                }
                JsonEvent::StartArray => {
                    open.push(Open::List(Vec::new()));
                    continue;
                }
                JsonEvent::StartObject => {
                    open.push(Open::Map(Vec::new(), None));
                    continue;
                }
                JsonEvent::ObjectKey(name) => {
                    if let Some(Open::Map(_, key)) = open.last_mut() {
                        *key = Some(keep(name).into());
                    }
                    continue;
                }
                JsonEvent::EndArray | JsonEvent::EndObject => match open.pop().ok_or(NotParsed::Invalid)? {
                    Open::List(items) => Self::List(List(items.into())),
                    Open::Map(members, _) => Self::map(members).distinct().ok_or(NotParsed::Repeats)?,
                },
                JsonEvent::Eof => return root.ok_or(NotParsed::Invalid),
            };
            match open.last_mut() {
                Some(Open::List(items)) => items.push(node),
                Some(Open::Map(members, key)) => members.push((key.take().ok_or(NotParsed::Invalid)?, node)),
                None => root = Some(node),
            }
        }
    }

    /// An object with these members. Their names must be distinct.
    pub(super) fn map(mut members: Vec<(CelString<'a>, Self)>) -> Self {
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self::Map(Map(members.into()))
    }

    /// The object itself; none if it repeats a member.
    fn distinct(self) -> Option<Self> {
        let repeats = match &self {
            Self::Map(Map(members)) => members.windows(2).any(|pair| pair[0].0 == pair[1].0),
            _ => false,
        };
        (!repeats).then_some(self)
    }

    /// The fields of a form, as `application/x-www-form-urlencoded` writes them; invalid UTF-8 is replaced.
    fn form(body: &'a [u8]) -> Self {
        let mut fields = form_urlencoded::parse(body).collect::<Vec<_>>();
        // Stable, so that the values of a repeated field keep their order.
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        let text = |(_, value): &(_, Cow<'a, str>)| Self::String(value.clone().into());
        let members = fields.chunk_by(|(one, _), (other, _)| one == other).map(|values| {
            let name = CelString::from(values[0].0.clone());
            match values {
                [one] => (name, text(one)),
                several => (name, Self::List(List(several.iter().map(text).collect()))),
            }
        });
        Self::map(members.collect())
    }

    fn number(text: Cow<'a, str>) -> Self {
        if let Ok(int) = text.parse::<i64>() {
            return Self::Int(int.into());
        }
        let value = match text.parse::<u64>() {
            Ok(uint) => NumberValue::UInt(uint.into()),
            // A number that is too large for a double becomes infinite.
            Err(_) => NumberValue::Double(text.parse::<f64>().unwrap_or(f64::NAN).into()),
        };
        Self::Number(Box::new(Number { text, value }))
    }

    /// The member with this name, or the item with this index, as a JSON pointer writes them.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(name),
            Self::List(list) => list.0.get(index(name)?),
            _ => None,
        }
    }

    /// The node as a value of CEL.
    pub(super) fn as_val(&self) -> &(dyn Val + 'a) {
        match self {
            Self::Null(null) => null,
            Self::Bool(bool) => bool,
            Self::Int(int) => int,
            Self::Number(number) => match &number.value {
                NumberValue::UInt(uint) => uint,
                NumberValue::Double(double) => double,
            },
            Self::String(text) => text,
            Self::List(list) => list,
            Self::Map(map) => map,
        }
    }
}

impl<'a> Map<'a> {
    /// The member with this name.
    pub(super) fn get(&self, name: &str) -> Option<&Node<'a>> {
        let at = self.0.binary_search_by(|(member, _)| member.inner().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }
}
