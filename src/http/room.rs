//! Answers requests within the memory for answers. A part of `observe`, so that the count and the trace of a request
//! tell what its client gets.

use std::sync::Arc;

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span};

use crate::connections::{Exchange, Turn};
use crate::domain::error::Result;
use crate::service::work::Unsent;

/// The answer of `next` at a route, completed by `complete`. Its memory, an `Arc<AnswerRoom>`, is among its extensions.
/// Errors: `StoreUnavailable` if there is no memory for it; jobs that were leased for it are given back then.
pub(super) async fn answer(
    request: Request,
    route: &str,
    next: Next,
    span: &Span,
    complete: impl Fn(Response) -> Response,
) -> Result<Response> {
    let exchange = request.extensions().get::<Exchange>().cloned();
    let is_head = *request.method() == Method::HEAD;
    let is_large = may_be_large(request.method(), request.uri().path());
    let turn = match &exchange {
        Some(exchange) if is_large => exchange.turn().await?,
        _ => Turn::default(),
    };
    let mut response = complete(next.run(request).instrument(span.clone()).await);
    // Of a form that asks for a payload, which the page reads first.
    let turn = response.extensions_mut().remove::<Arc<Turn>>().and_then(Arc::into_inner).unwrap_or(turn);
    // Dropped if the caller goes away during the wait.
    let unsent = response.extensions_mut().remove::<Arc<Unsent>>().and_then(Arc::into_inner);
    let unsent = unsent.unwrap_or_default();
    if let Some(exchange) = exchange {
        // The body of an answer to HEAD is not sent.
        let bytes = if is_head || is_shared(route) { 0 } else { response.body().size_hint().lower() };
        match exchange.connection().room(bytes, turn).await {
            Ok(room) => {
                response.extensions_mut().insert(Arc::new(room));
            }
            Err(error) => {
                unsent.give_back().await;
                return Err(error);
            }
        }
    }
    unsent.sent();
    Ok(response)
}

/// Whether the answer can have a payload or a page of webhooks. Its request has no body that must arrive first: forms of
/// the page wait for their turn in `page/webhook/payload.rs`. The page may have a prefix.
fn may_be_large(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
        && (path.starts_with("/v1/webhook") || (!path.starts_with("/v1/") && path.contains("/webhooks/")))
        && !path.ends_with("/status")
        && !path.ends_with("/watch")
}

/// Whether the answers at a route are in memory once, however many clients do not take them: the documentation, and the
/// files of the page, which may have a prefix. They need no token, and must not use up the memory of other answers.
fn is_shared(route: &str) -> bool {
    route == "/openapi.json" || route.starts_with("/docs/") || route.ends_with("/assets/{file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_in_memory_once_need_no_memory() {
        for route in ["/openapi.json", "/docs/", "/docs/{*rest}", "/assets/{file}", "/hooks/assets/{file}"] {
            assert!(is_shared(route), "{route}");
        }
        for route in ["unmatched", "/", "/v1/webhooks", "/v1/webhooks/{id}/body", "/readyz"] {
            assert!(!is_shared(route), "{route}");
        }
    }
}
