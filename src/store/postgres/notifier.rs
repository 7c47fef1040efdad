//! Collects news for the other replicas until a notification is sent, and encodes it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::domain::job::QueueId;
use crate::domain::route::RouteName;

/// Maximum number of queues and routes that one notification names. If there are more, it names none, which
/// means all. PostgreSQL limits a notification to 8,000 bytes.
const NAMED_QUEUES: usize = 400;
const NAMED_ROUTES: usize = 40;

/// The news that is not sent yet.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    news: Mutex<News>,
    something: Notify,
}

/// The content of a notification.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Queues that have something due.
    pub(super) due: Option<Named<QueueId>>,
    /// Routes with `concurrency`, or whose breaker is not closed, of which jobs have ended.
    pub(super) freed: Option<Named<RouteName>>,
    /// Jobs have changed.
    pub(super) changed: bool,
    /// Something was paused or resumed.
    pub(super) paused: bool,
    /// A breaker was opened or closed.
    pub(super) breakers: bool,
    /// New webhooks were stored.
    pub(super) arrived: bool,
}

/// The named queues or routes, or all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<T> {
    Some(BTreeSet<T>),
    All,
}

impl Notifier {
    pub(super) fn tell_due(&self, queues: impl Iterator<Item = QueueId>) {
        self.tell(|news| add(&mut news.due, queues, NAMED_QUEUES));
    }

    pub(super) fn tell_freed(&self, routes: impl Iterator<Item = RouteName>) {
        self.tell(|news| add(&mut news.freed, routes, NAMED_ROUTES));
    }

    pub(super) fn tell_changed(&self) {
        self.tell(|news| news.changed = true);
    }

    pub(super) fn tell_paused(&self) {
        self.tell(|news| news.paused = true);
    }

    pub(super) fn tell_breakers(&self) {
        self.tell(|news| news.breakers = true);
    }

    pub(super) fn tell_arrived(&self) {
        self.tell(|news| news.arrived = true);
    }

    fn tell(&self, add: impl FnOnce(&mut News)) {
        add(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.something.notify_one();
    }

    /// Waits for news and takes them. May return empty news.
    pub(super) async fn next(&self) -> News {
        self.something.notified().await;
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn add<T: Ord>(named: &mut Option<Named<T>>, more: impl Iterator<Item = T>, most: usize) {
    let named = named.get_or_insert_with(|| Named::Some(BTreeSet::new()));
    if let Named::Some(names) = named {
        names.extend(more);
        if names.len() > most {
            *named = Named::All;
        }
    }
}

const DUE: &str = "due";
const FREED: &str = "freed";
const CHANGED: &str = "changed";
const PAUSED: &str = "paused";
const BREAKERS: &str = "breakers";
const ARRIVED: &str = "arrived";

impl News {
    /// The text of a notification: a line with the name of the sending process, then a line for each kind of
    /// news.
    pub(super) fn write(&self, process: &str) -> String {
        let mut lines = vec![process.to_owned()];
        let named = |word: &str, names: Vec<String>| [vec![word.to_owned()], names].concat().join(" ");
        match &self.due {
            Some(Named::Some(queues)) => {
                lines.push(named(DUE, queues.iter().map(|queue| queue.0.to_string()).collect()));
            }
            Some(Named::All) => lines.push(DUE.to_owned()),
            None => {}
        }
        match &self.freed {
            Some(Named::Some(routes)) => {
                lines.push(named(FREED, routes.iter().map(ToString::to_string).collect()));
            }
            Some(Named::All) => lines.push(FREED.to_owned()),
            None => {}
        }
        lines.extend(self.changed.then(|| CHANGED.to_owned()));
        lines.extend(self.paused.then(|| PAUSED.to_owned()));
        lines.extend(self.breakers.then(|| BREAKERS.to_owned()));
        lines.extend(self.arrived.then(|| ARRIVED.to_owned()));
        lines.join("\n")
    }

    /// Reads a notification. Returns `None` if `process` itself sent it. Skips unknown kinds of news.
    pub(super) fn read(text: &str, process: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() == Some(process) {
            return None;
        }
        let mut news = Self::default();
        for line in lines {
            let mut words = line.split(' ');
            match words.next() {
                Some(DUE) => news.due = Some(named(words, |word| word.parse().ok().map(QueueId))),
                Some(FREED) => news.freed = Some(named(words, |word| RouteName::new(word).ok())),
                Some(CHANGED) => news.changed = true,
                Some(PAUSED) => news.paused = true,
                Some(BREAKERS) => news.breakers = true,
                Some(ARRIVED) => news.arrived = true,
                _ => {}
            }
        }
        Some(news)
    }
}

fn named<'a, T: Ord>(words: impl Iterator<Item = &'a str>, read: impl Fn(&'a str) -> Option<T>) -> Named<T> {
    let names = words.filter_map(read).collect::<BTreeSet<_>>();
    if names.is_empty() { Named::All } else { Named::Some(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_read_as_they_were_written() {
        let notifier = Notifier::default();
        notifier.tell_due([3, 1, 3].map(QueueId).into_iter());
        notifier.tell_freed([RouteName::default()].into_iter());
        notifier.tell_changed();
        notifier.tell_breakers();
        notifier.tell_arrived();
        let news = std::mem::take(&mut *notifier.news.lock().expect("not poisoned"));
        let text = news.write("one");
        assert_eq!(text, "one\ndue 1 3\nfreed default\nchanged\nbreakers\narrived");
        assert_eq!(News::read(&text, "two"), Some(news));
        assert_eq!(News::read(&text, "one"), None);
    }

    #[test]
    fn too_many_queues_are_all() {
        let notifier = Notifier::default();
        notifier.tell_due((0..=NAMED_QUEUES).map(|number| QueueId(number as u32)));
        notifier.tell_paused();
        let news = std::mem::take(&mut *notifier.news.lock().expect("not poisoned"));
        assert_eq!(news.write("one"), "one\ndue\npaused");
        assert_eq!(News::read("one\ndue\npaused", "two"), Some(news));
    }
}
