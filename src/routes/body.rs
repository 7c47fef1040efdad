//! The body of a webhook as a tree, for conditions and pointers.
//!
//! Scalars are values of CEL, and strings without escapes are not copied. The parser is the one that
//! validates payloads of JSON, so that both agree about what is JSON.

use std::borrow::Cow;
use std::sync::Arc;

use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString, CelUInt};
use cel::common::value::Val;
use json_event_parser::{JsonEvent, SliceJsonParser};
use url::form_urlencoded;

use crate::domain::canonical::MAX_DEPTH;
use crate::domain::payload::Payload;
use crate::domain::pointer::index;

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

impl<'a> Node<'a> {
    /// The body of a payload. A form is an object of its fields: a field that is repeated is the list of its values.
    /// Any other text that is not JSON is a string; what is not UTF-8 is null.
    pub(super) fn of(payload: &'a Payload) -> Self {
        let (body, content_type) = (payload.as_bytes(), payload.content_type());
        if content_type.is_form() {
            return Self::form(body);
        }
        let json = content_type.is_json().then(|| Self::parse(body)).flatten();
        json.unwrap_or_else(|| {
            std::str::from_utf8(body).map_or(Self::Null(CelNull), |text| Self::String(text.into()))
        })
    }

    /// Parses a JSON text; none if it is not valid, nests more than [`MAX_DEPTH`] levels deep, or repeats a member of an
    /// object. The text of [`Payload::new`] never does.
    pub(super) fn parse(json: &'a (impl AsRef<[u8]> + ?Sized)) -> Option<Self> {
        let mut parser = SliceJsonParser::new(json.as_ref());
        let mut open: Vec<Open<'a>> = Vec::new();
        let mut root = None;
        loop {
            let node = match parser.parse_next().ok()? {
                JsonEvent::Null => Self::Null(CelNull),
                JsonEvent::Boolean(value) => Self::Bool(value.into()),
                JsonEvent::Number(text) => Self::number(text),
                JsonEvent::String(text) => Self::String(text.into()),
                JsonEvent::StartArray | JsonEvent::StartObject if open.len() == MAX_DEPTH => return None,
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
                        *key = Some(name.into());
                    }
                    continue;
                }
                JsonEvent::EndArray | JsonEvent::EndObject => match open.pop()? {
                    Open::List(items) => Self::List(List(items.into())),
                    Open::Map(members, _) => Self::map(members).distinct()?,
                },
                JsonEvent::Eof => return root,
            };
            match open.last_mut() {
                Some(Open::List(items)) => items.push(node),
                Some(Open::Map(members, key)) => members.push((key.take()?, node)),
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
