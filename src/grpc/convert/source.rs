//! Converts sources and refused requests to messages.

use super::payload::cause;
use super::time;
use crate::grpc::proto;
use crate::service::activity::{HandshakeToken, Rejection};
use crate::service::source_view::{SourceCounts, SourceDetail, SourceView};

pub(in crate::grpc) fn sources(sources: Vec<SourceView>) -> proto::ListSourcesResponse {
    proto::ListSourcesResponse { sources: sources.into_iter().map(source).collect() }
}

pub(in crate::grpc) fn source_detail(detail: SourceDetail) -> proto::GetSourceResponse {
    let SourceDetail { source: view, handshake_tokens } = detail;
    let handshake_tokens = handshake_tokens.into_iter().map(handshake_token).collect();
    proto::GetSourceResponse { source: Some(source(view)), handshake_tokens }
}

pub(in crate::grpc) fn rejections(rejections: Vec<Rejection>) -> proto::ListRejectionsResponse {
    proto::ListRejectionsResponse { rejections: rejections.into_iter().map(rejection).collect() }
}

fn source(source: SourceView) -> proto::Source {
    proto::Source {
        source: source.source.to_string(),
        preset: source.preset,
        description: source.description,
        verifies: source.verifies,
        path: source.path,
        unverified: source.unverified.to_owned(),
        rate_limit: source.rate_limit,
        counts: Some(counts(source.counts)),
        last_seen: source.last_seen.map(time),
        paused: source.pause.is_some(),
        paused_since: source.pause.as_ref().map(|pause| time(pause.since)),
        sensitive: source.is_sensitive,
        paused_by: source.pause.as_ref().map(|pause| pause.actor.clone()),
        pause_reason: source.pause.and_then(|pause| pause.reason),
    }
}

fn handshake_token(shown: HandshakeToken) -> proto::HandshakeToken {
    proto::HandshakeToken {
        token: shown.token.expose().to_owned(),
        at: Some(time(shown.at)),
        client: shown.client.map(|client| client.to_string()),
    }
}

fn counts(counts: SourceCounts) -> proto::SourceCounts {
    proto::SourceCounts {
        verified: counts.verified,
        unverified: counts.unverified,
        malformed: counts.malformed,
        handshakes: counts.handshakes,
        unauthorized: counts.unauthorized,
    }
}

fn rejection(rejection: Rejection) -> proto::Rejection {
    proto::Rejection {
        at: Some(time(rejection.at)),
        cause: rejection.cause.map(|of| cause(of).into()),
        reason: rejection.reason.to_owned(),
        detail: rejection.detail,
        client: rejection.client.map(|client| client.to_string()),
        method: rejection.method,
        content_type: rejection.content_type,
        body_bytes: rejection.body_bytes as u64,
        trace_id: rejection.trace_id,
    }
}
