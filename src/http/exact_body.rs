//! The body of a webhook, byte for byte.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::problem::{Problem, Refused};
use super::query::Id;
use crate::domain::error::Error;

/// What a browser may do with a body: nothing. A stranger chose its content type.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// Returns the body of a webhook, byte for byte
///
/// It has the content type of the webhook. Browsers save it to a file, and do not show it.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/body", tag = "webhooks", operation_id = "GetWebhookBody",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid)),
    responses(
        (status = 200, description = "The body", body = String, content_type = "*/*"),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The webhook was never accepted, or was removed, or the retention of its payload is over", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_webhook_body(api: Api, Id(id): Id) -> Result<Response, Refused> {
    let (content_type, body) = api.service.body(id).await?;
    let text = |text: String| HeaderValue::try_from(text).map_err(Error::internal);
    let headers = [
        (header::CONTENT_TYPE, text(content_type.as_str().to_owned())?),
        (header::CONTENT_DISPOSITION, text(format!("attachment; filename=\"webhook-{id}.bin\""))?),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    Ok((headers, body).into_response())
}
