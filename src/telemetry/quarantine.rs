//! Counts what becomes of webhooks that were not verified, by source.

use std::borrow::Cow;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::metrics::label;

/// What becomes of a webhook that was not verified.
const ACTIONS: [&str; 4] = ["stored", "released", "discarded", "refused_full"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Action {
    source: Cow<'static, str>,
    action: &'static str,
}

/// The webhooks that were not verified.
#[derive(Debug, Default)]
pub(super) struct Quarantine(Family<Action, Counter>);

impl Quarantine {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "quarantine",
            "Webhooks that were not verified, by source and action: stored, released, discarded, or refused because the quarantine of the source is full",
            self.0.clone(),
        );
    }

    /// Creates the counters of a source that do not exist yet.
    pub(super) fn add(&self, source: &str) {
        for action in ACTIONS {
            self.0.get_or_create(&Action { source: label(source), action }).inc_by(0);
        }
    }

    /// Removes the counters of a source that is gone from the settings.
    pub(super) fn forget(&self, source: &str) {
        for action in ACTIONS {
            self.0.remove(&Action { source: label(source), action });
        }
    }

    pub(super) fn count(&self, source: &str, action: &'static str) {
        self.0.get_or_create(&Action { source: label(source), action }).inc();
    }
}
