//! What came in from each source: counts, and the last requests that were refused. In memory, and bounded by the sources
//! of the settings. Of `default` and `hookbox`, which have no URL of their own, only when they were last seen.

mod lines;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use self::lines::Lines;
pub(super) use self::lines::Subject;
use super::alerts::{Failing, Verifications};
use super::receive::Arrived;
use crate::domain::secret::Secret;
use crate::domain::verdict::{Cause, Verdict};
use crate::domain::webhook::Source;
use crate::sources::SourceMap;

/// How many rejections of a source are kept.
pub const MAX_REJECTIONS: usize = 100;

/// How many tokens of handshakes of a source are kept.
pub const MAX_HANDSHAKE_TOKENS: usize = 8;

/// The longest text of a request that is kept of a rejection, in characters.
const MAX_TEXT_CHARS: usize = 255;

/// The numbers of requests of each source since the start of the process. The sources are those of the settings, `default`
/// and `hookbox`.
#[derive(Debug, Default)]
pub struct Activity {
    sources: RwLock<BTreeMap<Source, Arc<Mutex<OfSource>>>>,
}

/// What came in from a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceSeen {
    /// When the last request came that was verified, or that nothing verifies.
    pub last_seen: Option<Arrived>,
    /// Requests that were verified, or that nothing verifies, and whose webhooks could be read.
    pub verified: u64,
    /// Requests that were not verified, also those in quarantine.
    pub unverified: u64,
    /// Other requests whose webhooks could not be read.
    pub malformed: u64,
    /// Handshakes that were answered.
    pub handshakes: u64,
    /// Requests that nothing verifies, without a token that may submit.
    pub unauthorized: u64,
}

/// A request that was refused, without its headers and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// When it came.
    pub at: Timestamp,
    /// Why it is not verified; none if that is not the reason.
    pub cause: Option<Cause>,
    /// The reason that its sender was told, in UPPER_SNAKE_CASE.
    pub reason: &'static str,
    /// What was wrong, for people.
    pub detail: String,
    /// The address that it came from; none if that is not known.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: String,
    /// Its content type, cut off after 255 characters; none if it has none.
    pub content_type: Option<String>,
    /// The length of its body; 0 if the body was not read.
    pub body_bytes: usize,
    /// The trace of the request, as its sender was told.
    pub trace_id: String,
}

/// A token that came by a handshake, for operators to enter at the sender. Every client that knows the URL can send one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeToken {
    /// The token.
    pub token: Secret,
    /// When it came last.
    pub at: Timestamp,
    /// The address that it came from; none if that is not known.
    pub client: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct OfSource {
    seen: SourceSeen,
    /// The newest first.
    rejections: VecDeque<Rejection>,
    /// The newest first, each once.
    tokens: VecDeque<HandshakeToken>,
    lines: Lines,
    verifications: Verifications,
}

impl Activity {
    /// What came in from a source; nothing from one that is not known.
    pub fn seen(&self, source: &Source) -> SourceSeen {
        self.of(source).map(|of| lock(&of).seen).unwrap_or_default()
    }

    /// The last rejections of a source, the newest first: at most [`MAX_REJECTIONS`].
    pub fn rejections(&self, source: &Source) -> Vec<Rejection> {
        self.of(source).map(|of| lock(&of).rejections.iter().cloned().collect()).unwrap_or_default()
    }

    /// The last tokens that came by handshakes of a source, the newest first: at most [`MAX_HANDSHAKE_TOKENS`].
    pub fn handshake_tokens(&self, source: &Source) -> Vec<HandshakeToken> {
        self.of(source).map(|of| lock(&of).tokens.iter().cloned().collect()).unwrap_or_default()
    }

    /// Forgets all but these sources, `default` and `hookbox`, and begins with those that are new.
    pub(super) fn keep(&self, sources: &SourceMap) {
        let mut known = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        let built_in = [Source::default(), Source::own()];
        let names = sources.keys().chain(&built_in);
        let kept = names.map(|source| (source.clone(), known.remove(source).unwrap_or_default())).collect();
        *known = kept;
    }

    /// Changes what came in from a source.
    pub(super) fn note(&self, source: &Source, change: impl FnOnce(&mut SourceSeen)) {
        if let Some(of) = self.of(source) {
            change(&mut lock(&of).seen);
        }
    }

    /// Counts what verifying a request of a source found. Returns the numbers if an alert about them is due. `now` is
    /// monotonic.
    pub(super) fn count_verdict(&self, source: &Source, verdict: Verdict, now: Duration) -> Option<Failing> {
        let of = self.of(source)?;
        lock(&of).verifications.count(verdict.cause(), now)
    }

    /// Adds a rejection of a source. Returns how many of the same subject there were since the last line of the log about
    /// them, if another line is due. `now` is monotonic.
    pub(super) fn reject(
        &self,
        source: &Source,
        subject: Subject,
        rejection: Rejection,
        now: Duration,
    ) -> Option<u64> {
        let of = self.of(source)?;
        let mut of = lock(&of);
        of.rejections.truncate(MAX_REJECTIONS - 1);
        of.rejections.push_front(rejection);
        of.lines.count(subject, now)
    }

    /// Counts a request of a source that is in quarantine. Returns how many of the same cause there were since the last
    /// line of the log about them, if another line is due. `now` is monotonic.
    pub(super) fn quarantined(&self, source: &Source, cause: Cause, now: Duration) -> Option<u64> {
        let of = self.of(source)?;
        lock(&of).lines.count(Subject::Quarantined(cause.as_str()), now)
    }

    /// Counts a duplicate from a source whose content is not that of the webhook with its key. Returns how many there were
    /// since the last line of the log about them, if another line is due. `now` is monotonic.
    pub(super) fn conflicted(&self, source: &Source, now: Duration) -> Option<u64> {
        let of = self.of(source)?;
        lock(&of).lines.count(Subject::OtherContent, now)
    }

    /// Keeps a token that came by a handshake of a source. Returns how many came since the last line of the log about them,
    /// if another line is due. `now` is monotonic.
    pub(super) fn keep_token(&self, source: &Source, token: HandshakeToken, now: Duration) -> Option<u64> {
        let of = self.of(source)?;
        let mut of = lock(&of);
        of.tokens.retain(|known| known.token != token.token);
        of.tokens.truncate(MAX_HANDSHAKE_TOKENS - 1);
        of.tokens.push_front(token);
        of.lines.count(Subject::HandshakeToken, now)
    }

    fn of(&self, source: &Source) -> Option<Arc<Mutex<OfSource>>> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).get(source).cloned()
    }
}

/// A text of a request as it is kept: without what is too long.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

fn lock(of: &Mutex<OfSource>) -> MutexGuard<'_, OfSource> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Keys, Rules, Settings, SourceRules};

    fn source(name: &str) -> Source {
        Source::new(name).expect(name)
    }

    fn sources(names: &[&str]) -> SourceMap {
        let mut settings = Settings::default();
        settings.set("verify", toml::Value::from("none")).expect("a member");
        settings.set("key", toml::Value::from("body")).expect("a member");
        let rules = Rules::new(settings, Keys::default(), false).expect("rules");
        let of = |name: &&str| {
            let (name, rules) = (source(name), rules.clone());
            (name.clone(), Arc::new(SourceRules { name, preset: None, rules, public_url: None }))
        };
        names.iter().map(of).collect()
    }

    fn rejection(cause: Cause, body_bytes: usize) -> Rejection {
        Rejection {
            at: Timestamp::UNIX_EPOCH,
            cause: Some(cause),
            reason: "NOT_VERIFIED",
            detail: String::new(),
            client: None,
            method: "POST".to_owned(),
            content_type: None,
            body_bytes,
            trace_id: String::new(),
        }
    }

    #[test]
    fn the_last_rejections_of_a_source_are_kept_the_newest_first() {
        let activity = Activity::default();
        activity.keep(&sources(&["shop"]));
        for number in 0..MAX_REJECTIONS + 5 {
            let (subject, rejection) = (Subject::QuarantineFull, rejection(Cause::SignatureMissing, number));
            activity.reject(&source("shop"), subject, rejection, Duration::ZERO);
        }
        let kept = activity.rejections(&source("shop"));
        assert_eq!((kept.len(), kept[0].body_bytes, kept[99].body_bytes), (MAX_REJECTIONS, 104, 5));
        assert!(activity.rejections(&source("other")).is_empty());
    }

    #[test]
    fn the_last_tokens_of_handshakes_are_kept_each_once() {
        let activity = Activity::default();
        activity.keep(&sources(&["shop"]));
        let came = |text: &str, seconds: i64| {
            let at = Timestamp::from_second(seconds).expect("a time");
            let token = HandshakeToken { token: Secret::from(text.to_owned()), at, client: None };
            activity.keep_token(&source("shop"), token, Duration::from_secs(seconds.unsigned_abs()))
        };
        let lines = [came("a", 0), came("b", 1), came("a", 2)];
        assert_eq!(lines, [Some(1), None, None]);
        let kept = || {
            let kept = activity.handshake_tokens(&source("shop")).into_iter();
            kept.map(|kept| (kept.token.expose().to_owned(), kept.at.as_second())).collect::<Vec<_>>()
        };
        assert_eq!(kept(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        for number in 0..MAX_HANDSHAKE_TOKENS {
            came(&number.to_string(), 3);
        }
        let kept = kept();
        assert_eq!((kept.len(), kept[0].0.as_str(), kept[7].0.as_str()), (MAX_HANDSHAKE_TOKENS, "7", "0"));
    }

    #[test]
    fn sources_that_a_reload_keeps_keep_what_they_have_and_others_are_forgotten() {
        let activity = Activity::default();
        activity.keep(&sources(&["one", "two"]));
        for name in ["one", "two", "three", "default", "hookbox"] {
            activity.note(&source(name), |seen| seen.verified += 1);
        }
        activity.keep(&sources(&["two", "three"]));
        let verified =
            ["one", "two", "three", "default", "hookbox"].map(|name| activity.seen(&source(name)).verified);
        assert_eq!(verified, [0, 1, 0, 1, 1]);
    }
}
