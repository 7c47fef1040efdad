//! The sources of the settings as clients see them, with what came in from each.

use std::sync::Arc;

use jiff::Timestamp;

use super::Service;
use super::activity::{HandshakeToken, Rejection};
use crate::access::Role;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::webhook::Source;
use crate::sources::SourceRules;
use crate::store::{Pause, PauseTarget};

/// A source of the settings, with what came in from it.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// The source.
    pub source: Source,
    /// The name of its preset; none if it has none.
    pub preset: Option<String>,
    /// What it is, for people; none if none is given.
    pub description: Option<String>,
    /// Whether its requests are verified.
    pub verifies: bool,
    /// The path of the URL to which the sender sends.
    pub path: String,
    /// What becomes of requests that are not verified: `reject` or `quarantine`.
    pub unverified: &'static str,
    /// How many webhooks it may send, such as `1000/m`; none if its settings do not say it.
    pub rate_limit: Option<String>,
    /// Whether the page hides its payloads until they are asked for.
    pub is_sensitive: bool,
    /// What came in since the start of this process.
    pub counts: SourceCounts,
    /// When the last request came that was verified, or that the source does not verify.
    pub last_seen: Option<Timestamp>,
    /// The pause of the source by its name.
    pub pause: Option<Pause>,
}

/// A source of the settings, with what only operators see.
#[derive(Clone, Debug)]
pub struct SourceDetail {
    /// The source.
    pub source: SourceView,
    /// The tokens that came by handshakes, the newest first.
    pub handshake_tokens: Vec<HandshakeToken>,
}

/// How many requests of a source came in since the start of this process, by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Requests that were verified, or that the source does not verify, and whose webhooks could be read.
    pub verified: u64,
    /// Requests that were not verified, also those whose webhooks are in quarantine.
    pub unverified: u64,
    /// Other requests whose webhooks could not be read.
    pub malformed: u64,
    /// Requests by which the sender checked the URL.
    pub handshakes: u64,
    /// Requests that the source does not verify, without a token that may submit to it.
    pub unauthorized: u64,
}

impl Service {
    /// The sources in force that the caller sees, by name.
    pub async fn source_list(&self) -> Result<Vec<SourceView>> {
        let pauses = self.pauses().await?;
        let sources = self.sources();
        let seen = sources.values().filter(|source| self.caller.sees_source(&source.name));
        Ok(seen.map(|source| self.view_of_source(source, &pauses)).collect())
    }

    /// A source in force, with what came in from it.
    pub async fn source_view(&self, source: &SourceRules) -> Result<SourceView> {
        Ok(self.view_of_source(source, &self.pauses().await?))
    }

    /// A source in force, with what the caller sees of it. Errors: `SourceNotFound` if it is not in force, or the caller
    /// does not see it.
    pub async fn source_detail(&self, source: &Source) -> Result<SourceDetail> {
        let rules = self.seen_source(source)?;
        let handshake_tokens = self.handshake_tokens(&rules);
        Ok(SourceDetail { source: self.source_view(&rules).await?, handshake_tokens })
    }

    /// The last tokens that this process got by handshakes of a source, the newest first, without those that are its
    /// secrets. Only for callers who may operate and are not limited to routes; none for others.
    pub fn handshake_tokens(&self, source: &SourceRules) -> Vec<HandshakeToken> {
        if !self.caller.has(Role::Operate) || self.caller.has_limited_routes() {
            return Vec::new();
        }
        let mut tokens = self.activity().handshake_tokens(&source.name);
        tokens.retain(|shown| !source.rules.has_secret(&shown.token));
        tokens
    }

    /// The source in force with this name. Errors: `SourceNotFound` if it is not in force, or the caller does not see it.
    pub fn seen_source(&self, source: &Source) -> Result<Arc<SourceRules>> {
        let found = self.sources().get(source).filter(|_| self.caller.sees_source(source)).cloned();
        found.ok_or_else(|| source_not_found(source))
    }

    /// The last requests to a source that this process has refused, newest first. Errors: `SourceNotFound` if it is not
    /// in force, or the caller does not see it; `Forbidden` for a caller who is limited to routes.
    pub fn rejections(&self, source: &Source) -> Result<Vec<Rejection>> {
        self.seen_source(source)?;
        if self.caller.has_limited_routes() {
            return Err(self.caller.too_limited("requests that were refused belong to no route"));
        }
        Ok(self.activity().rejections(source))
    }

    fn view_of_source(&self, source: &SourceRules, pauses: &[Pause]) -> SourceView {
        let (counts, last_seen) = self.numbers_of(&source.name);
        let rules = &source.rules;
        SourceView {
            source: source.name.clone(),
            preset: source.preset.clone(),
            description: Some(rules.description.clone()).filter(|text| !text.is_empty()),
            verifies: rules.verifies(),
            path: format!("/v1/sources/{}/webhooks", source.name),
            unverified: rules.on_unverified.as_str(),
            rate_limit: rules.rate_limit.map(|rate| rate.to_string()),
            is_sensitive: rules.is_sensitive,
            counts,
            last_seen,
            pause: pause_of(pauses, &source.name),
        }
    }

    /// What came in from a source, and when it was last seen. They are those of all routes.
    fn numbers_of(&self, source: &Source) -> (SourceCounts, Option<Timestamp>) {
        if self.caller.has_limited_routes() {
            return (SourceCounts::default(), None);
        }
        let seen = self.activity().seen(source);
        let counts = SourceCounts {
            verified: seen.verified,
            unverified: seen.unverified,
            malformed: seen.malformed,
            handshakes: seen.handshakes,
            unauthorized: seen.unauthorized,
        };
        (counts, seen.last_seen.map(|seen| seen.at))
    }
}

/// The error for a source that is not in force, or that the caller does not see.
pub(super) fn source_not_found(source: &Source) -> Error {
    let detail = format!(
        "there is no source `{source}` in the settings; GET /v1/sources, in gRPC ListSources, lists them"
    );
    Error::new(Reason::SourceNotFound, detail)
}

fn pause_of(pauses: &[Pause], source: &Source) -> Option<Pause> {
    let target = PauseTarget::Source(source.clone());
    pauses.iter().find(|pause| pause.target == target).cloned()
}
