//! Lets a request in by its bearer token, or refuses it. A handler that takes an [`Api`] acts on behalf of the caller.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

use super::Api;
use super::problem::Refused;
use super::queries::Queries;
use super::without_body::WithoutBody;
pub(super) use crate::access::Client;
use crate::access::{Caller, Need, OPERATIONS, need_of_path};
use crate::domain::error::{Error, Result};

/// The name of the tokens in the OpenAPI document.
const SCHEME: &str = "token";

/// Refuses requests without the token that they need, and those with a query or a body that their call does not take. Puts
/// the caller into the extensions of the others. All of this is one layer, because each layer costs every request.
pub(super) async fn guard(
    State((api, queries, without_body)): State<(Api, &'static Queries, WithoutBody)>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = admit(&api, &request).and_then(|caller| {
        let checked = queries.check(&request);
        let checked = checked.inspect_err(|error| count_refused(&api, &request, &caller, error));
        checked.map(|()| caller)
    });
    match admitted {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            without_body.pass_on(request, next).await
        }
        Err(error) => Refused::from(error).into_response(),
    }
}

/// Counts a webhook that is refused for its query as one that is refused for its body.
fn count_refused(api: &Api, request: &Request, caller: &Arc<Caller>, error: &Error) {
    if *request.method() == Method::POST && request.uri().path() == "/v1/webhooks" {
        let service = api.service.on_behalf_of(Arc::clone(caller));
        service.count_refused_submission(error.reason().as_str());
    }
}

fn admit(api: &Api, request: &Request) -> Result<Arc<Caller>> {
    // Nothing is served at a path that matches nothing.
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let need = path.map_or(Need::Nothing, |path| need_of_path(request.method().as_str(), path));
    let authorization = request.headers().get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let client = request.extensions().get::<Client>().map(|Client(address)| *address);
    api.service.access().admit(need, authorization, client)
}

/// What handlers share, on behalf of the caller of the request.
impl FromRequestParts<Api> for Api {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Api) -> std::result::Result<Self, Infallible> {
        let caller = parts.extensions.get::<Arc<Caller>>().cloned().unwrap_or_else(Caller::unknown);
        Ok(Self { service: state.service.on_behalf_of(caller), ..state.clone() })
    }
}

/// Adds that requests may have a bearer token, and which role each operation needs.
pub(super) fn add_tokens(document: &mut OpenApi) {
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_default().add_security_scheme(SCHEME, scheme);
    let token = SecurityRequirement::new(SCHEME, Vec::<String>::new());
    document.security = Some(vec![SecurityRequirement::default(), token]);
    for operation in OPERATIONS {
        let needs = match operation.need {
            Need::Nothing => continue,
            Need::Role(role) => format!("Needs the role `{role}` if tokens are configured."),
            Need::Metrics => {
                "Needs the role `read`, without limits, if tokens are configured and `metrics_open` is not set.".to_owned()
            }
        };
        for (method, path) in operation.paths {
            let item = document.paths.paths.get_mut(*path);
            let documented =
                item.and_then(|item| if *method == "GET" { item.get.as_mut() } else { item.post.as_mut() });
            if let Some(documented) = documented {
                let said = documented.description.take().filter(|said| !said.is_empty());
                documented.description =
                    Some(said.into_iter().chain([needs.clone()]).collect::<Vec<_>>().join("\n\n"));
            }
        }
    }
}
