//! Which lines of the log about the requests of a source are due: of each subject at most one a minute.

use std::collections::BTreeMap;
use std::time::Duration;

/// The time between two lines of the log about the same subject.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// What a line of the log is about. Subjects do not suppress each other's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::service) enum Subject {
    /// Requests that are refused with this cause, or this reason if they have none.
    Refused(&'static str),
    /// Requests that are not verified, with this cause, and are in quarantine.
    Quarantined(&'static str),
    /// Requests that are refused because the quarantine has no room for them.
    QuarantineFull,
    /// Duplicates with another content than that of the webhook that has their key.
    OtherContent,
    /// Tokens that come by handshakes.
    HandshakeToken,
}

/// The last line about each subject. There are a few dozen subjects at most: causes and reasons are from fixed lists.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<Subject, Line>);

/// A line of the log that is not repeated at once.
#[derive(Clone, Copy, Debug)]
struct Line {
    logged: Duration,
    /// How many more of its subject there were since then.
    unlogged: u64,
}

impl Lines {
    /// Counts one more of a subject. Returns how many there were since the last line about it; none if no line is due.
    /// `now` is monotonic.
    pub(super) fn count(&mut self, subject: Subject, now: Duration) -> Option<u64> {
        let Some(line) = self.0.get_mut(&subject) else {
            self.0.insert(subject, Line { logged: now, unlogged: 0 });
            return Some(1);
        };
        line.unlogged += 1;
        if now.saturating_sub(line.logged) < LINE_EVERY {
            return None;
        }
        line.logged = now;
        Some(std::mem::take(&mut line.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_about_each_subject_is_due_once_a_minute() {
        let mut lines = Lines::default();
        let (missing, mismatch) = ("signature_missing", "signature_mismatch");
        for (seconds, subject, due) in [
            (5, Subject::Refused(missing), Some(1)),
            (6, Subject::Refused(missing), None),
            (7, Subject::Refused(mismatch), Some(1)),
            (8, Subject::Quarantined(missing), Some(1)),
            (9, Subject::QuarantineFull, Some(1)),
            (10, Subject::OtherContent, Some(1)),
            (11, Subject::OtherContent, None),
            (64, Subject::Refused(missing), None),
            (65, Subject::Refused(missing), Some(3)),
            (66, Subject::Refused(missing), None),
        ] {
            let counted = lines.count(subject, Duration::from_secs(seconds));
            assert_eq!(counted, due, "{subject:?} after {seconds} s");
        }
    }
}
