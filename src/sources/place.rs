//! Where a value of a request is: in a header, in the JSON, in a form or in the query.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::json::{Document, Pointer};
use super::request::{HeaderName, Request};
use super::senders::Topic;

/// One or several values: in the settings, a value or an array of values. Never empty.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

/// What a [`List`] can have.
pub(super) trait Listed {
    /// An item as the settings write it, for a message about a list without any.
    const EXAMPLE: &'static str;
}

impl Listed for String {
    const EXAMPLE: &'static str = "\"...\"";
}

impl Listed for Pointer {
    const EXAMPLE: &'static str = "\"/id\"";
}

impl Listed for HeaderName {
    const EXAMPLE: &'static str = "\"X-Id\"";
}

impl Listed for Topic {
    const EXAMPLE: &'static str = "\"arn:aws:sns:eu-central-1:123456789012:orders\"";
}

impl<'de, T: Deserialize<'de> + Listed> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Listed> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a table, or an array of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(StrDeserializer::new(text)).map(|item| List(vec![item]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(List(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let items = Vec::<Item<T>>::deserialize(SeqAccessDeserializer::new(items))?;
        if items.is_empty() {
            let example = T::EXAMPLE;
            Err(A::Error::custom(format_args!(
                "an empty array means nothing here; write at least one item, such as [{example}], or remove it"
            )))
        } else {
            Ok(List(items.into_iter().map(|Item(item)| item).collect()))
        }
    }
}

/// An item of an array. The deserializer of TOML gives an error of a `try_from` the place of the newtype around it; without
/// one, it would be the place of the array.
#[derive(Deserialize)]
struct Item<T>(T);

/// Where a value of a request is. Of several names, the first that is found counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PlaceMembers")]
pub(super) enum Place {
    Header(List<HeaderName>),
    Json(List<Pointer>),
    Form(List<String>),
    Query(List<String>),
}

/// The members of a table that says where a value is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceMembers {
    header: Option<List<HeaderName>>,
    json: Option<List<Pointer>>,
    form: Option<List<String>>,
    query: Option<List<String>>,
}

impl TryFrom<PlaceMembers> for Place {
    type Error = &'static str;

    fn try_from(members: PlaceMembers) -> Result<Self, Self::Error> {
        let PlaceMembers { header, json, form, query } = members;
        Self::only(header, json, form, query)?.ok_or("one of `header`, `json`, `form` and `query` is missing")
    }
}

impl Place {
    /// The place that one of these members names; none if none of them is there. Errors: what is wrong with them.
    pub(super) fn only(
        header: Option<List<HeaderName>>,
        json: Option<List<Pointer>>,
        form: Option<List<String>>,
        query: Option<List<String>>,
    ) -> Result<Option<Self>, &'static str> {
        if [&form, &query].into_iter().flatten().any(|List(names)| names.iter().any(String::is_empty)) {
            return Err("a name of `form` or `query` is empty");
        }
        let places =
            [header.map(Self::Header), json.map(Self::Json), form.map(Self::Form), query.map(Self::Query)];
        let mut places = places.into_iter().flatten();
        let place = places.next();
        if places.next().is_some() {
            return Err("only one of `header`, `json`, `form` and `query` may be there");
        }
        Ok(place)
    }

    /// The value; none if it is not there, is empty, or is there more than once. `document` is the JSON in which
    /// pointers look.
    pub(super) fn find(&self, request: &Request<'_>, document: &Document<'_>) -> Option<String> {
        let found = match self {
            Self::Header(names) => first(names, |name| request.header(name).map(ToOwned::to_owned)),
            Self::Json(pointers) => first(pointers, |pointer| document.text(pointer)),
            Self::Form(names) => first(names, |name| request.field(name)),
            Self::Query(names) => first(names, |name| request.parameter(name)),
        };
        found.filter(|value| !value.is_empty())
    }

    /// Whether anything is there: also a value that [`find`](Self::find) does not read, because it is there more than
    /// once, or is an object or an array. What is empty or null is not there.
    pub(super) fn is_there(&self, request: &Request<'_>, document: &Document<'_>) -> bool {
        match self {
            Self::Header(List(names)) => names
                .iter()
                .any(|name| request.headers_named(name).any(|value| !value.trim_ascii().is_empty())),
            Self::Json(List(pointers)) => pointers.iter().any(|pointer| document.has(pointer)),
            Self::Form(List(names)) => {
                let mut fields = request.fields().into_iter().flatten();
                fields.any(|(name, value)| !value.is_empty() && names.iter().any(|known| *known == name))
            }
            Self::Query(List(names)) => request
                .parameters()
                .any(|(name, value)| !value.is_empty() && names.iter().any(|known| *known == name)),
        }
    }
}

impl fmt::Display for Place {
    /// Names the place for a person, such as ``the header `X-Id` ``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(names) => write!(f, "the header {}", or(names)),
            Self::Json(pointers) => write!(f, "the JSON value {}", or(pointers)),
            Self::Form(names) => write!(f, "the form field {}", or(names)),
            Self::Query(names) => write!(f, "the query parameter {}", or(names)),
        }
    }
}

/// Names joined by "or", each in backquotes.
pub(super) fn or<T: fmt::Display>(names: &List<T>) -> String {
    names.0.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

fn first<T>(names: &List<T>, find: impl Fn(&T) -> Option<String>) -> Option<String> {
    names.0.iter().find_map(|name| find(name).filter(|value| !value.is_empty()))
}
