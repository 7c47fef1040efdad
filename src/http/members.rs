//! Reads the members of a JSON object.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;

use crate::domain::error::{Error, Reason};

/// Reads the members of a JSON object. `known` says in the error of an unknown member which members there are, to
/// continue a sentence after a semicolon.
pub(super) fn members<'a, T: Deserialize<'a>>(body: &'a [u8], known: &str) -> Result<T, Error> {
    let read = serde_json::from_slice::<Object<T>>(body);
    read.map(|Object(members)| members).map_err(|error| match error.classify() {
        Category::Data => wrong_member(&error, known),
        _ => Error::new(Reason::MalformedJson, format!("the body is not valid JSON: {error}")),
    })
}

/// A JSON object with the members of `T`. Without it, Serde would also read the items of an array as these members.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// Reads the members of an object.
struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// The error of a member that is missing, not known, given twice, or of another type.
fn wrong_member(error: &serde_json::Error, known: &str) -> Error {
    let message = error.to_string();
    // The texts "unknown field `x`" and "duplicate field `x`" contain the name.
    let named = message.split_once(" field `").and_then(|(_, rest)| rest.split('`').next());
    match named {
        Some(field) if message.starts_with("unknown field") => {
            Error::invalid(field, format_args!("is not known; {known}"))
        }
        Some(field) if message.starts_with("duplicate field") => {
            Error::invalid(field, "is given twice; give it once")
        }
        Some(field) if message.starts_with("missing field") => Error::invalid(field, "is missing"),
        _ => Error::new(Reason::InvalidField, format!("the body is wrong: {message}")),
    }
}
