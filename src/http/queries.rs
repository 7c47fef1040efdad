//! Refuses queries that a call does not take. Without this, a replay whose `dry_run` is in the query in place of the body
//! would run jobs again. Calls with parameters refuse unknown ones by themselves (`query.rs`).

use std::collections::BTreeMap;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use percent_encoding::percent_decode_str;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use crate::domain::error::{Error, Result};

/// The paths that take any query: the URLs of sources, whose senders may add one, and what only tells that the process is
/// there, for which some clients add one against caches.
const ANY_QUERY: [&str; 5] = ["/v1/sources/{source}/webhooks", "/", "/healthz", "/readyz", "/metrics"];

/// What the documented calls take, by their paths.
#[derive(Debug)]
pub(super) struct Queries(BTreeMap<String, Calls>);

/// The calls of a path.
#[derive(Debug)]
struct Calls {
    get: Option<Takes>,
    post: Option<Takes>,
}

/// What a call takes.
#[derive(Clone, Copy, Debug)]
struct Takes {
    parameters: bool,
    body: bool,
}

impl Queries {
    /// What the calls of the document take, but for those that take any query.
    pub(super) fn of(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter().filter(|(path, _)| !ANY_QUERY.contains(&path.as_str()));
        let paths = paths.map(|(path, item)| {
            let (get, post) = (item.get.as_ref().map(Takes::of), item.post.as_ref().map(Takes::of));
            (path.clone(), Calls { get, post })
        });
        Self(paths.collect())
    }

    /// Checks the query of a request; most requests have none. Errors: `InvalidField` for the first parameter if the call
    /// takes none, and for one that is not UTF-8.
    pub(super) fn check(&self, request: &Request) -> Result<()> {
        let Some(query) = request.uri().query() else { return Ok(()) };
        let path = request.extensions().get::<MatchedPath>();
        let calls = path.and_then(|path| self.0.get(path.as_str()));
        let takes = calls.and_then(|calls| match *request.method() {
            Method::GET | Method::HEAD => calls.get,
            Method::POST => calls.post,
            _ => None,
        });
        let Some(takes) = takes else { return Ok(()) };
        query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .try_for_each(|parameter| takes.check(parameter))
    }
}

impl Takes {
    fn of(operation: &Operation) -> Self {
        let mut all = operation.parameters.iter().flatten();
        let parameters = all.any(|parameter| {
            matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query)
        });
        Self { parameters, body: operation.request_body.is_some() }
    }

    /// Checks a parameter: a name and a value, as a query has them.
    fn check(self, parameter: &str) -> Result<()> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = percent_decode_str(name);
        let shown = || name.clone().decode_utf8_lossy();
        if !self.parameters {
            return Err(if self.body { only_in_body(shown()) } else { takes_none(shown()) });
        }
        if name.clone().decode_utf8().is_err() || percent_decode_str(value).decode_utf8().is_err() {
            return Err(Error::invalid(shown(), "is not valid UTF-8; encode the query as UTF-8"));
        }
        Ok(())
    }
}

/// The error for a parameter at a call that takes none.
pub(super) fn takes_none(name: impl Into<String>) -> Error {
    Error::invalid(name, "is not known; this call takes no parameters")
}

/// The error for a parameter in the query of a call that takes all of them in its body.
fn only_in_body(name: impl Into<String>) -> Error {
    Error::invalid(name, "is not known in the query; this call takes only the members of its body")
}
