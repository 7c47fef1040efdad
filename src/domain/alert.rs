//! Alerts: what hookbox tells operators about itself, as webhooks of the source [`Source::OWN`].
//!
//! `docs/ALERTS.md` and the schemas in `http/alerts.rs` describe the payloads.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::id::WebhookId;
use super::route::RouteName;
use super::verdict::Cause;
use super::webhook::Source;

/// How many characters of an error the member `text` of a payload has. The member `error` has all of it.
const TEXT_ERROR_CHARS: usize = 200;

/// Something that happened in hookbox. A webhook is made of it if a route takes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Alert {
    /// A job became a dead letter.
    DeadLettered {
        /// The route of the job.
        route: RouteName,
        /// The webhook of the job.
        webhook: WebhookId,
        /// The source of the webhook.
        source: Source,
        /// How many attempts of the job have started, over all runs.
        attempts: u32,
        /// Why the last attempt failed or was interrupted.
        error: Option<String>,
    },
    /// The breaker of a route opened: nothing is sent to its target for a while.
    BreakerOpened {
        /// The route.
        route: RouteName,
        /// The source of the webhook whose attempt opened it.
        source: Source,
        /// How many attempts had failed when it opened.
        failures: u32,
        /// Why the last of them failed.
        error: String,
        /// Until when nothing is sent.
        until: Timestamp,
    },
    /// The unfinished jobs have reached the share `backlog_alert` of `max_backlog`.
    BacklogHigh {
        /// How many jobs are unfinished.
        backlog: u64,
        /// How many may be.
        max_backlog: u64,
        /// For how long the oldest waiting job has been due; jobs that are paused or held do not count.
        oldest_due_seconds: f64,
    },
    /// Nothing has come from a source for a time that its settings name.
    SourceSilent {
        /// The source.
        source: Source,
        /// When it was last seen; none if nothing is known to have come from it.
        last_seen: Option<Timestamp>,
        /// For how long nothing has come; without `last_seen`, for how long hookbox has waited.
        silent_for: Duration,
        /// The time that its settings name.
        silent_after: Duration,
    },
    /// Most requests of a source are not verified.
    VerificationFailing {
        /// The source.
        source: Source,
        /// The most frequent cause.
        cause: Cause,
        /// How many requests were not verified within `window`.
        unverified: u64,
        /// How many requests there were within `window`.
        requests: u64,
        /// The time over which requests are counted.
        window: Duration,
    },
}

/// What an alert is about. Of each topic, at most one webhook is made in a minute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The event type of the webhook.
    pub event_type: &'static str,
    /// The name of the route or the source; empty if the alert is about all of hookbox.
    pub subject: String,
}

impl Topic {
    /// The idempotency key of the webhook of a minute, which is given by its beginning. It is the same in all
    /// replicas, so that only one of them stores a webhook.
    pub fn key(&self, minute: Timestamp) -> String {
        format!("{}/{}/{minute}", self.event_type, self.subject)
    }
}

impl Alert {
    /// A job became a dead letter after `attempts` attempts.
    pub fn dead_lettered(
        route: &RouteName,
        webhook: WebhookId,
        source: &Source,
        attempts: u32,
        error: Option<&str>,
    ) -> Self {
        let (route, source, error) = (route.clone(), source.clone(), error.map(ToOwned::to_owned));
        Self::DeadLettered { route, webhook, source, attempts, error }
    }

    /// The breaker of a route opened after `failures` failed attempts, the last of them for a webhook of `source`. Nothing
    /// is sent until `until`.
    pub fn breaker_opened(
        route: &RouteName,
        source: &Source,
        failures: u32,
        error: impl Into<String>,
        until: Timestamp,
    ) -> Self {
        let (route, source) = (route.clone(), source.clone());
        Self::BreakerOpened { route, source, failures, error: error.into(), until }
    }

    /// What it is about.
    pub fn topic(&self) -> Topic {
        let (event_type, subject) = match self {
            Self::DeadLettered { route, .. } => ("hookbox.dead_lettered", route.as_str()),
            Self::BreakerOpened { route, .. } => ("hookbox.breaker_opened", route.as_str()),
            Self::BacklogHigh { .. } => ("hookbox.backlog_high", ""),
            Self::SourceSilent { source, .. } => ("hookbox.source_silent", source.as_str()),
            Self::VerificationFailing { source, .. } => ("hookbox.verification_failing", source.as_str()),
        };
        Topic { event_type, subject: subject.to_owned() }
    }

    /// Whether it is about the delivery of an alert. No alert is made about that: an alert that cannot be delivered would
    /// make others without end, also if two routes tell of each other.
    pub fn is_about_alerts(&self) -> bool {
        matches!(self, Self::DeadLettered { source, .. } | Self::BreakerOpened { source, .. } if source.is_own())
    }

    /// The route that does not get the alert even if it matches, because it could not deliver it.
    pub fn undeliverable_by(&self) -> Option<&RouteName> {
        match self {
            Self::BreakerOpened { route, .. } => Some(route),
            Self::DeadLettered { .. }
            | Self::BacklogHigh { .. }
            | Self::SourceSilent { .. }
            | Self::VerificationFailing { .. } => None,
        }
    }

    /// Whether every replica raises it for the same event. If not, replicas raise it for different events.
    pub fn is_raised_by_all(&self) -> bool {
        matches!(self, Self::BacklogHigh { .. } | Self::SourceSilent { .. })
    }

    /// The payload of the webhook that is made of it. `count` is the number of alerts of the topic since the last
    /// webhook, with this one, which is the last of them. `at` is the time of the webhook.
    pub fn payload(&self, count: u64, at: Timestamp) -> Value {
        let (at, text) = (time(at), self.text(count));
        match self {
            Self::DeadLettered { route, webhook, source, attempts, error } => json!({
                "at": at,
                "count": count,
                "text": text,
                "route": route.as_str(),
                "webhook_id": webhook.to_string(),
                "source": source.as_str(),
                "attempts": attempts,
                "error": error,
            }),
            Self::BreakerOpened { route, failures, error, until, .. } => json!({
                "at": at,
                "count": count,
                "text": text,
                "route": route.as_str(),
                "failures": failures,
                "error": error,
                "until": time(*until),
            }),
            Self::BacklogHigh { backlog, max_backlog, oldest_due_seconds } => json!({
                "at": at,
                "count": count,
                "text": text,
                "backlog": backlog,
                "max_backlog": max_backlog,
                "oldest_due_seconds": oldest_due_seconds,
            }),
            Self::SourceSilent { source, last_seen, silent_for, silent_after } => json!({
                "at": at,
                "count": count,
                "text": text,
                "source": source.as_str(),
                "last_seen": last_seen.map(time),
                "silent_seconds": silent_for.as_secs(),
                "silent_after_seconds": silent_after.as_secs(),
            }),
            Self::VerificationFailing { source, cause, unverified, requests, window } => json!({
                "at": at,
                "count": count,
                "text": text,
                "source": source.as_str(),
                "cause": cause.as_str(),
                "unverified": unverified,
                "requests": requests,
                "window_seconds": window.as_secs(),
            }),
        }
    }

    /// A sentence for people.
    fn text(&self, count: u64) -> String {
        match self {
            Self::DeadLettered { route, webhook, source, attempts, error } => {
                let what = match count {
                    1 => format!("A job of the route {route} became a dead letter"),
                    _ => format!("{count} jobs of the route {route} became dead letters; the last one"),
                };
                let error = cut(error.as_deref().unwrap_or("unknown"));
                format!("{what}: webhook {webhook} from {source}, attempts: {attempts}, error: {error}")
            }
            Self::BreakerOpened { route, failures, error, until, .. } => format!(
                "The breaker of the route {route} opened; nothing is sent until {}. Failed attempts: {failures}, \
                 error: {}",
                time(*until),
                cut(error)
            ),
            Self::BacklogHigh { backlog, max_backlog, .. } => format!(
                "{backlog} jobs are unfinished; at {max_backlog} hookbox refuses further webhooks (max_backlog)"
            ),
            Self::SourceSilent { source, last_seen, silent_after, .. } => format!(
                "Nothing has come from the source {source} since {}; it counts as silent after {}",
                last_seen.map_or_else(|| "hookbox started".to_owned(), time),
                humantime::format_duration(*silent_after)
            ),
            Self::VerificationFailing { source, cause, unverified, requests, window } => format!(
                "{unverified} of {requests} requests of the source {source} in the last {} are not verified; the \
                 most frequent cause is {}",
                humantime::format_duration(*window),
                cause.as_str()
            ),
        }
    }
}

/// A time as RFC 3339 writes it, in UTC with milliseconds.
fn time(time: Timestamp) -> String {
    format!("{time:.3}")
}

fn cut(error: &str) -> &str {
    error.char_indices().nth(TEXT_ERROR_CHARS).map_or(error, |(end, _)| &error[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_lettered(source: &str) -> Alert {
        let (route, source) = (RouteName::new("orders"), Source::new(source));
        let (route, source) = (route.expect("valid"), source.expect("valid"));
        Alert::dead_lettered(&route, WebhookId::from_bytes([1; 16]), &source, 3, Some("closed"))
    }

    #[test]
    fn the_key_names_event_type_subject_and_minute() {
        let key = dead_lettered("default").topic().key(Timestamp::UNIX_EPOCH);
        assert_eq!(key, "hookbox.dead_lettered/orders/1970-01-01T00:00:00Z");
        let alert = Alert::BacklogHigh { backlog: 8, max_backlog: 10, oldest_due_seconds: 0.0 };
        assert_eq!(alert.topic().key(Timestamp::UNIX_EPOCH), "hookbox.backlog_high//1970-01-01T00:00:00Z");
    }

    #[test]
    fn an_event_is_about_alerts_only_if_its_webhook_is_an_alert() {
        assert!(dead_lettered(Source::OWN).is_about_alerts());
        assert!(!dead_lettered("default").is_about_alerts());
        let opened = |source: Source| {
            Alert::breaker_opened(&RouteName::default(), &source, 5, "closed", Timestamp::UNIX_EPOCH)
        };
        assert!(opened(Source::own()).is_about_alerts());
        assert!(!opened(Source::default()).is_about_alerts());
    }

    #[test]
    fn the_text_says_how_many_jobs_are_dead_letters_and_cuts_a_long_error() {
        let text = |alert: &Alert, count| {
            let payload = alert.payload(count, Timestamp::UNIX_EPOCH);
            payload["text"].as_str().map(ToOwned::to_owned).expect("a text")
        };
        let id = WebhookId::from_bytes([1; 16]);
        assert_eq!(
            text(&dead_lettered("default"), 1),
            format!(
                "A job of the route orders became a dead letter: webhook {id} from default, attempts: 3, error: \
                 closed"
            )
        );
        assert_eq!(
            text(&dead_lettered("default"), 49),
            format!(
                "49 jobs of the route orders became dead letters; the last one: webhook {id} from default, \
                 attempts: 3, error: closed"
            )
        );
        let (route, error) = (RouteName::default(), "é".repeat(300));
        let source = Source::default();
        let opened = Alert::breaker_opened(&route, &source, 5, error.as_str(), Timestamp::UNIX_EPOCH);
        assert!(text(&opened, 1).ends_with(&format!(": {}", "é".repeat(200))));
        assert_eq!(opened.payload(1, Timestamp::UNIX_EPOCH)["error"], error);
        assert_eq!(opened.payload(1, Timestamp::UNIX_EPOCH)["until"], "1970-01-01T00:00:00.000Z");
    }
}
