//! Values of a source: texts and numbers that allow only some, and what senders are answered.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::content_type::ContentType;
use crate::domain::route::Rate;

/// A rate such as `1000/m`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(in crate::sources) struct RateText(pub(in crate::sources) Rate);

impl TryFrom<String> for RateText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let rate = text
            .parse::<Rate>()
            .map_err(|()| format!("{text:?} must be a number per s, m or h, such as \"1000/m\""));
        rate.map(Self)
    }
}

/// A content type such as `application/json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(in crate::sources) struct ContentTypeText(pub(in crate::sources) ContentType);

impl TryFrom<String> for ContentTypeText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let content_type = ContentType::of_settings(&text);
        let wrong = || format!("{text:?} must be a media type, such as \"application/json\"");
        content_type.map(Self).ok_or_else(wrong)
    }
}

/// A duration such as `1h`, from a minute, in which hookbox looks once, to 30 days.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(in crate::sources) struct SilentAfter(pub(in crate::sources) Duration);

impl TryFrom<String> for SilentAfter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const ALLOWED: RangeInclusive<Duration> =
            Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 60 * 60);
        let parsed = humantime::parse_duration(&text).ok().filter(|duration| ALLOWED.contains(duration));
        parsed.map(Self).ok_or_else(|| format!("{text:?} must be a duration from 1m to 30d, such as \"1h\""))
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
