//! `/v1/sources/{source}/webhooks`: the URL to which the sender of a source sends, in its own form.

mod answer;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use self::answer::{ReceiveWebhooksResponse, batch, handshaken, one, own_body};
use super::Api;
use super::access::Client;
use super::body::{check_encoding, read_body};
use super::dto::SubmitWebhookResponse;
use super::problem::{Problem, Refused};
use super::query::name_in_path;
use super::reason::RestReason;
use super::submit::add_rate_headers;
use crate::connections::Arrival;
use crate::domain::error::{Error, Reason};
use crate::domain::trace::Traceparent;
use crate::domain::verdict::Cause;
use crate::service::conflicts::Via;
use crate::service::receive::{Head, Receipt, Received};
use crate::sources::{Rules, SourceRules};

/// The path of the URLs of sources.
pub(super) const PATH: &str = "/v1/sources/{source}/webhooks";

/// The methods of the path.
const METHODS: [&str; 4] = ["POST", "GET", "HEAD", "OPTIONS"];

/// The name of a source in the path.
pub(super) type Named = Result<Path<String>, PathRejection>;

/// Receives the webhooks of a source
///
/// The URL for the sender of a source of the settings. The body is what the sender sends, of any content type. The
/// request is verified by the rules of the source; key and event type come from where they say. A request can carry
/// several webhooks: all of them are stored, or none. A handshake is answered as the sender expects, and nothing is
/// stored. The settings of a source can set another status for what is accepted, other bodies, also for what is refused,
/// and 429 instead of 503.
///
/// Needs no token. If tokens are configured, a source that verifies nothing needs one with the role `submit`.
#[utoipa::path(
    post, path = "/v1/sources/{source}/webhooks", tag = "sources", operation_id = "ReceiveWebhooks",
    params(("source" = String, Path, description = "The name of the source in the settings")),
    request_body(content = String, content_type = "*/*", description = "What the sender sends"),
    responses(
        (status = 202, description = "At least one webhook is new: it is stored with a job for each matching route, or in quarantine. One webhook is answered by a SubmitWebhookResponse, several by a ReceiveWebhooksResponse", body = SubmitWebhookResponse, headers(
            ("Location" = Option<String>, description = "The path of the webhook, if there is one only"),
            ("RateLimit" = Option<String>, description = "What is left of the source's rate limit, if it has one"),
            ("RateLimit-Policy" = Option<String>, description = "The source's rate limit, if it has one"),
        )),
        (status = 200, description = "Each webhook was stored before: one is answered by a SubmitWebhookResponse, several, and none, by a ReceiveWebhooksResponse. Or the answer to a handshake", body = ReceiveWebhooksResponse),
        (status = 400, description = "The webhooks cannot be read: `detail` names the item and what is missing. Nothing of the request is stored", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The request is not verified: `cause` says why. Or the source verifies nothing, and the request has no valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The source verifies nothing, and the token does not have the role `submit`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The settings have no such source, or it verifies nothing and the token does not see it", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than the setting `max_body` allows, 1 MiB by default", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is compressed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A key was used for another webhook, and the source has `on_conflict = \"reject\"`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Instead of 503, if the source has `answer = { overload = 429 }`. Or the source verifies nothing, and too many tokens from the address of the client were wrong", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "After how many seconds to try again"),
        )),
        (status = 503, description = "The source is over its rate limit, the backlog is full, the store is not available, a key of the sender cannot be fetched, the body arrived too slowly, or the deadline of the source is over", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "After how many seconds to try again"),
        )),
    )
)]
pub(super) async fn receive_webhooks(
    api: Api,
    Extension(traceparent): Extension<Traceparent>,
    name: Named,
    request: Request,
) -> Response {
    receive(&api, &traceparent, name, request).await
}

/// Answers a handshake of a source by GET
///
/// For senders that check the URL by GET or HEAD. The answer is what the sender expects; nothing is stored. Needs no
/// token.
#[utoipa::path(
    get, path = "/v1/sources/{source}/webhooks", tag = "sources", operation_id = "AnswerHandshake",
    params(("source" = String, Path, description = "The name of the source in the settings")),
    responses(
        (status = 200, description = "The answer that the sender expects", body = String, content_type = "text/plain"),
        (status = 400, description = "The request is not a handshake of the source. A source whose handshake has a `verify_token` answers 403 instead", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The request is not verified, or its `verify_token` is missing or wrong; `cause` says which. Without a `cause`: the `verify_token` is right, but the request is not a handshake", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The settings have no such source", body = Problem, content_type = "application/problem+json"),
        (status = 405, description = "The source has no handshake by this method", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn answer_handshake(
    api: Api,
    Extension(traceparent): Extension<Traceparent>,
    name: Named,
    request: Request,
) -> Response {
    receive(&api, &traceparent, name, request).await
}

/// Answers a handshake of a source by OPTIONS
///
/// For senders that check the URL by OPTIONS, as CloudEvents says. The answer is what the sender expects; nothing is
/// stored. Needs no token.
#[utoipa::path(
    options, path = "/v1/sources/{source}/webhooks", tag = "sources", operation_id = "AnswerHandshakeByOptions",
    params(("source" = String, Path, description = "The name of the source in the settings")),
    responses(
        (status = 200, description = "The answer that the sender expects", body = String, content_type = "text/plain"),
        (status = 400, description = "The request is not a handshake of the source. A source whose handshake has a `verify_token` answers 403 instead", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The request is not verified, or its `verify_token` is missing or wrong; `cause` says which. Without a `cause`: the `verify_token` is right, but the request is not a handshake", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The settings have no such source", body = Problem, content_type = "application/problem+json"),
        (status = 405, description = "The source has no handshake by this method", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn answer_handshake_by_options(
    api: Api,
    Extension(traceparent): Extension<Traceparent>,
    name: Named,
    request: Request,
) -> Response {
    receive(&api, &traceparent, name, request).await
}

async fn receive(api: &Api, traceparent: &Traceparent, name: Named, request: Request) -> Response {
    let arrived = api.service.arrived();
    let source = match api.service.source(&name_in_path(name)) {
        Ok(source) => source,
        Err(error) => return Refused::from(error).into_response(),
    };
    tracing::Span::current().record("hookbox.source", source.name.as_str());
    let (Parts { method, uri, headers, extensions, .. }, body) = request.into_parts();
    if !is_taken(&source.rules, method.as_str()) {
        return method_not_allowed(&method, &source);
    }
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let head = Head {
        method: method.as_str(),
        target: uri.path_and_query().map_or("/", |target| target.as_str()),
        headers: &pairs.collect::<Vec<_>>(),
        client: extensions.get::<Client>().map(|Client(address)| *address),
        is_admitted: false,
        via: Via::Source,
        traceparent,
        arrived,
    };
    let answers = &source.rules.answers;
    let (body, arrival) = match read(api, &headers, body).await {
        Ok(read) => read,
        Err(refused) => {
            note(api, &source, &head, &refused);
            return refusal(refused, &method, &source.rules);
        }
    };
    let Receipt { outcome, rate } = api.service.receive(&source, head, &body, arrival).await;
    let mut response = match outcome {
        Ok(Received::Handshake(answer)) => handshaken(answer),
        Ok(Received::Webhook(accepted)) => one(accepted, answers),
        Ok(Received::Batch(accepted)) => batch(&accepted, answers),
        Err(error) => challenging(refusal(error.into(), &method, &source.rules), &source),
    };
    if let Some(rate) = rate {
        add_rate_headers(response.headers_mut(), &source.name, rate);
    }
    response
}

async fn read(api: &Api, headers: &HeaderMap, body: Body) -> Result<(Bytes, Arrival), Refused> {
    // The signature is over what was sent, so nothing is decompressed.
    check_encoding(headers)?;
    read_body(body, api.max_body_bytes, &api.bodies).await
}

/// Counts a refused body, and adds it to the rejections of the source. Refusals that a repeated request can avoid are not
/// added.
fn note(api: &Api, source: &SourceRules, head: &Head<'_>, refused: &Refused) {
    api.service.count_refusal(&source.name, refused.reason());
    if [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE].contains(&refused.status()) {
        api.service.note_refusal(source, head, refused.reason(), refused.detail());
    }
}

/// The answer to what is refused: a problem document, unless the source has a body of its own for that.
fn refusal(refused: Refused, method: &Method, rules: &Rules) -> Response {
    let refused = as_understood(refused, method, rules);
    let Some(body) = &rules.answers.refused_body else { return refused.into_response() };
    let response = own_body(refused.status(), body, &rules.answers);
    refused.answered_by(response)
}

/// The answer with the challenge that a 401 has to have (RFC 9110, section 15.5.2). If a token is needed instead, its own
/// challenge takes the place of this one.
fn challenging(mut response: Response, source: &SourceRules) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED
        && let Ok(challenge) =
            HeaderValue::try_from(format!("{} realm=\"{}\"", source.rules.challenge(), source.name))
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The refusal with the status that the sender understands: one that asks it to try again, if another try can help, and
/// 403 for a handshake that is not proved. Meta wants 403 also if the token is right and something else is wrong.
fn as_understood(refused: Refused, method: &Method, rules: &Rules) -> Refused {
    let status = StatusCode::from_u16(rules.answers.overload).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let is_forbidden = |error: &Error| match error.reason() {
        Reason::NotVerified => method != Method::POST,
        Reason::MalformedWebhook => method != Method::POST && rules.handshake_takes_token(method.as_str()),
        _ => false,
    };
    match refused {
        Refused::Error(error) if is_overload(&error) => Refused::WithStatus(error, status),
        Refused::Error(error) if is_forbidden(&error) => Refused::WithStatus(error, StatusCode::FORBIDDEN),
        Refused::Request(RestReason::BodyTimeout, detail) => Refused::TooSlow(detail, status),
        refused => refused,
    }
}

fn is_overload(error: &Error) -> bool {
    let reasons = [Reason::RateLimited, Reason::BacklogFull, Reason::StoreUnavailable, Reason::ShuttingDown];
    reasons.contains(&error.reason()) || error.unverified().is_some_and(Cause::is_temporary)
}

/// Whether a source takes requests by this method: webhooks come by POST, handshakes by any.
fn is_taken(rules: &Rules, method: &str) -> bool {
    method == "POST" || rules.takes_handshake(method)
}

/// Refuses a method that no source takes. The methods that it may have instead are those of its source.
pub(super) fn refuse_method(api: &Api, name: Named, method: &Method) -> Response {
    match api.service.source(&name_in_path(name)) {
        Ok(source) => method_not_allowed(method, &source),
        Err(error) => Refused::from(error).into_response(),
    }
}

fn method_not_allowed(method: &Method, source: &SourceRules) -> Response {
    let allowed = METHODS.into_iter().filter(|method| is_taken(&source.rules, method));
    let allowed = allowed.collect::<Vec<_>>().join(", ");
    let detail = format!(
        "the source `{}` takes nothing by {method}; its sender sends webhooks by POST, and the header Allow lists the methods",
        source.name
    );
    let refused = Refused::Request(RestReason::MethodNotAllowed, detail);
    let mut response = refusal(refused, method, &source.rules);
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}
