//! Answers handshakes: makes the visits that they ask for, and keeps the tokens that come by them.

use super::super::activity::HandshakeToken;
use super::count::Counted;
use super::{Head, Received, refuse};
use crate::domain::error::{Result, causes};
use crate::domain::secret::Secret;
use crate::domain::verdict::Cause;
use crate::service::Service;
use crate::sources::{HandshakeAnswer, SourceRules};

impl Service {
    /// Makes the visit that a handshake asks for, and answers it. Errors: `NotVerified`, if the visit fails.
    pub(super) async fn answer_handshake(
        &self,
        source: &SourceRules,
        head: &Head<'_>,
        bytes: usize,
        answer: HandshakeAnswer,
    ) -> Result<Received> {
        if let Some(visit) = &answer.visit {
            let visited = tokio::select! {
                biased;
                visited = self.receiving.keys.confirm(visit) => visited.map_err(|error| causes(&error)),
                () = self.deadline(&source.rules, head.arrived) => Err("there was no time left".to_owned()),
            };
            if let Err(problem) = visited {
                self.count_request(&source.name, Counted::Unverified(Cause::KeyUnavailable));
                return Err(self.reject(source, head, bytes, refuse::not_confirmed(&problem)));
            }
        }
        self.count_request(&source.name, Counted::Handshake);
        if let Some(token) = answer.token.clone() {
            self.keep_token(source, head, token);
        }
        tracing::debug!(
            trace_id = head.traceparent.trace_id(),
            source = source.name.as_str(),
            status = answer.status,
            "a handshake is answered"
        );
        Ok(Received::Handshake(answer))
    }

    /// Keeps the token of a handshake for operators. The log does not get it.
    fn keep_token(&self, source: &SourceRules, head: &Head<'_>, token: Secret) {
        let token = HandshakeToken { token, at: head.arrived.at, client: head.client };
        if let Some(times) = self.activity().keep_token(&source.name, token, head.arrived.monotonic) {
            tracing::info!(
                times,
                source = source.name.as_str(),
                client = head.client.map(tracing::field::display),
                trace_id = head.traceparent.trace_id(),
                "a sender has sent a token to enter there; GET /v1/sources/NAME and the page show it"
            );
        }
    }
}
