//! The sources of the settings, by their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::Rules;
use crate::domain::webhook::Source;

/// The sources, by their names.
pub type SourceMap = BTreeMap<Source, Arc<SourceRules>>;

/// A source of the settings.
#[derive(Clone, Debug)]
pub struct SourceRules {
    /// Its name.
    pub name: Source,
    /// The name of its preset; none if it has none.
    pub preset: Option<String>,
    /// How its requests are verified, read and answered.
    pub rules: Rules,
    /// The setting `public_url` without a slash at its end; none if it is not set.
    pub public_url: Option<Arc<str>>,
}

impl SourceRules {
    /// The URL of a request as its sender sees it; none if `public_url` is not set. `target` is the path of the request
    /// with its query, as they came.
    pub fn url_of(&self, target: &str) -> Option<String> {
        self.public_url.as_ref().map(|public_url| format!("{public_url}{target}"))
    }
}
