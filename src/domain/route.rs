//! The words of routes: their names, what orders and limits their jobs.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::error::{Error, Result};

/// The most characters a route's name may have.
pub const MAX_ROUTE_CHARS: usize = 63;

/// The name of a route. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteName(Arc<str>);

impl RouteName {
    /// The route that takes every webhook where the settings have none.
    pub const DEFAULT: &'static str = "default";

    /// Takes 1 to 63 of `a-z`, `0-9` and `-`.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self> {
        Self::from_field("route", text)
    }

    /// As [`new`](Self::new), of a field that is not called `route`.
    pub fn from_field(field: &'static str, text: impl Into<Arc<str>>) -> Result<Self> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > MAX_ROUTE_CHARS || !text.bytes().all(allowed) {
            return Err(Error::invalid(field, "must be 1 to 63 of a-z, 0-9 and -"));
        }
        Ok(Self(text))
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

/// The value of a job that `order_by` points at: jobs of one route, source and value run one at a
/// time, in order of arrival. At most 255 bytes; equal texts mean equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderValue(Box<str>);

impl OrderValue {
    /// Takes a canonical text of the value. `routes` makes it; longer values are hashed there.
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
    /// The value that orders it, if the route has `order_by` and the webhook has that value.
    pub order: Option<OrderValue>,
}

/// So many events in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub quota: NonZeroU32,
    /// In which time.
    pub window: Duration,
}

impl Rate {
    /// The time between two events that are spread evenly; at least a nanosecond.
    pub fn interval(&self) -> Duration {
        (self.window / self.quota.get()).max(Duration::from_nanos(1))
    }
}

/// What a key with `order_by` does behind a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeadLetter {
    /// Nothing behind it starts until it is retried or cancelled.
    #[default]
    Block,
    /// The next one starts.
    Skip,
}

/// What becomes of an attempt that started and did not end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Another attempt is made.
    #[default]
    Retry,
    /// The job is dead-lettered: it never starts twice.
    DeadLetter,
}
