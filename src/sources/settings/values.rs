//! Values of a source: texts and numbers that allow only some, and what senders are answered.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::domain::content_type::ContentType;
use crate::domain::route::Rate;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A rate such as `1000/m`.
#[derive(Clone, Copy, Debug)]
pub(in crate::sources) struct RateText(pub(in crate::sources) Rate);

impl<'de> Deserialize<'de> for RateText {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let allowed = "a number per s, m or h, such as \"1000/m\"";
        parsed(value, allowed, |text| text.parse::<Rate>().ok()).map(Self)
    }
}

/// A content type such as `application/json`.
#[derive(Clone, Debug)]
pub(in crate::sources) struct ContentTypeText(pub(in crate::sources) ContentType);

impl<'de> Deserialize<'de> for ContentTypeText {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        parsed(value, "a media type, such as \"application/json\"", ContentType::of_settings).map(Self)
    }
}

/// A duration such as `5m`, from a millisecond to a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sources) struct Span(pub(in crate::sources) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        const ALLOWED: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
        let allowed = "a duration from 1ms to 24h, such as \"5m\"";
        parsed(value, allowed, |text| duration(text, &ALLOWED)).map(Self)
    }
}

/// A duration such as `1h`, from a minute, in which hookbox looks once, to 30 days.
#[derive(Clone, Copy, Debug)]
pub(in crate::sources) struct SilentAfter(pub(in crate::sources) Duration);

impl<'de> Deserialize<'de> for SilentAfter {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        const ALLOWED: RangeInclusive<Duration> = Duration::from_secs(60)..=DAY.saturating_mul(30);
        let allowed = "a duration from 1m to 30d, such as \"1h\"";
        parsed(value, allowed, |text| duration(text, &ALLOWED)).map(Self)
    }
}

/// What senders are answered, as the settings say it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::sources) struct AnswerSettings {
    pub(in crate::sources) accepted: Option<Success>,
    pub(in crate::sources) body: Option<String>,
    pub(in crate::sources) content_type: Option<String>,
    pub(in crate::sources) overload: Option<Overload>,
    pub(in crate::sources) refused_body: Option<String>,
}

/// A status from 200 to 299.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "i64")]
pub(in crate::sources) struct Success(pub(in crate::sources) u16);

impl TryFrom<i64> for Success {
    type Error = String;

    fn try_from(status: i64) -> Result<Self, Self::Error> {
        let status = u16::try_from(status).ok().filter(|status| (200..300).contains(status));
        status.map(Self).ok_or_else(|| "the status must be a number from 200 to 299".to_owned())
    }
}

/// The status that asks a sender to try again: 503 or 429.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "i64")]
pub(in crate::sources) struct Overload(pub(in crate::sources) u16);

impl TryFrom<i64> for Overload {
    type Error = &'static str;

    fn try_from(status: i64) -> Result<Self, Self::Error> {
        match status {
            503 => Ok(Self(503)),
            429 => Ok(Self(429)),
            _ => Err("`overload` must be 503, or 429 for senders that retry after it"),
        }
    }
}

/// Reads a text and parses it. `allowed` says what it must be: if `parse` refuses it, and if the value is no text, such
/// as a number without a unit.
fn parsed<'de, T, D: Deserializer<'de>>(
    value: D,
    allowed: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = value.deserialize_str(TextVisitor(allowed))?;
    parse(&text).ok_or_else(|| D::Error::custom(format_args!("{text:?} must be {allowed}")))
}

/// A duration such as `5m`; none if it cannot be parsed or is not in the range.
fn duration(text: &str, allowed: &RangeInclusive<Duration>) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|duration| allowed.contains(duration))
}

/// Takes a text. Has what the text must be.
struct TextVisitor(&'static str);

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}
