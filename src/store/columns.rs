//! Columns that mean the same in every store, and the domain's types made of them.

use diesel::result::Error as QueryError;

use crate::domain::attempt::Outcome;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::Source;
use crate::store::PauseTarget;

/// A status by its number.
pub(super) fn job_status(number: impl Into<i64>) -> Result<Status, QueryError> {
    let number = number.into();
    Status::from_number(number).ok_or_else(|| unreadable(format!("{number} is no status")))
}

/// An outcome by its number.
pub(super) fn outcome(number: impl Into<i64>) -> Result<Outcome, QueryError> {
    let number = number.into();
    Outcome::from_number(number).ok_or_else(|| unreadable(format!("{number} is no outcome")))
}

/// A pause's target by the number of its kind and its name.
pub(super) fn pause_target(scope: impl Into<i64>, name: String) -> Result<PauseTarget, QueryError> {
    match scope.into() {
        0 => Ok(PauseTarget::Everything),
        1 => RouteName::new(name).map(PauseTarget::Route).map_err(unreadable),
        2 => Source::new(name).map(PauseTarget::Source).map_err(unreadable),
        other => Err(unreadable(format!("{other} is no kind of pause"))),
    }
}

/// A number that cannot be negative.
pub(super) fn count(
    number: impl TryInto<u32, Error: std::error::Error + Send + Sync + 'static>,
) -> Result<u32, QueryError> {
    number.try_into().map_err(unreadable)
}

/// The accepting span.
pub(super) fn traceparent(text: &str) -> Result<Traceparent, QueryError> {
    Traceparent::parse(text).ok_or_else(|| unreadable(format!("{text:?} is no traceparent")))
}

/// The store holds what hookbox did not write.
pub(super) fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> QueryError {
    QueryError::DeserializationError(error.into())
}
