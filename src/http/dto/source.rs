//! Sources, what came in from them, and the requests of theirs that were refused.

use serde::Serialize;
use utoipa::ToSchema;

use super::{CauseWord, Time};
use crate::domain::verdict::Cause;
use crate::service::activity::{HandshakeToken, Rejection};
use crate::service::source_view::{SourceCounts, SourceDetail, SourceView};

/// The sources of the settings.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListSourcesResponse {
    /// The sources, by name.
    sources: Vec<SourceBody>,
}

impl From<Vec<SourceView>> for ListSourcesResponse {
    fn from(sources: Vec<SourceView>) -> Self {
        Self { sources: sources.into_iter().map(Into::into).collect() }
    }
}

/// A source of the settings, with what came in from it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
struct SourceBody {
    /// The name of the source.
    #[schema(example = "shop")]
    source: String,
    /// The name of its preset; null if it has none.
    #[schema(example = "shopify")]
    preset: Option<String>,
    /// What it is, for people; null if none is given.
    description: Option<String>,
    /// Whether its requests are verified.
    verifies: bool,
    /// The path of the URL to which the sender sends.
    #[schema(example = "/v1/sources/shop/webhooks")]
    path: String,
    /// What becomes of a request that is not verified: it is refused (`reject`), or its webhooks are stored without
    /// jobs until an operator releases or discards them (`quarantine`).
    #[schema(example = "reject")]
    unverified: &'static str,
    /// How many webhooks it may send per second (`s`), minute (`m`) or hour (`h`); null if its settings do not say it.
    #[schema(example = "1000/m")]
    rate_limit: Option<String>,
    /// Whether the page hides its payloads until they are asked for. Calls are answered with payloads in any case.
    sensitive: bool,
    /// What came in since the start of the process that answers.
    counts: SourceCountsBody,
    /// When the last request came that was verified, or that the source does not verify; null if none has come since
    /// the start of the process that answers, and for a token that is limited to routes.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_seen: Option<Time>,
    /// Whether the source is paused by its name. False if only everything or a route is paused.
    paused: bool,
    /// Since when the source is paused by its name; null if it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    paused_since: Option<Time>,
    /// The name of the token that last paused the source by its name; null if it is not paused.
    paused_by: Option<String>,
    /// Why the source is paused by its name, in the words of the operator who paused it last; null if it is not
    /// paused, or no reason was given.
    pause_reason: Option<String>,
}

impl From<SourceView> for SourceBody {
    fn from(source: SourceView) -> Self {
        Self {
            source: source.source.to_string(),
            preset: source.preset,
            description: source.description,
            verifies: source.verifies,
            path: source.path,
            unverified: source.unverified,
            rate_limit: source.rate_limit,
            sensitive: source.is_sensitive,
            counts: source.counts.into(),
            last_seen: source.last_seen.map(Time),
            paused: source.pause.is_some(),
            paused_since: source.pause.as_ref().map(|pause| Time(pause.since)),
            paused_by: source.pause.as_ref().map(|pause| pause.actor.clone()),
            pause_reason: source.pause.and_then(|pause| pause.reason),
        }
    }
}

/// How many requests of a source came in, by what they were. All are 0 for a token that is limited to routes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceCounts)]
struct SourceCountsBody {
    /// Requests that were verified, or that the source does not verify, and whose webhooks could be read.
    verified: u64,
    /// Requests that were not verified, also those whose webhooks are in quarantine.
    unverified: u64,
    /// Other requests whose webhooks could not be read.
    malformed: u64,
    /// Requests by which the sender checked the URL.
    handshakes: u64,
    /// Requests that the source does not verify, without a token that may submit to it.
    unauthorized: u64,
}

impl From<SourceCounts> for SourceCountsBody {
    fn from(counts: SourceCounts) -> Self {
        let SourceCounts { verified, unverified, malformed, handshakes, unauthorized } = counts;
        Self { verified, unverified, malformed, handshakes, unauthorized }
    }
}

/// A source of the settings.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct GetSourceResponse {
    /// The source.
    source: SourceBody,
    /// The last 8 tokens that came by its handshakes and are not among its secrets, newest first. None for a token
    /// without the role `operate`, or that is limited to routes.
    handshake_tokens: Vec<HandshakeTokenBody>,
}

impl From<SourceDetail> for GetSourceResponse {
    fn from(detail: SourceDetail) -> Self {
        let handshake_tokens = detail.handshake_tokens.into_iter().map(Into::into).collect();
        Self { source: detail.source.into(), handshake_tokens }
    }
}

/// A token that came by a handshake, to be entered at the sender. Every client that knows the URL of the source can send
/// one: make it a secret of the source only after the sender has accepted it.
#[derive(Serialize, ToSchema)]
#[schema(as = HandshakeToken)]
struct HandshakeTokenBody {
    /// The token.
    token: String,
    /// When it came last.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// The IP address that it came from; null if it is not known. Behind a proxy, that of the proxy.
    #[schema(example = "203.0.113.7")]
    client: Option<String>,
}

impl From<HandshakeToken> for HandshakeTokenBody {
    fn from(shown: HandshakeToken) -> Self {
        Self {
            token: shown.token.expose().to_owned(),
            at: Time(shown.at),
            client: shown.client.map(|client| client.to_string()),
        }
    }
}

/// The requests that were refused.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListRejectionsResponse {
    /// The last 100, newest first.
    rejections: Vec<RejectionBody>,
}

impl From<Vec<Rejection>> for ListRejectionsResponse {
    fn from(rejections: Vec<Rejection>) -> Self {
        Self { rejections: rejections.into_iter().map(Into::into).collect() }
    }
}

/// A request to a source that was refused. Nothing of it is stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rejection)]
struct RejectionBody {
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// Why it is not verified; null if it was refused for another reason.
    #[schema(value_type = Option<CauseWord>)]
    cause: Option<&'static str>,
    /// The reason in UPPER_SNAKE_CASE.
    #[schema(example = "NOT_VERIFIED")]
    reason: &'static str,
    /// What was wrong, and what to do.
    detail: String,
    /// The IP address that it came from; null if it is not known. Behind a proxy, that of the proxy.
    #[schema(example = "203.0.113.7")]
    client: Option<String>,
    /// The method of the request.
    #[schema(example = "POST")]
    method: String,
    /// The content type of the request; null if it had none.
    #[schema(example = "application/json")]
    content_type: Option<String>,
    /// How many bytes its body had; 0 if it was not read.
    body_bytes: u64,
    /// The trace of the request: 32 hex digits.
    trace_id: String,
}

impl From<Rejection> for RejectionBody {
    fn from(rejection: Rejection) -> Self {
        Self {
            at: Time(rejection.at),
            cause: rejection.cause.map(Cause::as_str),
            reason: rejection.reason,
            detail: rejection.detail,
            client: rejection.client.map(|client| client.to_string()),
            method: rejection.method,
            content_type: rejection.content_type,
            body_bytes: rejection.body_bytes as u64,
            trace_id: rejection.trace_id,
        }
    }
}
