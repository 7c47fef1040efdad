//! The sources in force, and what came in from each.

use std::sync::{Arc, PoisonError, RwLock};

use super::Service;
use super::activity::Activity;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::webhook::Source;
use crate::sources::{SourceMap, SourceRules};

/// The sources in force. The default has none.
#[derive(Debug, Default)]
pub struct SourcesInForce(RwLock<Arc<SourceMap>>);

impl SourcesInForce {
    /// The sources in force now.
    pub fn get(&self) -> Arc<SourceMap> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other sources in force.
    pub fn set(&self, sources: Arc<SourceMap>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = sources;
    }
}

impl Service {
    /// The sources in force.
    pub fn sources(&self) -> Arc<SourceMap> {
        self.routes.sources()
    }

    /// What came in from each source since the start of the process.
    pub fn activity(&self) -> &Activity {
        &self.receiving.activity
    }

    /// The source in force with this name. A request keeps it to its end, whatever is reloaded meanwhile. Errors:
    /// `SourceNotFound`.
    pub fn source(&self, name: &str) -> Result<Arc<SourceRules>> {
        let source = Source::new(name).ok();
        let found = source.as_ref().and_then(|source| self.sources().get(source).cloned());
        found.ok_or_else(|| {
            let named = source.map(|source| format!(" `{source}`")).unwrap_or_default();
            let detail = format!(
                "the settings have no source{named}; add [sources.NAME] to hookbox.toml and reload, or correct the URL"
            );
            Error::new(Reason::SourceNotFound, detail)
        })
    }
}
