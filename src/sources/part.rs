//! The parts of which idempotency keys and event types are made.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use sha2::{Digest as _, Sha256};

use super::hex;
use super::json::{Document, Pointer};
use super::place::{List, Listed, Place, or};
use super::request::{HeaderName, Request};
use super::split::Split;

/// A part of an idempotency key or of an event type.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// The SHA-256 of the body, or of the item of a batch.
    Body,
    /// The id of the request, for senders whose webhooks repeat byte for byte; for an item, with its place.
    Request,
    /// Always this text.
    Text(String),
    /// A value of the request; pointers look into the body, or into the item of a batch.
    Of(Place),
    /// A header whose value is percent-encoded.
    Decoded(List<HeaderName>),
    /// A value of the whole body, also for an item of a batch.
    Outer(List<Pointer>),
    /// The name of the first of these members that is there.
    Name(List<Pointer>),
    /// The first of these parts that is there.
    First(List<Part>),
    /// A part of the requests whose content type does not begin with this text.
    UnlessType(Box<Part>, String),
}

/// What parts are looked for in.
#[derive(Clone, Copy)]
pub(super) struct Found<'r, 'a> {
    pub(super) request: &'r Request<'a>,
    /// The whole body.
    pub(super) whole: &'r Document<'a>,
    /// The whole body, or an item of it.
    pub(super) item: &'r Document<'a>,
    /// The place of the item in the batch; none if it is the whole body.
    pub(super) at: Option<usize>,
}

impl Part {
    /// The value of the part, never empty; none if it is not there.
    pub(super) fn find(&self, found: Found<'_, '_>) -> Option<String> {
        let Found { request, whole, item, at } = found;
        match self {
            Self::Body => Some(hex::encode(&Sha256::digest(item.bytes()))),
            Self::Request => {
                Some(at.map_or_else(|| request.id.to_owned(), |at| format!("{}-{at}", request.id)))
            }
            Self::Text(text) => Some(text.clone()),
            Self::Of(place) => place.find(request, item),
            Self::Decoded(List(names)) => {
                let mut values = names.iter().filter_map(|name| decoded(request.header(name)?));
                values.find(|value| !value.is_empty())
            }
            Self::Outer(List(pointers)) => {
                pointers.iter().find_map(|pointer| whole.text(pointer).filter(|value| !value.is_empty()))
            }
            Self::Name(List(pointers)) => {
                let json = item.json()?;
                let there = pointers.iter().find(|pointer| pointer.find(json).is_some())?;
                Some(there.last().to_owned())
            }
            Self::First(List(parts)) => parts.iter().find_map(|part| part.find(found)),
            Self::UnlessType(..) => self.in_request(request)?.find(found),
        }
    }

    /// The part that requests of this content type have in the place of this one; none if they have none.
    pub(super) fn in_request(&self, request: &Request<'_>) -> Option<&Self> {
        match self {
            Self::UnlessType(part, beginning) => (!request.is_of_type(beginning)).then_some(&**part),
            part => Some(part),
        }
    }

    /// Whether whatever is found in a batch is of the item, so that items can differ.
    pub(super) fn is_of_item(&self, split: &Split) -> bool {
        match self {
            Self::Body | Self::Request | Self::Name(_) | Self::Of(Place::Json(_)) => true,
            // An item that does not have the first one gets the next one.
            Self::First(List(parts)) => parts.iter().all(|part| part.is_of_item(split)),
            Self::UnlessType(part, beginning) => split.is_of_type(beginning) || part.is_of_item(split),
            Self::Text(_) | Self::Outer(_) | Self::Decoded(_) | Self::Of(_) => false,
        }
    }

    /// Whether the part can be in the JSON of a body.
    pub(super) fn is_in_json(&self) -> bool {
        match self {
            Self::Of(Place::Json(_)) | Self::Outer(_) | Self::Name(_) => true,
            Self::First(List(parts)) => parts.iter().any(Self::is_in_json),
            Self::UnlessType(part, _) => part.is_in_json(),
            Self::Body | Self::Request | Self::Text(_) | Self::Of(_) | Self::Decoded(_) => false,
        }
    }

    /// Whether the part is the same in every webhook.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::First(List(parts)) => parts.first().is_some_and(Self::is_constant),
            Self::UnlessType(part, _) => part.is_constant(),
            Self::Body | Self::Request | Self::Of(_) | Self::Decoded(_) | Self::Outer(_) | Self::Name(_) => {
                false
            }
        }
    }
}

/// A percent-encoded value; none if it is not UTF-8. Older versions of CloudEvents have it in double quotes (HTTP Protocol
/// Binding 1.0.2, section 3.1.3.2).
fn decoded(value: &str) -> Option<String> {
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let value = quoted.map_or(Cow::Borrowed(value), |text| unescaped(text).into());
    percent_decode_str(&value).decode_utf8().map(Cow::into_owned).ok()
}

/// A text without the backslashes before its characters (RFC 9110, section 5.6.4).
fn unescaped(text: &str) -> String {
    let mut characters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

/// How the value of a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decode {
    Percent,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("the body"),
            Self::Request => f.write_str("the request"),
            Self::Text(text) => write!(f, "the text {text:?}"),
            Self::Of(place) => place.fmt(f),
            Self::Decoded(names) => write!(f, "the header {}", or(names)),
            Self::Outer(pointers) => write!(f, "the JSON value {} of the whole body", or(pointers)),
            Self::Name(pointers) => write!(f, "the member {}", or(pointers)),
            Self::First(List(parts)) => {
                let parts = parts.iter().map(ToString::to_string).collect::<Vec<_>>();
                f.write_str(&parts.join(" or "))
            }
            Self::UnlessType(part, _) => part.fmt(f),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    header: Option<List<HeaderName>>,
    json: Option<List<Pointer>>,
    form: Option<List<String>>,
    query: Option<List<String>>,
    outer: Option<List<Pointer>>,
    text: Option<String>,
    name: Option<List<Pointer>>,
    first: Option<List<Part>>,
    decode: Option<Decode>,
    unless_content_type: Option<String>,
}

impl Members {
    fn part(self) -> Result<Part, &'static str> {
        let Self { header, json, form, query, outer, text, name, first, decode, unless_content_type } = self;
        let is_wrong = |beginning: &String| {
            beginning.is_empty() || beginning.contains(|c: char| c == ';' || c.is_whitespace())
        };
        if unless_content_type.as_ref().is_some_and(is_wrong) {
            return Err(
                "`unless_content_type` must be the beginning of a media type, such as \"application/cloudevents\"",
            );
        }
        if text.as_ref().is_some_and(String::is_empty) {
            return Err("`text` is empty");
        }
        let place = Place::only(header, json, form, query)?;
        let place = match (place, decode) {
            (Some(Place::Header(names)), Some(Decode::Percent)) => Some(Part::Decoded(names)),
            (_, Some(Decode::Percent)) => return Err("`decode` belongs to `header`"),
            (place, None) => place.map(Part::Of),
        };
        let parts = [
            place,
            outer.map(Part::Outer),
            text.map(Part::Text),
            name.map(Part::Name),
            first.map(Part::First),
        ];
        let mut parts = parts.into_iter().flatten();
        match (parts.next(), parts.next()) {
            (Some(part), None) => Ok(match unless_content_type {
                Some(beginning) => Part::UnlessType(Box::new(part), beginning),
                None => part,
            }),
            _ => Err(
                "a part has exactly one of `header`, `json`, `form`, `query`, `outer`, `text`, `name` and `first`",
            ),
        }
    }
}

impl Listed for Part {
    const EXAMPLE: &'static str = "{ json = \"/id\" }";
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"body\", \"request\", or a table such as { header = \"X-Id\" } or { json = \"/id\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Part, E> {
        match text {
            "body" => Ok(Part::Body),
            "request" => Ok(Part::Request),
            _ => Err(E::custom(format_args!(
                "{text:?} is no part; write \"body\", \"request\", or a table such as {{ json = \"/id\" }}"
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Part, A::Error> {
        Members::deserialize(MapAccessDeserializer::new(map))?.part().map_err(A::Error::custom)
    }
}
