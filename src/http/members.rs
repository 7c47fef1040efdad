//! Reads the members of a JSON object, and says which one is wrong.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;

use crate::domain::error::{Error, Reason};

/// Reads the members of a JSON object. `known` says in the error of an unknown member which members there are, to
/// continue a sentence after a semicolon.
pub(super) fn members<'a, T: Deserialize<'a>>(body: &'a [u8], known: &str) -> Result<T, Error> {
    if let Ok(Object(members)) = serde_json::from_slice(body) {
        return Ok(members);
    }
    // Once more, for the place of what is wrong: to keep track of it takes too long for every webhook.
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize::<_, Object<T>>(&mut json);
    let Object(members) = read.map_err(|error| match error.inner().classify() {
        Category::Data => wrong_member(&error, known),
        _ => malformed(error.inner()),
    })?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(members)
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

/// The units of durations. humantime knows more, of which `M` is a month.
const UNITS: [&str; 5] = ["d", "h", "m", "s", "ms"];

/// Reads a duration: a whole number and one of [`UNITS`].
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<DurationText>::deserialize(deserializer)?.map(|DurationText(duration)| duration))
}

/// A duration that is written as a string.
struct DurationText(Duration);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(OfDuration)
    }
}

struct OfDuration;

impl Visitor<'_> for OfDuration {
    type Value = DurationText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a duration in a string, such as "30s""#)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let read = humantime::parse_duration(text).ok().filter(|_| UNITS.contains(&unit));
        let wrong = r#"must be a duration: a whole number and one of d, h, m, s and ms, such as "30s""#;
        read.map(DurationText).ok_or_else(|| E::custom(wrong))
    }
}

fn malformed(error: &serde_json::Error) -> Error {
    Error::new(Reason::MalformedJson, format!("the body is not valid JSON: {error}"))
}

/// The error of a member that is missing, not known, given twice, or has a wrong value.
fn wrong_member(error: &serde_path_to_error::Error<serde_json::Error>, known: &str) -> Error {
    let path = error.path();
    // The path of the body itself is written as a full stop.
    let place = if path.iter().next().is_none() { String::new() } else { path.to_string() };
    let within =
        |member: &str| if place.is_empty() { member.to_owned() } else { format!("{place}.{member}") };
    let message = error.inner().to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    // The texts "duplicate field `x`" and "missing field `x`" contain the name; the path leads to the object.
    let named = message.split_once(" field `").and_then(|(what, rest)| Some((what, rest.split('`').next()?)));
    match named {
        Some(("unknown", _)) => Error::invalid(place, format_args!("is not known; {known}")),
        Some(("duplicate", member)) => Error::invalid(within(member), "is given twice; give it once"),
        Some(("missing", member)) => Error::invalid(within(member), "is missing"),
        _ if place.is_empty() => {
            Error::new(Reason::InvalidField, format!("the body {}", wrong_value(message)))
        }
        _ => Error::invalid(place, wrong_value(message)),
    }
}

/// What is wrong with a value, to continue a sentence. The text of Serde is such as
/// ``invalid type: integer `30`, expected a string``; a text of another form is of [`OfDuration`].
fn wrong_value(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let found = found.split_once(": ").map_or(found, |(_, found)| found);
    let found = match found.split_once(' ').map_or(found, |(kind, _)| kind) {
        "string" => Cow::from("a string"),
        "boolean" => Cow::from("a boolean"),
        "sequence" => Cow::from("an array"),
        "map" => Cow::from("an object"),
        "integer" | "floating" => {
            Cow::from(format!("the number {}", found.split('`').nth(1).unwrap_or_default()))
        }
        _ => Cow::from(found),
    };
    let expected = match expected {
        "u32" => Cow::from(format!("a whole number from 0 to {}", u32::MAX)),
        "a sequence" => Cow::from("an array"),
        _ => Cow::from(expected),
    };
    format!("is {found}; it must be {expected}")
}
