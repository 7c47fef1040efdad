//! Reads names from paths, and parameters from query strings.

use std::str::FromStr;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use utoipa::IntoParams;

use super::dto::time_of;
use super::problem::Refused;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::service::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE};

/// The id of a webhook in a path; 400 if it is not a UUID.
pub(super) struct Id(pub(super) WebhookId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> std::result::Result<Self, Refused> {
        let id = name_in_path(Path::from_request_parts(parts, state).await);
        let id = id.parse::<WebhookId>()?;
        tracing::Span::current().record("hookbox.webhook.id", tracing::field::display(id));
        Ok(Self(id))
    }
}

/// Why an operator acts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Why {
    /// Why, in your own words, for the list of actions: at most 500 characters without control characters.
    pub(super) reason: Option<String>,
}

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageOf {
    /// The largest number of items on the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default)]
    pub(super) page_size: String,
    /// The `next_page_token` of the previous page, to get the page after it.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    pub(super) page_token: String,
}

/// The name in a path; empty if it is not UTF-8, so that the caller refuses it as it refuses any wrong name.
pub(super) fn name_in_path(path: std::result::Result<Path<String>, PathRejection>) -> String {
    path.map(|Path(name)| name).unwrap_or_default()
}

/// A query string: names and values in their order.
pub(super) type Pairs = Vec<(String, String)>;

/// The parameters of a query string. The error names the parameter that is unknown or wrong.
pub(super) fn parameters<T>(query: std::result::Result<Query<T>, QueryRejection>) -> Result<T> {
    query.map(|Query(parameters)| parameters).map_err(|rejection| {
        let text = rejection.body_text();
        wrong(text.trim_start_matches("Failed to deserialize query string: "))
    })
}

/// The parameters of a query string in which `list` may be given several times: its values are joined by commas.
/// Each member of `T` has to be a string. The error names the parameter that is unknown or wrong.
pub(super) fn parameters_with_list<T: DeserializeOwned>(
    query: std::result::Result<Query<Pairs>, QueryRejection>,
    list: &str,
) -> Result<T> {
    let (lists, mut pairs): (Pairs, Pairs) =
        parameters(query)?.into_iter().partition(|(name, _)| name == list);
    if !lists.is_empty() {
        let values = lists.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        pairs.push((list.to_owned(), values.join(",")));
    }
    let pairs = MapDeserializer::<_, serde::de::value::Error>::new(pairs.into_iter());
    <T as Deserialize>::deserialize(pairs).map_err(|error| wrong(&error.to_string()))
}

/// The error for a query string that serde refuses with this text: ``unknown field `x`, expected `a` or `b` ``, or
/// ``duplicate field `x` ``. The name may also be in front of it.
fn wrong(text: &str) -> Error {
    let named = text.split_once(" field `").and_then(|(what, rest)| Some((what, rest.split_once('`')?)));
    let Some((what, (field, rest))) = named else {
        return Error::new(Reason::InvalidField, format!("the query string is wrong: {text}"));
    };
    match what.rsplit(' ').next() {
        Some("duplicate") => Error::invalid(field, "is given twice; give it once"),
        Some("missing") => Error::invalid(field, "is missing"),
        _ => {
            let known =
                rest.split('`').skip(1).step_by(2).map(|name| format!("`{name}`")).collect::<Vec<_>>();
            Error::invalid(field, format_args!("is not known; this call takes {}", known.join(", ")))
        }
    }
}

/// The value of a filter; an empty value counts as absent.
pub(super) fn given(parameter: String) -> Option<String> {
    Some(parameter).filter(|text| !text.is_empty())
}

/// How many items a page has at most; an empty value counts as absent.
pub(super) fn page_size(parameter: String) -> Result<usize> {
    let Some(text) = given(parameter) else { return Ok(DEFAULT_PAGE_SIZE) };
    let size = whole_number(&text).filter(|size| (1..=MAX_PAGE_SIZE).contains(size));
    size.ok_or_else(|| {
        Error::invalid("page_size", format_args!("must be a number from 1 to {MAX_PAGE_SIZE}"))
    })
}

/// A whole number as digits alone write it; Rust would also read one with a sign.
pub(super) fn whole_number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The time in a filter, as RFC 3339 writes it; an empty value counts as absent.
pub(super) fn time(field: &'static str, parameter: String) -> Result<Option<Timestamp>> {
    given(parameter).map(|text| time_of(field, &text)).transpose()
}
