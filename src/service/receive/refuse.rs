//! Refuses requests of sources, and tells senders and operators why.

use std::time::Duration;

use super::super::activity::{Rejection, Subject, cut};
use super::super::sources::{SourceInForce, no_source_at_url};
use super::Head;
use super::count::Counted;
use crate::access::{Need, Role};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::verdict::{Cause, Verdict, told_without_key};
use crate::domain::webhook::Source;
use crate::service::Service;
use crate::sources::{MissingKey, Request, Rules, SourceRules, handshake, lacks_token};

/// After which time a sender may try again whose key cannot be fetched. A key whose fetch failed is not tried sooner.
const KEY_RETRY_AFTER: Duration = Duration::from_secs(10);

/// What rejections say about a token that is limited to other sources.
const NOT_SEEN: &str = "the token of the request does not see the source, and the log names the token; add the source to its \
                        `sources` in the settings and reload, or have the sender use another token";

/// What rejections say about a token that may not submit.
const NO_ROLE: &str = "the token of the request does not have the role `submit`, and the log names the token; add the role to \
                       its `roles` in the settings and reload, or have the sender use another token";

/// The error of a request that is not verified.
pub(super) fn not_verified(rules: &Rules, request: &Request<'_>, cause: Cause) -> Error {
    let missing = if cause == Cause::KeyUnavailable { rules.missing_key(request) } else { None };
    let told = match missing {
        Some(MissingKey { signatures, member }) => told_without_key(&signatures, member),
        None => cause.advice().told.to_owned(),
    };
    let error = Error::not_verified(cause, format!("the request is not verified: {told}"));
    if cause.is_temporary() { error.retry_after(KEY_RETRY_AFTER) } else { error }
}

/// The error of a request whose signature came with another key before.
pub(super) fn signature_of_another() -> Error {
    let detail = "the request is not verified: its signature came with another key before, and `once` of the source allows one key only; if it is from the sender, let the sender sign each event anew";
    Error::not_verified(Cause::SignatureMismatch, detail)
}

/// Whether a request that is answered with this error stores nothing. After others, such as that of a deadline, storing can
/// go on.
pub(super) fn stores_nothing(error: &Error) -> bool {
    matches!(error.reason(), Reason::RateLimited | Reason::BacklogFull | Reason::KeyReused)
}

/// How a request by another method than POST that is no handshake is counted, and its error. `verdict` is what verifying it
/// found.
pub(super) fn no_handshake(
    source: &SourceRules,
    request: &Request<'_>,
    verdict: Verdict,
) -> (Counted, Error) {
    let name = &source.name;
    if let Some(cause) = verdict.cause()
        && handshake(request, Verdict::Verified, &source.rules).is_some()
    {
        return (Counted::Unverified(cause), not_verified(&source.rules, request, cause));
    }
    if lacks_token(request, &source.rules) {
        let cause = Cause::CredentialsWrong;
        let detail = format!(
            "the token of the handshake is missing, or is not the `verify_token` of the source `{name}`; enter the same text at the sender"
        );
        return (Counted::Unverified(cause), Error::not_verified(cause, detail));
    }
    let detail = format!(
        "the request is not a handshake of the source `{name}`: it does not meet the conditions in `handshakes` of the source; webhooks come by POST"
    );
    (Counted::Malformed, Error::new(Reason::MalformedWebhook, detail))
}

/// The error of a request that meets the conditions of a handshake, and has this problem.
pub(super) fn wrong_handshake(source: &SourceRules, problem: &str) -> Error {
    let detail = format!(
        "the request is not a handshake of the source `{}`: {problem}; compare `handshakes` of the source with what the \
         sender sends; nothing of the request is stored",
        source.name
    );
    Error::new(Reason::MalformedWebhook, detail)
}

/// The error of a handshake whose visit failed, by this problem.
pub(super) fn not_confirmed(problem: &str) -> Error {
    let detail = format!(
        "the URL by which the subscription is confirmed cannot be visited: {problem}; let the sender send it again"
    );
    Error::not_verified(Cause::KeyUnavailable, detail).retry_after(KEY_RETRY_AFTER)
}

/// The error of a request that is not verified and does not fit into the quarantine of its source.
fn quarantine_full(cause: Cause) -> Error {
    let detail = format!(
        "the request is not verified, and the quarantine of its source is full: release or discard what is in it; {}",
        cause.advice().told
    );
    Error::not_verified(cause, detail)
}

/// A refusal, as operators are told of it.
struct Refusal<'a> {
    /// What the line of the log is about.
    subject: Subject,
    /// What the sender was told.
    reason: &'static str,
    cause: Option<Cause>,
    /// What was wrong, for the log.
    detail: &'a str,
    /// What was wrong, for the rejections, without the names of tokens that a caller who sees the source may not know.
    kept: &'a str,
}

impl<'a> Refusal<'a> {
    fn of(error: &'a Error) -> Self {
        let (reason, cause) = (error.reason().as_str(), error.unverified());
        let subject = Subject::Refused(cause.map_or(reason, Cause::as_str));
        Self { subject, reason, cause, detail: error.detail(), kept: error.detail() }
    }
}

impl Service {
    /// Counts a request of a source that was refused before it had a verdict, or webhooks. `reason` is what its sender was
    /// told.
    pub fn count_refusal(&self, source: &Source, reason: &'static str) {
        self.metrics.refused(source.as_str(), reason);
    }

    /// As [`count_refusal`](Self::count_refusal), for a submission, whose source is `default`. Not counted for a caller who
    /// must not act on that source.
    pub fn count_refused_submission(&self, reason: &'static str) {
        let source = Source::default();
        if self.caller.sees_source(&source) {
            self.count_refusal(&source, reason);
        }
    }

    /// Notes for the operator that a request of a source was refused before its body was verified. `reason` is what its
    /// sender was told.
    pub fn note_refusal(&self, source: &SourceRules, head: &Head<'_>, reason: &'static str, detail: &str) {
        let refusal =
            Refusal { subject: Subject::Refused(reason), reason, cause: None, detail, kept: detail };
        self.note_rejection(source, head, 0, &refusal);
    }

    /// Lets in only clients who may submit webhooks of a source that verifies nothing, and notes the refusal of others for
    /// the operator. Errors: `Unauthenticated`, `TooManyFailedTokens`, `Forbidden`; `SourceNotFound` for a client who does
    /// not see the source.
    pub(super) fn check_sender(
        &self,
        source: &SourceInForce,
        head: &Head<'_>,
        body_bytes: usize,
    ) -> Result<()> {
        let named = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let authorization = named.map(|(_, value)| *value);
        let need = Need::Role(Role::Submit);
        let error = match self.access.admit_by(&source.tokens, need, authorization, head.client) {
            Ok(caller) if caller.sees_source(&source.name) => return Ok(()),
            Ok(caller) => {
                let error = no_source_at_url(Some(&source.name));
                // The sender is not told that the source is there.
                let detail = format!(
                    "the token `{}` does not see the source; add it to `sources` of the token in the settings and reload, \
                     or have the sender use another token",
                    caller.name()
                );
                let refusal = Refusal { detail: &detail, kept: NOT_SEEN, ..Refusal::of(&error) };
                self.note_rejection(source, head, body_bytes, &refusal);
                error
            }
            Err(error) if error.reason() == Reason::Forbidden => {
                let refusal = Refusal { kept: NO_ROLE, ..Refusal::of(&error) };
                self.note_rejection(source, head, body_bytes, &refusal);
                error
            }
            Err(error) => self.reject(source, head, body_bytes, error),
        };
        self.count_request(&source.name, Counted::Unauthorized(error.reason()));
        Err(error)
    }

    /// Notes for the operator that a request is refused with this error, and returns the error.
    pub(super) fn reject(
        &self,
        source: &SourceRules,
        head: &Head<'_>,
        body_bytes: usize,
        error: Error,
    ) -> Error {
        self.note_rejection(source, head, body_bytes, &Refusal::of(&error));
        error
    }

    /// As [`reject`](Self::reject), for a request that is not verified and does not fit into the quarantine of its source.
    pub(super) fn reject_beyond_quarantine(
        &self,
        source: &SourceRules,
        head: &Head<'_>,
        body_bytes: usize,
        cause: Cause,
    ) -> Error {
        let error = quarantine_full(cause);
        let refusal = Refusal { subject: Subject::QuarantineFull, ..Refusal::of(&error) };
        self.note_rejection(source, head, body_bytes, &refusal);
        error
    }

    fn note_rejection(
        &self,
        source: &SourceRules,
        head: &Head<'_>,
        body_bytes: usize,
        refusal: &Refusal<'_>,
    ) {
        let Refusal { subject, reason, cause, detail, kept } = *refusal;
        let content_type = head.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let trace_id = head.traceparent.trace_id();
        let rejection = Rejection {
            at: head.arrived.at,
            cause,
            reason,
            detail: kept.to_owned(),
            client: head.client,
            method: cut(head.method),
            content_type: content_type.map(|(_, value)| cut(&String::from_utf8_lossy(value))),
            body_bytes,
            trace_id: trace_id.to_owned(),
        };
        let due = self.activity().reject(&source.name, subject, rejection, self.clock.monotonic());
        if let Some(times) = due {
            tracing::warn!(
                times,
                source = source.name.as_str(),
                reason,
                cause = cause.map(Cause::as_str),
                client = head.client.map(tracing::field::display),
                trace_id,
                "requests of a source are refused: {detail}"
            );
        }
    }

    /// Counts what verifying a request found, and raises an alert if most requests of the source are not verified.
    pub(super) fn note_verdict(&self, source: &Source, verdict: Verdict) {
        if verdict == Verdict::None || !self.metrics.alerts().are_wanted() {
            return;
        }
        if let Some(failing) = self.activity().count_verdict(source, verdict, self.clock.monotonic()) {
            self.metrics.alerts().raise(|| failing.alert(source));
        }
    }

    /// Logs that a request that is not verified is in quarantine.
    pub(super) fn log_quarantine(&self, source: &SourceRules, head: &Head<'_>, cause: Cause) {
        if let Some(times) = self.activity().quarantined(&source.name, cause, self.clock.monotonic()) {
            tracing::warn!(
                times,
                source = source.name.as_str(),
                cause = cause.as_str(),
                client = head.client.map(tracing::field::display),
                trace_id = head.traceparent.trace_id(),
                "requests of a source are quarantined: {}",
                cause.advice().told
            );
        }
    }
}
