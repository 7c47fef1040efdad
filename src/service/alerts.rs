//! Makes webhooks of the source `hookbox` out of alerts, if a route takes them.
//!
//! Of each topic, at most one webhook is made for each minute of the time of day, over all replicas: the minute is in
//! its idempotency key. Alerts that come after it are counted, and the webhook of the next minute has their number. While
//! the time of day is set back, the minutes in the keys go on: those that come again may have webhooks of this process.

mod backlog;
mod silence;
mod verification;

use std::collections::HashSet;
use std::future::pending;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::backlog::BacklogLevels;
pub(super) use self::silence::Silences;
pub use self::silence::SilentSource;
pub(super) use self::verification::{Failing, Verifications};
use super::{Service, jobs_of};
use crate::domain::alert::Alert;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::headers::KeptHeaders;
use crate::domain::payload::Payload;
use crate::domain::verdict::Verdict;
use crate::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use crate::store::Accepted;
use crate::telemetry::alerts::Waiting;
use crate::telemetry::metrics::Stopwatch;
use crate::telemetry::tasks::restarted;
use crate::telemetry::trace;

/// How often storing an alert is tried while the store cannot take it. After that it is dropped.
const TRIES: u32 = 12;

/// The pause between two tries.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// Of each topic, one webhook is made in this time.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// The running tasks that raise alerts of the backlog and of silent sources, and make webhooks of all alerts.
#[derive(Debug)]
pub struct Alerter {
    stop: CancellationToken,
    making: JoinHandle<()>,
    looking: [JoinHandle<()>; 2],
}

impl Alerter {
    /// Starts the tasks.
    pub fn start(service: Service, levels: BacklogLevels) -> Self {
        let stop = CancellationToken::new();
        let (of_alerts, of_backlog, stopped) = (service.clone(), service.clone(), stop.clone());
        let making = restarted("alerts", move || make(of_alerts.clone(), stopped.clone()));
        let backlog = restarted("backlog", move || backlog::watch(of_backlog.clone(), levels));
        let silence = restarted("silence", move || silence::watch(service.clone()));
        Self { stop, making: tokio::spawn(making), looking: [tokio::spawn(backlog), tokio::spawn(silence)] }
    }

    /// Makes the webhooks that are due a last time, and stops. For use before the store is closed.
    pub async fn stop(self) {
        self.looking.iter().for_each(JoinHandle::abort);
        self.stop.cancel();
        let _ = self.making.await;
    }
}

/// Makes webhooks until `stopped` is cancelled.
async fn make(service: Service, stopped: CancellationToken) {
    let alerts = service.metrics.alerts();
    // The topics of which a webhook was made in this minute.
    let (mut minute, mut told) = (Timestamp::MIN, HashSet::new());
    // The minute in the keys: this one, or a later one if the time of day was set back.
    let mut of_keys = Timestamp::MIN;
    loop {
        let is_last = stopped.is_cancelled();
        let now = minute_of(service.clock.now());
        if now != minute {
            let unused = if told.is_empty() { of_keys } else { minute_after(of_keys) };
            (minute, of_keys) = (now, now.max(unused));
            told.clear();
        }
        for waiting in alerts.take(|topic| !told.contains(topic)) {
            told.insert(waiting.alert.topic());
            if let Some(left) = store(&service, waiting, of_keys, &stopped).await {
                alerts.put_back(left);
            }
        }
        if is_last {
            let lost = alerts.take(|_| true).iter().map(|waiting| waiting.count).sum::<u64>();
            if lost > 0 {
                tracing::warn!(alerts = lost, "alerts that waited for the next minute are lost at the stop");
            }
            return;
        }
        let next_minute = async {
            if alerts.is_empty() {
                return pending().await;
            }
            // If the time of day is set back meanwhile, the minute is over all the same.
            tokio::select! {
                () = service.clock.sleep_until(minute_after(minute)) => {}
                () = service.clock.sleep(MINUTE.unsigned_abs()) => {}
            }
        };
        tokio::select! {
            () = stopped.cancelled() => {}
            () = alerts.raised() => {}
            () = next_minute => {}
        }
    }
}

/// Makes a webhook of alerts, if a route takes them. Returns the alerts if they wait for the next minute, because
/// another replica has made the webhook of this one.
async fn store(
    service: &Service,
    waiting: Waiting,
    minute: Timestamp,
    stopped: &CancellationToken,
) -> Option<Waiting> {
    let (topic, count) = (waiting.alert.topic(), waiting.count);
    let (event_type, subject) = (topic.event_type, topic.subject.as_str());
    let accepted = match webhook(service, &waiting, minute) {
        Ok(webhook) => accept(service, webhook, &waiting.alert, stopped).await,
        Err(error) => Err(error),
    };
    match accepted {
        Ok(None) => None,
        Ok(Some(Accepted { webhook, .. })) => {
            tracing::info!(webhook_id = %webhook.id, event_type, subject, count, "an alert is stored");
            None
        }
        Err(error) if error.reason() == Reason::KeyReused => {
            (!waiting.alert.is_raised_by_all()).then_some(waiting)
        }
        Err(error) => {
            tracing::warn!(event_type, subject, count, error = %error, "alerts could not be stored and are lost");
            None
        }
    }
}

fn webhook(service: &Service, waiting: &Waiting, minute: Timestamp) -> Result<NewWebhook> {
    let Waiting { alert, count } = waiting;
    let topic = alert.topic();
    let span = tracing::info_span!(
        "alert",
        otel.kind = "producer",
        hookbox.event_type = topic.event_type,
        hookbox.subject = topic.subject.as_str(),
    );
    Ok(NewWebhook {
        source: Source::own(),
        idempotency_key: IdempotencyKey::new(topic.key(minute))?,
        event_type: EventType::new(topic.event_type)?,
        payload: Payload::new(alert.payload(*count, service.clock.now()).to_string())?,
        headers: KeptHeaders::default(),
        verdict: Verdict::None,
        traceparent: trace::join(&span, None),
    })
}

/// Stores a webhook with a job for each route that takes it; none if no route does. While the store cannot take it,
/// tries again for about a minute.
async fn accept(
    service: &Service,
    webhook: NewWebhook,
    alert: &Alert,
    stopped: &CancellationToken,
) -> Result<Option<Accepted>> {
    let mut jobs = jobs_of(&service.settings.routes(), &webhook, &|| Vec::new());
    jobs.retain(|job| alert.undeliverable_by() != Some(&job.route));
    if jobs.is_empty() {
        return Ok(None);
    }
    service.activity().note(&webhook.source, |seen| seen.last_seen = Some(service.arrived()));
    let mut tries = 0;
    loop {
        let took = Stopwatch::start();
        let outcome = service.store.accept(webhook.clone(), jobs.clone()).await;
        service.count(&webhook.source, &outcome, took);
        tries += 1;
        match outcome {
            Err(error) if is_temporary(&error) && tries < TRIES && !stopped.is_cancelled() => {
                stopped.run_until_cancelled(service.clock.sleep(TRY_EVERY)).await;
            }
            outcome => return outcome.map(Some),
        }
    }
}

fn is_temporary(error: &Error) -> bool {
    matches!(error.reason(), Reason::StoreUnavailable | Reason::BacklogFull)
}

/// The beginning of the minute of a time of day.
fn minute_of(now: Timestamp) -> Timestamp {
    let second = now.as_second();
    Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(now)
}

fn minute_after(minute: Timestamp) -> Timestamp {
    minute.saturating_add(MINUTE).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_begins_with_its_first_second() {
        for (now, minute) in [
            ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
            ("2026-03-01T12:00:59.999Z", "2026-03-01T12:00:00Z"),
            ("1969-12-31T23:59:01.5Z", "1969-12-31T23:59:00Z"),
        ] {
            let time = |text: &str| text.parse::<Timestamp>().expect("a time");
            assert_eq!(minute_of(time(now)), time(minute), "{now}");
        }
    }
}
