//! What happened in this process in the last 60 minutes, for the charts of the page. Only in memory.
//!
//! What happens is counted in [`History`] at once. A task calls [`History::sample`] every [`INTERVAL`], which makes a
//! point of the counts and begins anew.

mod names;
mod timings;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

pub use self::names::{RouteTotals, SourceTotals};
use self::names::{Routes, Sources};
pub use self::timings::Spread;
use self::timings::Timings;

/// The time between two points.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// How many points are kept: those of 60 minutes.
pub const POINTS: usize = 240;

/// What happened between two samples.
#[derive(Clone, Debug)]
pub struct Point {
    /// When the point was made.
    pub at: Timestamp,
    /// The time since the point before.
    pub over: Duration,
    /// New webhooks that were accepted.
    pub accepted: u64,
    /// Webhooks that were refused, but for what verifying them found. A request that could not be read counts as one.
    pub refused: u64,
    /// Requests that were not verified.
    pub unverified: u64,
    /// Jobs that were completed.
    pub completed: u64,
    /// Jobs that became dead letters.
    pub dead_lettered: u64,
    /// Unfinished jobs at that time; none if the store could not be read.
    pub backlog: Option<u64>,
    /// How long submissions took to be answered.
    pub accepting: Spread,
    /// How long jobs were due before they were claimed.
    pub waiting: Spread,
    /// How long attempts took.
    pub handling: Spread,
}

/// What is looked up for a point.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// Unfinished jobs; none if the store could not be read.
    pub backlog: Option<u64>,
    /// By source, the requests since the start that were not verified.
    pub unverified: Vec<(String, u64)>,
}

/// Counts what happens, and keeps the points.
#[derive(Debug, Default)]
pub struct History {
    /// Grows with everything that is counted.
    events: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    completed: AtomicU64,
    dead_lettered: AtomicU64,
    accepting: Timings,
    waiting: Timings,
    handling: Timings,
    routes: Routes,
    sources: Sources,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    points: VecDeque<Point>,
    /// How many were made since the start.
    made: u64,
    /// The monotonic time of the last point.
    last: Option<Duration>,
}

impl History {
    /// Counts a submission. `outcome` is as in [`Metrics::submitted`](super::metrics::Metrics::submitted).
    pub(super) fn submitted(&self, source: &str, outcome: &'static str, took: Duration) {
        self.accepting.add(took);
        match outcome {
            "accepted" => {
                self.count();
                self.accepted.fetch_add(1, Ordering::Relaxed);
                self.sources.accepted(source);
            }
            // It is neither new nor refused.
            "duplicate" | "duplicate_other_content" => self.count(),
            reason => self.refused(source, reason),
        }
    }

    /// Counts a webhook, or a request that could not be read, that is refused for this reason.
    pub(super) fn refused(&self, source: &str, reason: &'static str) {
        self.count();
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.sources.refused(source, reason);
    }

    /// Counts a job that was claimed. `waited` is the time from when the job was due.
    pub(super) fn waited(&self, waited: Duration) {
        self.count();
        self.waiting.add(waited);
    }

    /// Counts an attempt that has ended.
    pub(super) fn attempted(&self, route: &str, is_completed: bool, took: Duration) {
        self.count();
        self.handling.add(took);
        self.routes.attempted(route, is_completed, took);
    }

    /// Counts an attempt that a take-over ended. How long it took is not known.
    pub(super) fn interrupted(&self, route: &str) {
        self.count();
        self.routes.interrupted(route);
    }

    /// Counts a job that was completed.
    pub(super) fn completed(&self) {
        self.count();
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a job that became a dead letter.
    pub(super) fn dead_lettered(&self, route: &str) {
        self.count();
        self.dead_lettered.fetch_add(1, Ordering::Relaxed);
        self.routes.dead_lettered(route);
    }

    /// Makes a point of what was counted since the last one. `now` is monotonic, `at` the time of day.
    pub fn sample(&self, now: Duration, at: Timestamp, looked: &Looked) {
        let mut kept = self.lock();
        let unverified = self.sources.sample(&looked.unverified);
        self.routes.sample();
        let over = now.saturating_sub(kept.last.replace(now).unwrap_or(now.saturating_sub(INTERVAL)));
        if kept.points.len() >= POINTS {
            kept.points.pop_front();
        }
        kept.points.push_back(Point {
            at,
            over,
            accepted: self.accepted.swap(0, Ordering::Relaxed),
            refused: self.refused.swap(0, Ordering::Relaxed),
            unverified,
            completed: self.completed.swap(0, Ordering::Relaxed),
            dead_lettered: self.dead_lettered.swap(0, Ordering::Relaxed),
            backlog: looked.backlog,
            accepting: self.accepting.take(),
            waiting: self.waiting.take(),
            handling: self.handling.take(),
        });
        kept.made += 1;
    }

    /// The points, the oldest first: at most [`POINTS`].
    pub fn points(&self) -> Vec<Point> {
        self.lock().points.iter().cloned().collect()
    }

    /// What the routes did, by name. Routes without an attempt in the last 60 minutes are left out.
    pub fn routes(&self) -> Vec<RouteTotals> {
        self.routes.totals()
    }

    /// What came from the sources, by name. Sources from which nothing came in the last 60 minutes are left out.
    pub fn sources(&self) -> Vec<SourceTotals> {
        self.sources.totals()
    }

    /// A number that grows with everything that happens, and with each point.
    pub fn moment(&self) -> u64 {
        self.events.load(Ordering::Relaxed) + self.made()
    }

    /// How many points were made since the start.
    pub fn made(&self) -> u64 {
        self.lock().made
    }

    fn count(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(2);

    fn sample(history: &History, seconds: u64, unverified: u64) {
        let unverified = vec![("shop".to_owned(), unverified)];
        let at = Timestamp::from_second(seconds as i64).expect("in range");
        history.sample(Duration::from_secs(seconds), at, &Looked { backlog: Some(seconds), unverified });
    }

    #[test]
    fn a_point_has_what_happened_since_the_one_before() {
        let history = History::default();
        history.submitted("shop", "accepted", SHORT);
        history.submitted("shop", "duplicate", SHORT);
        history.submitted("shop", "duplicate_other_content", SHORT);
        history.submitted("default", "RATE_LIMITED", SHORT);
        history.refused("shop", "MALFORMED_WEBHOOK");
        history.waited(SHORT);
        history.attempted("orders", false, SHORT);
        history.dead_lettered("orders");
        sample(&history, 15, 3);
        history.completed();
        sample(&history, 45, 5);
        let points = history.points();
        let numbers = |point: &Point| {
            let Point { accepted, refused, unverified, completed, dead_lettered, .. } = *point;
            ([accepted, refused, unverified, completed, dead_lettered], point.backlog)
        };
        let numbers = points.iter().map(numbers).collect::<Vec<_>>();
        assert_eq!(numbers, [([1, 2, 3, 0, 1], Some(15)), ([0, 0, 2, 1, 0], Some(45))]);
        let counts = points.iter().map(|point| {
            let counts = [&point.accepting, &point.waiting, &point.handling].map(Spread::count);
            (counts, point.over.as_secs())
        });
        assert_eq!(counts.collect::<Vec<_>>(), [([4, 1, 1], 15), ([0, 0, 0], 30)]);

        let routes = history.routes();
        let totals =
            routes.iter().map(|of| (of.route.as_str(), of.handling.count(), of.failed, of.dead_lettered));
        assert_eq!(totals.collect::<Vec<_>>(), [("orders", 1, 1, 1)]);
        let sources = history.sources();
        let totals = sources.iter().map(|of| (of.source.as_str(), of.accepted, of.refused, of.unverified));
        assert_eq!(totals.collect::<Vec<_>>(), [("default", 0, 1, 0), ("shop", 1, 1, 5)]);
        let reasons = sources.iter().map(|of| (of.refused_by_point.as_slice(), of.last_refusal));
        let (limited, malformed) = (Some("RATE_LIMITED"), Some("MALFORMED_WEBHOOK"));
        assert_eq!(reasons.collect::<Vec<_>>(), [(&[1, 0][..], limited), (&[1, 0][..], malformed)]);
    }

    #[test]
    fn an_attempt_that_a_take_over_ended_has_failed_and_no_time() {
        let history = History::default();
        history.interrupted("orders");
        sample(&history, 15, 0);
        let routes = history.routes();
        let totals = routes.iter().map(|of| (of.route.as_str(), of.handling.count(), of.ended(), of.failed));
        assert_eq!(totals.collect::<Vec<_>>(), [("orders", 0, 1, 1)]);
    }

    #[test]
    fn points_and_names_are_those_of_60_minutes() {
        let history = History::default();
        history.attempted("orders", true, SHORT);
        history.submitted("shop", "accepted", SHORT);
        for number in 1..=POINTS as u64 {
            sample(&history, number * 15, 0);
        }
        assert_eq!((history.points().len(), history.routes().len(), history.sources().len()), (POINTS, 1, 1));
        sample(&history, 3_615, 0);
        assert_eq!((history.points().len(), history.made()), (POINTS, 241));
        assert!(history.routes().is_empty() && history.sources().is_empty());
        history.attempted("orders", true, SHORT);
        sample(&history, 3_630, 0);
        assert_eq!(history.routes()[0].handling.count(), 1, "a route that was forgotten is counted again");
    }

    #[test]
    fn the_number_of_names_is_limited() {
        let history = History::default();
        for number in 0..1_000 {
            history.attempted(&format!("route-{number}"), true, SHORT);
            history.submitted(&format!("source-{number}"), "accepted", SHORT);
        }
        sample(&history, 15, 0);
        assert_eq!((history.routes().len(), history.sources().len()), (names::MAX_NAMES, names::MAX_NAMES));
        assert_eq!(history.points()[0].accepted, 1_000, "all of them count in the sums");
    }
}
