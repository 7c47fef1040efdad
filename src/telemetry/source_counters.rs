//! The requests of each source, by what verifying them found, and when a source was last seen.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::label;
use crate::domain::verdict::{Cause, Verdict};

/// What requests of every source can be, besides what verifying them found.
const OTHERS: [&str; 2] = ["handshake", "malformed"];

/// A request without a token that may submit. Only sources that verify nothing have such requests.
const UNAUTHORIZED: &str = "unauthorized";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByVerdict {
    source: Cow<'static, str>,
    verdict: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BySource {
    source: Cow<'static, str>,
}

/// The requests of each source.
#[derive(Debug, Default)]
pub(super) struct SourceCounters {
    requests: Family<ByVerdict, Counter>,
    last_seen: Family<BySource, Gauge>,
    /// The sources that have series, and whether they verify requests.
    known: Mutex<HashMap<String, bool>>,
}

impl SourceCounters {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "source_requests",
            "Requests of each source, by verdict (also handshake, malformed and unauthorized) and by why they are not verified",
            self.requests.clone(),
        );
        registry.register(
            "source_last_seen",
            "When the last request of a source came that was verified, or that nothing verifies, in seconds since 1970; 0 if none has come",
            self.last_seen.clone(),
        );
    }

    /// Counts a request. `verdict` is that of the request, one of [`OTHERS`], or [`UNAUTHORIZED`].
    pub(super) fn count(&self, source: &str, verdict: &'static str, cause: Option<Cause>) {
        self.requests.get_or_create(&by_verdict(source, verdict, cause)).inc();
    }

    pub(super) fn saw(&self, source: &str, at: Timestamp) {
        self.last_seen.get_or_create(&BySource { source: label(source) }).set(at.as_second());
    }

    /// Creates the series of these sources, each with whether it verifies requests, and removes those of all others.
    /// Returns the names of the sources that are gone.
    pub(super) fn set<'a>(&self, sources: impl IntoIterator<Item = (&'a str, bool)>) -> Vec<String> {
        let sources = sources.into_iter().map(|(source, verifies)| (source.to_owned(), verifies));
        let sources = sources.collect::<HashMap<_, _>>();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |source: &String, verifies: &bool| known.get(source) != Some(verifies);
        for (source, verifies) in sources.iter().filter(|(source, verifies)| is_new(source, verifies)) {
            self.last_seen.get_or_create(&BySource { source: label(source) }).inc_by(0);
            for (verdict, cause) in series(*verifies) {
                self.requests.get_or_create(&by_verdict(source, verdict, cause)).inc_by(0);
            }
        }
        let gone = known.keys().filter(|source| !sources.contains_key(*source)).cloned().collect::<Vec<_>>();
        gone.iter().for_each(|source| self.forget(source));
        *known = sources;
        gone
    }

    fn forget(&self, source: &str) {
        self.last_seen.remove(&BySource { source: label(source) });
        for (verdict, cause) in series(true).into_iter().chain(series(false)) {
            self.requests.remove(&by_verdict(source, verdict, cause));
        }
    }
}

/// The verdicts and causes that requests of a source can have.
fn series(verifies: bool) -> Vec<(&'static str, Option<Cause>)> {
    let others = OTHERS.map(|word| (word, None));
    if verifies {
        let causes = Cause::ALL.map(|cause| (Verdict::Unverified(cause).as_str(), Some(cause)));
        [&others[..], &[(Verdict::Verified.as_str(), None)], &causes].concat()
    } else {
        [&others[..], &[(UNAUTHORIZED, None), (Verdict::None.as_str(), None)]].concat()
    }
}

fn by_verdict(source: &str, verdict: &'static str, cause: Option<Cause>) -> ByVerdict {
    ByVerdict { source: label(source), verdict, cause: cause.map(Cause::as_str).unwrap_or_default() }
}
