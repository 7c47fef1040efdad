//! What happened by route and by source. The names are those of the settings, and limited besides.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::POINTS;
use super::timings::{Spread, Timings};

/// The most routes, and the most sources. Others count in the sums only.
pub(super) const MAX_NAMES: usize = 100;

/// What a route did in the last 60 minutes.
#[derive(Clone, Debug)]
pub struct RouteTotals {
    /// The name of the route.
    pub route: String,
    /// How long its attempts took, without those that a take-over ended.
    pub handling: Spread,
    /// Attempts that a take-over ended.
    pub interrupted: u64,
    /// Attempts that did not complete their job, with those that a take-over ended.
    pub failed: u64,
    /// Jobs that became dead letters.
    pub dead_lettered: u64,
    /// The attempts of each point whose handlers returned, the oldest first. Points before the first attempt are left out.
    pub attempts: Vec<u64>,
}

impl RouteTotals {
    /// How many attempts ended, however they did.
    pub fn ended(&self) -> u64 {
        self.handling.count() + self.interrupted
    }
}

/// What came from a source in the last 60 minutes.
#[derive(Clone, Debug)]
pub struct SourceTotals {
    /// The name of the source.
    pub source: String,
    /// New webhooks that were accepted.
    pub accepted: u64,
    /// Webhooks that were refused, and requests that could not be read.
    pub refused: u64,
    /// The reason of the last one of these.
    pub last_refusal: Option<&'static str>,
    /// Requests that were not verified.
    pub unverified: u64,
    /// The accepted webhooks of each point, the oldest first. Points before the first one are left out.
    pub accepted_by_point: Vec<u64>,
    /// The refused webhooks of each point.
    pub refused_by_point: Vec<u64>,
    /// The requests of each point that were not verified.
    pub unverified_by_point: Vec<u64>,
}

/// Counts that are made anew for each point, and the points that are kept, by name.
#[derive(Debug)]
struct Names<C, P> {
    counting: RwLock<HashMap<Box<str>, Arc<C>>>,
    kept: Mutex<BTreeMap<Box<str>, VecDeque<P>>>,
}

impl<C, P> Default for Names<C, P> {
    fn default() -> Self {
        Self { counting: RwLock::default(), kept: Mutex::default() }
    }
}

impl<C: Default, P> Names<C, P> {
    /// Counts something of a name, unless there are too many names.
    fn count(&self, name: &str, count: impl FnOnce(&C)) {
        let known = self.counting.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(counts) = known.or_else(|| self.add(name)) {
            count(&counts);
        }
    }

    fn add(&self, name: &str) -> Option<Arc<C>> {
        let mut counting = self.counting.write().unwrap_or_else(PoisonError::into_inner);
        let has_room = counting.len() < MAX_NAMES;
        (has_room || counting.contains_key(name))
            .then(|| Arc::clone(counting.entry(name.into()).or_default()))
    }

    /// Adds a point of each name. Forgets the names of which no point is left that `counts`.
    fn sample(&self, point_of: impl Fn(&C) -> P, counts: impl Fn(&P) -> bool) {
        let mut counting = self.counting.write().unwrap_or_else(PoisonError::into_inner);
        let mut kept = self.lock();
        counting.retain(|name, of_name| {
            let points = kept.entry(name.clone()).or_default();
            if points.len() >= POINTS {
                points.pop_front();
            }
            points.push_back(point_of(of_name.as_ref()));
            let is_kept = points.iter().any(&counts);
            if !is_kept {
                kept.remove(name);
            }
            is_kept
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, VecDeque<P>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct OfRoute {
    handling: Timings,
    interrupted: AtomicU32,
    failed: AtomicU32,
    dead_lettered: AtomicU32,
}

#[derive(Debug)]
struct RoutePoint {
    handling: Spread,
    interrupted: u32,
    failed: u32,
    dead_lettered: u32,
}

/// What happened by route.
#[derive(Debug, Default)]
pub(super) struct Routes(Names<OfRoute, RoutePoint>);

impl Routes {
    pub(super) fn attempted(&self, route: &str, is_completed: bool, took: Duration) {
        self.0.count(route, |of_route| {
            of_route.handling.add(took);
            add(&of_route.failed, (!is_completed).into());
        });
    }

    pub(super) fn interrupted(&self, route: &str) {
        self.0.count(route, |of_route| {
            add(&of_route.interrupted, 1);
            add(&of_route.failed, 1);
        });
    }

    pub(super) fn dead_lettered(&self, route: &str) {
        self.0.count(route, |of_route| add(&of_route.dead_lettered, 1));
    }

    pub(super) fn sample(&self) {
        let point = |of_route: &OfRoute| RoutePoint {
            handling: of_route.handling.take(),
            interrupted: of_route.interrupted.swap(0, Ordering::Relaxed),
            failed: of_route.failed.swap(0, Ordering::Relaxed),
            dead_lettered: of_route.dead_lettered.swap(0, Ordering::Relaxed),
        };
        let counts = |point: &RoutePoint| {
            point.handling != Spread::default() || point.failed > 0 || point.dead_lettered > 0
        };
        self.0.sample(point, counts);
    }

    pub(super) fn totals(&self) -> Vec<RouteTotals> {
        let kept = self.0.lock();
        let totals = kept.iter().map(|(route, points)| {
            let mut handling = Spread::default();
            points.iter().for_each(|point| handling.add(&point.handling));
            RouteTotals {
                route: route.to_string(),
                handling,
                interrupted: points.iter().map(|point| u64::from(point.interrupted)).sum(),
                failed: points.iter().map(|point| u64::from(point.failed)).sum(),
                dead_lettered: points.iter().map(|point| u64::from(point.dead_lettered)).sum(),
                attempts: points.iter().map(|point| point.handling.count()).collect(),
            }
        });
        totals.collect()
    }
}

#[derive(Debug, Default)]
struct OfSource {
    accepted: AtomicU32,
    refused: AtomicU32,
    /// The reason of the last refusal.
    last_refusal: Mutex<Option<&'static str>>,
    /// Since the last point.
    unverified: AtomicU32,
}

impl OfSource {
    fn last_refusal(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct SourcePoint {
    accepted: u32,
    refused: u32,
    last_refusal: Option<&'static str>,
    unverified: u32,
}

/// What happened by source.
#[derive(Debug, Default)]
pub(super) struct Sources {
    names: Names<OfSource, SourcePoint>,
    /// By source, how many requests since the start were not verified at the last point.
    unverified: Mutex<HashMap<String, u64>>,
}

impl Sources {
    pub(super) fn accepted(&self, source: &str) {
        self.names.count(source, |of_source| add(&of_source.accepted, 1));
    }

    pub(super) fn refused(&self, source: &str, reason: &'static str) {
        self.names.count(source, |of_source| {
            add(&of_source.refused, 1);
            *of_source.last_refusal() = Some(reason);
        });
    }

    /// Adds a point of each source. `unverified` has, by source, the requests since the start that were not verified.
    /// Returns how many of them came since the last point.
    pub(super) fn sample(&self, unverified: &[(String, u64)]) -> u64 {
        let mut before = self.unverified.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = 0;
        for (source, count) in unverified {
            // A reload may have taken the source away and brought it back; then it counts from 0 again.
            let more = match before.get(source) {
                Some(before) if before <= count => count - before,
                _ => *count,
            };
            if more > 0 {
                new += more;
                let more = u32::try_from(more).unwrap_or(u32::MAX);
                self.names.count(source, |of_source| add(&of_source.unverified, more));
            }
        }
        *before = unverified.iter().cloned().collect();
        let point = |of_source: &OfSource| SourcePoint {
            accepted: of_source.accepted.swap(0, Ordering::Relaxed),
            refused: of_source.refused.swap(0, Ordering::Relaxed),
            last_refusal: of_source.last_refusal().take(),
            unverified: of_source.unverified.swap(0, Ordering::Relaxed),
        };
        self.names.sample(point, |point| (point.accepted, point.refused, point.unverified) != (0, 0, 0));
        new
    }

    pub(super) fn totals(&self) -> Vec<SourceTotals> {
        let kept = self.names.lock();
        let totals = kept.iter().map(|(source, points)| {
            let of = |count: fn(&SourcePoint) -> u32| {
                points.iter().map(|point| u64::from(count(point))).collect::<Vec<_>>()
            };
            let accepted_by_point = of(|point| point.accepted);
            let refused_by_point = of(|point| point.refused);
            let unverified_by_point = of(|point| point.unverified);
            SourceTotals {
                source: source.to_string(),
                accepted: accepted_by_point.iter().sum(),
                refused: refused_by_point.iter().sum(),
                last_refusal: points.iter().rev().find_map(|point| point.last_refusal),
                unverified: unverified_by_point.iter().sum(),
                accepted_by_point,
                refused_by_point,
                unverified_by_point,
            }
        });
        totals.collect()
    }
}

fn add(count: &AtomicU32, more: u32) {
    count.fetch_add(more, Ordering::Relaxed);
}
