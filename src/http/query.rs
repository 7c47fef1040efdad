//! Reads names from paths, and parameters from query strings.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use jiff::Timestamp;

use super::problem::Refused;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;

/// The id of a webhook in a path; 400 if it is not a UUID.
pub(super) struct Id(pub(super) WebhookId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> std::result::Result<Self, Refused> {
        let id = name_in_path(Path::from_request_parts(parts, state).await);
        Ok(Self(id.parse()?))
    }
}

/// The name in a path; empty if it is not UTF-8, so that the caller refuses it as it refuses any wrong name.
pub(super) fn name_in_path(path: std::result::Result<Path<String>, PathRejection>) -> String {
    path.map(|Path(name)| name).unwrap_or_default()
}

/// The parameters of a query string. The error names the parameter that is unknown or wrong.
pub(super) fn parameters<T>(query: std::result::Result<Query<T>, QueryRejection>) -> Result<T> {
    query.map(|Query(parameters)| parameters).map_err(|rejection| {
        let text = rejection.body_text();
        let text = text.trim_start_matches("Failed to deserialize query string: ");
        match text.split_once(" field `").and_then(|(_, rest)| rest.split('`').next()) {
            Some(field) => Error::invalid(field, format_args!("is wrong: {text}")),
            None => Error::new(Reason::InvalidField, format!("the query string is wrong: {text}")),
        }
    })
}

/// The value of a filter; an empty value counts as absent.
pub(super) fn given(parameter: Option<String>) -> Option<String> {
    parameter.filter(|text| !text.is_empty())
}

/// The time in a filter, as RFC 3339 writes it; an empty value counts as absent.
pub(super) fn time(field: &'static str, parameter: Option<String>) -> Result<Option<Timestamp>> {
    given(parameter)
        .map(|text| {
            text.parse().map_err(|_| {
                Error::invalid(field, "must be a time as in RFC 3339, such as 2024-12-01T14:30:00Z")
            })
        })
        .transpose()
}
