//! Counts requests of sources by what they were, in the metrics and in the counts of each source.

use super::Arrived;
use crate::domain::error::Reason;
use crate::domain::verdict::{Cause, Verdict};
use crate::domain::webhook::Source;
use crate::service::Service;

/// How a request is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    /// It is verified, or nothing verifies it, and its webhooks can be read.
    Readable(Verdict),
    Unverified(Cause),
    /// Nothing verifies it, and its sender may not submit webhooks of the source, for this reason.
    Unauthorized(Reason),
    Malformed,
    Handshake,
}

impl Service {
    /// Notes that a source sends.
    pub(super) fn saw(&self, source: &Source, arrived: Arrived) {
        self.metrics.source_seen(source.as_str(), arrived.at);
        self.activity().note(source, |seen| seen.last_seen = Some(arrived));
    }

    pub(super) fn count_request(&self, source: &Source, counted: Counted) {
        let (verdict, cause) = match counted {
            Counted::Readable(verdict) => (verdict.as_str(), None),
            Counted::Unverified(cause) => (Verdict::Unverified(cause).as_str(), Some(cause)),
            Counted::Unauthorized(_) => ("unauthorized", None),
            Counted::Malformed => ("malformed", None),
            Counted::Handshake => ("handshake", None),
        };
        self.metrics.source_request(source.as_str(), verdict, cause);
        match counted {
            Counted::Unauthorized(reason) => self.count_refusal(source, reason.as_str()),
            Counted::Malformed => self.count_refusal(source, Reason::MalformedWebhook.as_str()),
            Counted::Readable(_) | Counted::Unverified(_) | Counted::Handshake => {}
        }
        self.activity().note(source, |seen| match counted {
            Counted::Readable(_) => seen.verified += 1,
            Counted::Unverified(_) => seen.unverified += 1,
            Counted::Unauthorized(_) => seen.unauthorized += 1,
            Counted::Malformed => seen.malformed += 1,
            Counted::Handshake => seen.handshakes += 1,
        });
    }
}
