//! Refuses bodies at calls that take none. Their parameters are in the query: without this, a pause whose route is in the
//! body would hold every job.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use super::body::refusal_of;
use super::problem::Refused;
use crate::connections::{Bodies, Unread};
use crate::domain::error::{Error, Reason};

/// The most bytes of a body that is read to see whether it is empty. A longer one is not.
const MAX_EMPTY_BYTES: usize = 1024;

/// The calls by POST that take no body: the path of each, as it is documented, and the parameters of its query.
#[derive(Debug)]
pub(super) struct Calls(BTreeMap<String, String>);

impl Calls {
    /// The calls for which the document has no body.
    pub(super) fn of(document: &OpenApi) -> Self {
        let posts = document.paths.paths.iter().filter_map(|(path, item)| Some((path, item.post.as_ref()?)));
        let calls = posts.filter(|(_, post)| post.request_body.is_none());
        Self(calls.map(|(path, post)| (path.clone(), parameters(post))).collect())
    }
}

/// Refuses bodies at these calls. Cheap to clone, because every request does so.
#[derive(Clone, Debug)]
pub(super) struct WithoutBody {
    calls: &'static Calls,
    bodies: Bodies,
}

impl WithoutBody {
    /// Bodies are read within the memory for `bodies`.
    pub(super) fn new(calls: &'static Calls, bodies: Bodies) -> Self {
        Self { calls, bodies }
    }

    /// Passes on a request without a body, or of a call that takes one. Refuses any other.
    pub(super) async fn pass_on(self, request: Request, next: Next) -> Response {
        let path = request.extensions().get::<MatchedPath>().filter(|_| *request.method() == Method::POST);
        let Some(parameters) = path.and_then(|path| self.calls.0.get(path.as_str())) else {
            return next.run(request).await;
        };
        let (head, body) = request.into_parts();
        match self.check(body, parameters).await {
            Ok(()) => next.run(Request::from_parts(head, Body::empty())).await,
            Err(refused) => refused.into_response(),
        }
    }

    /// Errors: the body is neither empty nor an object without members, or did not arrive.
    async fn check(&self, body: Body, parameters: &str) -> Result<(), Refused> {
        match self.bodies.read(body, MAX_EMPTY_BYTES).await {
            Ok((body, _arrival)) if is_empty(&body) => Ok(()),
            Ok(_) | Err(Unread::TooLarge) => {
                let detail = format!(
                    "this call takes no body; nothing was done. Send {parameters} as parameters of the query, as in \
                     `?reason=because`"
                );
                Err(Error::new(Reason::InvalidField, detail).into())
            }
            Err(unread) => Err(refusal_of(unread, MAX_EMPTY_BYTES)),
        }
    }
}

/// The names of the parameters of a query.
fn parameters(operation: &Operation) -> String {
    let all = operation.parameters.iter().flatten();
    let names = all.filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
            Some(format!("`{}`", parameter.name))
        }
        _ => None,
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Whether a body has nothing that could be meant: it is white space, or an object without members.
fn is_empty(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let inside = body.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    inside.unwrap_or(body).trim_ascii().is_empty()
}
