//! The names of routes, and the types of their settings that order and limit jobs.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::error::{Error, Result};

/// The most characters a route's name may have.
pub const MAX_ROUTE_CHARS: usize = 63;

/// The name of a route. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteName(Arc<str>);

impl RouteName {
    /// The name of the route that takes every webhook if the settings have no routes.
    pub const DEFAULT: &'static str = "default";

    /// Takes 1 to 63 of `a-z`, `0-9` and `-`. Errors: `InvalidField` for `route`.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self> {
        Self::from_field("route", text)
    }

    /// As [`new`](Self::new), for a field with another name, which the error names.
    pub fn from_field(field: &'static str, text: impl Into<Arc<str>>) -> Result<Self> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > MAX_ROUTE_CHARS || !text.bytes().all(allowed) {
            return Err(Error::invalid(field, "must be 1 to 63 of a-z, 0-9 and -"));
        }
        Ok(Self(text))
    }

    /// As [`from_field`](Self::from_field), for a field that a request has to have: an empty text counts as absent.
    pub fn required(field: &'static str, text: String) -> Result<Self> {
        if text.is_empty() { Err(Error::invalid(field, "is missing")) } else { Self::from_field(field, text) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RouteName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value in a payload that `order_by` points at. Jobs with the same route, source and order value run one
/// at a time, in the order of acceptance. At most 255 bytes; two texts are equal exactly if the values are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderValue(Box<str>);

impl OrderValue {
    /// Takes the canonical text of a value, which `routes::order` makes. It hashes values that are longer.
    pub fn new(canonical: impl Into<Box<str>>) -> Self {
        Self(canonical.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A job that a webhook gets when it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// The route that matched.
    pub route: RouteName,
    /// The order value; none if the route has no `order_by`, or the payload has no such value.
    pub order: Option<OrderValue>,
}

/// A number of events per time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many events.
    pub quota: NonZeroU32,
    /// In which time: a second, a minute or an hour.
    pub window: Duration,
}

impl Rate {
    /// The time between two events if they are spread evenly; at least a nanosecond.
    pub fn interval(&self) -> Duration {
        (self.window / self.quota.get()).max(Duration::from_nanos(1))
    }
}

impl fmt::Display for Rate {
    /// As the settings have it, such as `50/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.window.as_secs() {
            1 => write!(f, "{}/s", self.quota),
            60 => write!(f, "{}/m", self.quota),
            3600 => write!(f, "{}/h", self.quota),
            seconds => write!(f, "{}/{seconds}s", self.quota),
        }
    }
}

impl FromStr for Rate {
    type Err = ();

    /// Parses a number per second, minute or hour, such as `1000/m`.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (quota, unit) = text.split_once('/').ok_or(())?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            _ => return Err(()),
        };
        let quota = quota.trim().parse::<NonZeroU32>().map_err(|_| ())?;
        Ok(Self { quota, window: Duration::from_secs(seconds) })
    }
}

/// Whether jobs behind a dead letter of the same order value wait or start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeadLetter {
    /// They wait until the dead letter is retried or cancelled, or its retention is over.
    #[default]
    Block,
    /// They start.
    Skip,
}

impl OnDeadLetter {
    /// The word in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Skip => "skip",
        }
    }
}

/// How a job goes on if its attempt started and did not end, because of a crash, a lost lease or a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInterrupt {
    /// The job is tried again.
    #[default]
    Retry,
    /// The attempt is final: the job becomes a dead letter, and hookbox does not start it again. An operator can
    /// retry it. Attempts that failed are tried again as with `Retry`.
    DeadLetter,
}

impl OnInterrupt {
    /// The word in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::DeadLetter => "dead_letter",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_as_in_the_settings() {
        let quota = NonZeroU32::new(50).expect("not zero");
        let rates = [1, 60, 3600, 10].map(|seconds| Rate { quota, window: Duration::from_secs(seconds) });
        assert_eq!(rates.map(|rate| rate.to_string()), ["50/s", "50/m", "50/h", "50/10s"]);
    }
}
