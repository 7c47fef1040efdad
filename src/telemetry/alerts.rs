//! Alerts on their way to the task that makes webhooks of them. Every layer may raise one, and none knows the task that
//! takes them. They are only in memory.
//!
//! Alerts of one topic are counted, and only the last one is kept. So a storm of them needs little memory, and none is
//! left out of the count.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::repeated::Repeated;
use crate::domain::alert::{Alert, Topic};

/// The most topics of which alerts wait. Topics are routes and sources, so only settings that change all the time, or
/// very many faults at once, reach it.
const TOPICS: usize = 1_000;

static DROPPED: Repeated = Repeated::new("alerts are taken again");

/// The alerts that wait.
#[derive(Debug, Default)]
pub struct Alerts {
    are_wanted: AtomicBool,
    waiting: Mutex<HashMap<Topic, Waiting>>,
    raised: Notify,
}

/// The alerts of one topic that wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// The last one.
    pub alert: Alert,
    /// How many there are.
    pub count: u64,
}

impl Alerts {
    /// Sets whether alerts are wanted. While they are not, as at first, raising one does nothing.
    pub fn want(&self, are_wanted: bool) {
        self.are_wanted.store(are_wanted, Ordering::Relaxed);
        if !are_wanted {
            self.lock().clear();
        }
    }

    /// Whether alerts are wanted.
    pub fn are_wanted(&self) -> bool {
        self.are_wanted.load(Ordering::Relaxed)
    }

    /// Adds an alert, unless it is about alerts. Does not block.
    pub fn raise(&self, alert: impl FnOnce() -> Alert) {
        if !self.are_wanted() {
            return;
        }
        let alert = alert();
        if alert.is_about_alerts() {
            return;
        }
        let mut waiting = self.lock();
        let is_full = waiting.len() >= TOPICS;
        match waiting.entry(alert.topic()) {
            Entry::Occupied(mut entry) => {
                let count = entry.get().count + 1;
                entry.insert(Waiting { alert, count });
            }
            Entry::Vacant(entry) if !is_full => {
                entry.insert(Waiting { alert, count: 1 });
                DROPPED.works();
            }
            Entry::Vacant(entry) => {
                let Topic { event_type, subject } = entry.into_key();
                DROPPED.failed(|times| {
                    tracing::warn!(
                        times,
                        event_type,
                        subject,
                        "an alert is dropped, because those of {TOPICS} other topics wait"
                    );
                });
            }
        }
        drop(waiting);
        self.raised.notify_one();
    }

    /// Takes the alerts of every topic for which `is_due` returns true.
    pub fn take(&self, mut is_due: impl FnMut(&Topic) -> bool) -> Vec<Waiting> {
        self.lock().extract_if(|topic, _| is_due(topic)).map(|(_, waiting)| waiting).collect()
    }

    /// Puts back alerts that were taken. They are added to the count of newer alerts of their topic.
    pub fn put_back(&self, taken: Waiting) {
        match self.lock().entry(taken.alert.topic()) {
            Entry::Occupied(mut later) => later.get_mut().count += taken.count,
            Entry::Vacant(entry) => {
                entry.insert(taken);
            }
        }
    }

    /// Whether no alert waits.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Ready once an alert was raised. For one task.
    pub async fn raised(&self) {
        self.raised.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Topic, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::WebhookId;
    use crate::domain::route::RouteName;
    use crate::domain::webhook::Source;

    fn dead_letter(route: &str, source: &Source, attempts: u32) -> Alert {
        let route = RouteName::new(route).expect("valid");
        Alert::dead_lettered(&route, WebhookId::from_bytes([1; 16]), source, attempts, None)
    }

    /// Routes and counts of what is taken, by the order of the routes.
    fn taken(alerts: &Alerts) -> Vec<(String, u64)> {
        let mut taken = alerts.take(|_| true);
        taken.sort_by_key(|waiting| waiting.alert.topic().subject);
        taken.into_iter().map(|waiting| (waiting.alert.topic().subject, waiting.count)).collect()
    }

    #[test]
    fn alerts_of_one_topic_are_counted_and_the_last_one_is_kept() {
        let (alerts, source) = (Alerts::default(), Source::default());
        alerts.want(true);
        for attempts in 1..=3 {
            alerts.raise(|| dead_letter("orders", &source, attempts));
        }
        alerts.raise(|| dead_letter("invoices", &source, 1));
        let orders = alerts.take(|topic| topic.subject == "orders").remove(0);
        assert_eq!(orders, Waiting { alert: dead_letter("orders", &source, 3), count: 3 });

        alerts.raise(|| dead_letter("orders", &source, 4));
        alerts.put_back(orders);
        assert_eq!(taken(&alerts), [("invoices".to_owned(), 1), ("orders".to_owned(), 4)]);
        assert!(alerts.is_empty());
    }

    #[test]
    fn alerts_that_no_route_takes_or_that_are_about_alerts_are_not_kept() {
        let (alerts, source) = (Alerts::default(), Source::default());
        alerts.raise(|| unreachable!("not even made"));
        alerts.want(true);
        alerts.raise(|| dead_letter("alerts", &Source::own(), 1));
        assert!(alerts.is_empty());
        alerts.raise(|| dead_letter("orders", &source, 1));
        alerts.want(false);
        assert!(alerts.is_empty());
    }

    #[test]
    fn the_number_of_topics_is_limited() {
        let (alerts, source) = (Alerts::default(), Source::default());
        alerts.want(true);
        for number in 0..=TOPICS {
            alerts.raise(|| dead_letter(&format!("route-{number}"), &source, 1));
        }
        alerts.raise(|| dead_letter("route-0", &source, 2));
        assert_eq!(alerts.take(|_| true).iter().map(|waiting| waiting.count).sum::<u64>(), 1_001);
    }
}
