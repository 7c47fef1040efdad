//! The sources in force, and what came in from each.

use std::ops::Deref;
use std::sync::Arc;

use super::Service;
use super::activity::Activity;
use super::reload::Snapshot;
use crate::access::Tokens;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::webhook::Source;
use crate::routes::Routes;
use crate::sources::{SourceMap, SourceRules};

/// A source, with the routes and the tokens of the same version of the settings.
#[derive(Debug)]
pub struct SourceInForce {
    source: Arc<SourceRules>,
    pub(super) routes: Arc<Routes>,
    pub(super) tokens: Arc<Tokens>,
}

impl Deref for SourceInForce {
    type Target = SourceRules;

    fn deref(&self) -> &SourceRules {
        &self.source
    }
}

impl Service {
    /// The sources in force.
    pub fn sources(&self) -> Arc<SourceMap> {
        self.settings.sources()
    }

    /// What came in from each source since the start of the process.
    pub fn activity(&self) -> &Activity {
        &self.receiving.activity
    }

    /// The source in force with this name. A request keeps it to its end, whatever is reloaded meanwhile. Errors:
    /// `SourceNotFound`.
    pub fn source(&self, name: &str) -> Result<SourceInForce> {
        let source = Source::new(name).ok();
        let Snapshot { routes, sources, tokens } = self.settings.snapshot(&self.access);
        let found = source.as_ref().and_then(|source| sources.get(source).cloned());
        let found = found.map(|source| SourceInForce { source, routes, tokens });
        found.ok_or_else(|| no_source_at_url(source.as_ref()))
    }
}

/// The error for a URL whose source is not in force, or whose caller does not see it.
pub(super) fn no_source_at_url(source: Option<&Source>) -> Error {
    let named = source.map(|source| format!(" `{source}`")).unwrap_or_default();
    let detail = format!(
        "the settings have no source{named}; add [sources.NAME] to hookbox.toml and reload, or correct the URL"
    );
    Error::new(Reason::SourceNotFound, detail)
}
