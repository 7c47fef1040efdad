//! Converts columns that mean the same in both stores into domain types.

use diesel::result::Error as QueryError;

use crate::domain::attempt::Outcome;
use crate::domain::content_type::ContentType;
use crate::domain::headers;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::trace::Traceparent;
use crate::domain::verdict::Verdict;
use crate::domain::webhook::Source;
use crate::store::PauseTarget;

/// The status with this number.
pub(super) fn job_status(number: impl Into<i64>) -> Result<Status, QueryError> {
    let number = number.into();
    Status::from_number(number).ok_or_else(|| unreadable(format!("{number} is no status")))
}

/// The outcome with this number.
pub(super) fn outcome(number: impl Into<i64>) -> Result<Outcome, QueryError> {
    let number = number.into();
    Outcome::from_number(number).ok_or_else(|| unreadable(format!("{number} is no outcome")))
}

/// The target of a pause, from the columns `scope` and `name`.
pub(super) fn pause_target(scope: impl Into<i64>, name: String) -> Result<PauseTarget, QueryError> {
    match scope.into() {
        0 => Ok(PauseTarget::Everything),
        1 => RouteName::new(name).map(PauseTarget::Route).map_err(unreadable),
        2 => Source::new(name).map(PauseTarget::Source).map_err(unreadable),
        other => Err(unreadable(format!("{other} is no kind of pause"))),
    }
}

/// A count; an error if the number is negative or too large.
pub(super) fn count(
    number: impl TryInto<u32, Error: std::error::Error + Send + Sync + 'static>,
) -> Result<u32, QueryError> {
    number.try_into().map_err(unreadable)
}

/// A stored `traceparent`.
pub(super) fn traceparent(text: &str) -> Result<Traceparent, QueryError> {
    Traceparent::parse(text).ok_or_else(|| unreadable(format!("{text:?} is no traceparent")))
}

/// A stored content type.
pub(super) fn content_type(text: &str) -> ContentType {
    ContentType::of_header(Some(text.as_bytes()))
}

/// Stored headers: names in lower case, and values.
pub(super) fn kept_headers(text: Option<&str>) -> Result<Vec<(String, String)>, QueryError> {
    text.map_or_else(|| Ok(Vec::new()), |text| headers::read(text).map_err(unreadable))
}

/// The verdict with this number.
pub(super) fn verdict(number: impl Into<i64>) -> Result<Verdict, QueryError> {
    let number = number.into();
    Verdict::from_number(number).ok_or_else(|| unreadable(format!("{number} is no verdict")))
}

/// The error for a stored value that hookbox cannot have written.
pub(super) fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> QueryError {
    QueryError::DeserializationError(error.into())
}
