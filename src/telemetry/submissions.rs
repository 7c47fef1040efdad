//! Counts submitted webhooks by source and outcome, and measures the time to the response.

use std::borrow::Cow;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::{label, short_seconds};
use super::stopwatch::Stopwatch;
use crate::domain::error::Reason;
use crate::domain::webhook::Source;

/// The outcomes of webhooks that were not refused. A duplicate with another content is counted apart, because a source with
/// `keep_first` does not process it: too many of them show that its key does not tell its events apart.
const ACCEPTED: [&str; 3] = ["accepted", "duplicate", "duplicate_other_content"];

/// The reasons for which webhooks are refused.
const REFUSED: [Reason; 6] = [
    Reason::KeyReused,
    Reason::RateLimited,
    Reason::BacklogFull,
    Reason::StoreUnavailable,
    Reason::ShuttingDown,
    Reason::Internal,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Submission {
    source: Cow<'static, str>,
    outcome: &'static str,
}

/// The submitted webhooks.
#[derive(Debug)]
pub(super) struct Submissions {
    outcomes: Family<Submission, Counter>,
    seconds: Histogram,
}

impl Default for Submissions {
    /// Creates the counters of the source `default`, so that they begin at 0; see [`Metrics::add_route`].
    ///
    /// [`Metrics::add_route`]: super::metrics::Metrics::add_route
    fn default() -> Self {
        let submissions = Self { outcomes: Family::default(), seconds: short_seconds() };
        submissions.add(Source::default().as_str());
        submissions
    }
}

impl Submissions {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "submissions",
            "Webhooks submitted that could be read, by source and outcome",
            self.outcomes.clone(),
        );
        registry.register_with_unit(
            "submit_duration",
            "Time from a webhook that has been read to its response",
            Unit::Seconds,
            self.seconds.clone(),
        );
    }

    /// Creates the counters of a source of the settings, as [`default`](Self::default) does.
    pub(super) fn add(&self, source: &str) {
        for outcome in outcomes() {
            self.outcomes.get_or_create(&Submission { source: label(source), outcome }).inc_by(0);
        }
    }

    /// Removes the counters of a source that is gone from the settings.
    pub(super) fn forget(&self, source: &str) {
        for outcome in outcomes() {
            self.outcomes.remove(&Submission { source: label(source), outcome });
        }
    }

    pub(super) fn count(&self, source: &str, outcome: &'static str, took: Stopwatch) {
        self.outcomes.get_or_create(&Submission { source: label(source), outcome }).inc();
        self.seconds.observe(took.seconds());
    }
}

/// The outcomes of webhooks of every source.
fn outcomes() -> impl Iterator<Item = &'static str> {
    ACCEPTED.into_iter().chain(REFUSED.into_iter().map(Reason::as_str))
}
