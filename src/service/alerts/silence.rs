//! Finds the sources from which nothing has come for the time `silent_after` of their settings. Raises an alert when a
//! silence has lasted that long. The page says it for as long as the silence lasts.
//!
//! A process knows what came to itself. So it asks the store before it counts a source as silent, and again while the
//! silence goes on: another process may have stored a webhook of the source. After a start it asks once, because only the
//! store knows when the source was last seen.

mod search;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use self::search::{Search, Step};
use crate::domain::alert::Alert;
use crate::domain::webhook::Source;
use crate::service::Service;
use crate::service::receive::Arrived;

/// The seconds between two looks. Each look reads at most one page of the list of each source.
const LOOK_EVERY_SECONDS: u64 = 60;

/// The second of a minute at which looks are. All replicas look at the same times of day, and not at the turn of a
/// minute, so that their alerts are of the same minute even if their clocks differ a little.
const LOOK_AT_SECOND: u64 = 5;

/// By how much two searches overlap. A webhook that another process was just storing may be accepted a little earlier than
/// the search before began.
const OVERLAP: SignedDuration = SignedDuration::from_mins(1);

/// A source that has been silent for longer than its `silent_after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentSource {
    /// The source.
    pub source: Source,
    /// For how long nothing has come from it.
    pub silent_for: Duration,
    /// From when on it counts as silent.
    pub silent_after: Duration,
}

/// The silences of the sources that are watched, as the last look has left them.
#[derive(Debug, Default)]
pub(in crate::service) struct Silences(Mutex<BTreeMap<Source, Silence>>);

impl Silences {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Source, Silence>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// The sources that the caller sees and that have been silent for longer than their `silent_after`, by name. What came
    /// from a source is that of all routes, so a caller who is limited to routes sees none.
    pub fn silent_sources(&self) -> Vec<SilentSource> {
        if self.caller.has_limited_routes() {
            return Vec::new();
        }
        let (sources, monotonic) = (self.sources(), self.clock.monotonic());
        let silences = self.silences.lock();
        let seen = silences.iter().filter(|(source, _)| self.caller.sees_source(source));
        let silent = seen.filter_map(|(source, silence)| {
            let silent_after = sources.get(source)?.rules.silent_after?;
            let has_ended = silence.news(self.activity().seen(source).last_seen).is_some();
            let silent_for = silence.lasts(monotonic);
            let is_silent = silence.is_confirmed && !has_ended && silent_for >= silent_after;
            is_silent.then(|| SilentSource { source: source.clone(), silent_for, silent_after })
        });
        silent.collect()
    }
}

/// Looks at the sources. Raises an alert when one has been silent for too long, and then not before something has come
/// from it.
pub(super) async fn watch(service: Service) {
    let mut silences = BTreeMap::new();
    follow(&service, &mut silences);
    loop {
        service.clock.sleep(until_next_look(service.clock.now())).await;
        let watched = follow(&service, &mut silences);
        for (source, silence) in &mut silences {
            if let Some(silent_after) = watched.get(source) {
                silence.look(&service, source, *silent_after).await;
            }
        }
        *service.silences.lock() = silences.clone();
    }
}

/// The sources that are to be watched, with `silent_after` of each. Begins with those that are new, and forgets those
/// that are gone.
fn follow(service: &Service, silences: &mut BTreeMap<Source, Silence>) -> BTreeMap<Source, Duration> {
    let sources = service.sources();
    let silent_after = sources.iter().map(|(source, settings)| (source, settings.rules.silent_after));
    let watched = silent_after.filter_map(|(source, time)| Some((source.clone(), time?)));
    let watched = watched.collect::<BTreeMap<_, _>>();
    silences.retain(|source, _| watched.contains_key(source));
    for source in watched.keys() {
        silences.entry(source.clone()).or_insert_with(|| Silence::begin(service.clock.monotonic()));
    }
    watched
}

fn until_next_look(now: Timestamp) -> Duration {
    let (every, at) = (Duration::from_secs(LOOK_EVERY_SECONDS), Duration::from_secs(LOOK_AT_SECOND));
    let milliseconds = (now.as_millisecond() - at.as_millis() as i64).rem_euclid(every.as_millis() as i64);
    every.saturating_sub(Duration::from_millis(milliseconds.unsigned_abs()))
}

/// The silence of a source. It is measured by the monotonic time, so that it does not depend on whether the time of day
/// is set.
#[derive(Clone, Debug)]
struct Silence {
    /// When the source was last seen, by any process; none if nothing is known to have come from it.
    last_seen: Option<Timestamp>,
    /// How long the silence had lasted at the time `measured`.
    lasted: Duration,
    measured: Duration,
    /// The last time at which this process has seen the source, as it was at the last look.
    noticed: Option<Arrived>,
    /// When the latest search began, of those that ended after the source was last seen; none if no search has.
    searched: Option<Timestamp>,
    /// A search that goes on.
    search: Option<Search>,
    /// Whether the silence had lasted for `silent_after` when the last search ended.
    is_confirmed: bool,
    /// Whether the alert of this silence was raised.
    is_told: bool,
}

impl Silence {
    /// A silence that begins now.
    fn begin(monotonic: Duration) -> Self {
        Self {
            last_seen: None,
            lasted: Duration::ZERO,
            measured: monotonic,
            noticed: None,
            searched: None,
            search: None,
            is_confirmed: false,
            is_told: false,
        }
    }

    async fn look(&mut self, service: &Service, source: &Source, silent_after: Duration) {
        let (now, monotonic) = (service.clock.now(), service.clock.monotonic());
        self.notice(service.activity().seen(source).last_seen);
        if !self.has_to_search(silent_after, monotonic) {
            return;
        }
        let search = self.search.take().unwrap_or_else(|| Search::begin(self.known_to(now), now));
        // While the store is away, nothing is known of the source.
        let step = match service.store.list(search.query(source)).await {
            Ok(page) => search.after(&page, now),
            Err(_) => Step::Unfinished(search),
        };
        match step {
            Step::Unfinished(search) => {
                self.search = Some(search);
                return;
            }
            Step::Found(at) if self.last_seen.is_none_or(|last_seen| last_seen < at) => {
                // Negative if the time of day was set back meanwhile.
                let since = Duration::try_from(now.duration_since(at)).unwrap_or_default();
                // It came later than all that was known of. So the silence is shorter, whatever the time of day is set to.
                let known = self.last_seen.map_or(since, |_| self.lasts(monotonic));
                self.ended(at, since.min(known), monotonic);
            }
            Step::Found(_) | Step::Nothing => {}
        }
        self.searched = Some(search.began);
        let silent_for = self.lasts(monotonic);
        self.is_confirmed = silent_for >= silent_after;
        let alerts = service.metrics.alerts();
        if self.is_confirmed && !self.is_told && alerts.are_wanted() {
            self.is_told = true;
            alerts.raise(|| Alert::SourceSilent {
                source: source.clone(),
                last_seen: self.last_seen,
                silent_for,
                silent_after,
            });
        }
    }

    /// Takes in when this process has last seen the source.
    fn notice(&mut self, seen: Option<Arrived>) {
        if let Some(Arrived { at, monotonic }) = self.news(seen) {
            self.noticed = seen;
            self.ended(at, Duration::ZERO, monotonic);
        }
    }

    /// When this process has last seen the source, unless the last look has noticed it. It may be earlier than before: the
    /// time of day may have been set back.
    fn news(&self, seen: Option<Arrived>) -> Option<Arrived> {
        seen.filter(|_| self.noticed != seen)
    }

    /// The source was seen, and another silence has begun. It had lasted for `lasted` at the monotonic time `measured`.
    fn ended(&mut self, at: Timestamp, lasted: Duration, measured: Duration) {
        self.last_seen = Some(at);
        (self.lasted, self.measured) = (lasted, measured);
        (self.searched, self.search) = (None, None);
        (self.is_confirmed, self.is_told) = (false, false);
    }

    fn lasts(&self, monotonic: Duration) -> Duration {
        self.lasted.saturating_add(monotonic.saturating_sub(self.measured))
    }

    /// The time up to which it is known what came from the source; none if nothing is known.
    fn known_to(&self, now: Timestamp) -> Option<Timestamp> {
        match self.searched {
            // Earlier, if the time of day was set back meanwhile.
            Some(searched) => Some(searched.min(now).saturating_sub(OVERLAP).unwrap_or(Timestamp::MIN)),
            None => self.last_seen,
        }
    }

    /// Whether the store has to be asked: at first, and while the silence has lasted for `silent_after`, because the source
    /// may have come to another process.
    fn has_to_search(&self, silent_after: Duration, monotonic: Duration) -> bool {
        let is_known = self.last_seen.is_some() || self.searched.is_some();
        !is_known || self.search.is_some() || self.lasts(monotonic) >= silent_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn looks_are_in_the_first_seconds_of_each_minute() {
        for (now, milliseconds) in [(0, 5_000), (4_999, 1), (5_000, 60_000), (5_001, 59_999), (-1, 5_001)] {
            let now = Timestamp::from_millisecond(now).expect("in range");
            assert_eq!(until_next_look(now), Duration::from_millis(milliseconds), "{now}");
        }
    }

    #[test]
    fn a_silence_lasts_from_when_the_source_was_seen_whatever_the_time_of_day_is_set_to() {
        let arrived =
            |second, monotonic| Arrived { at: time(second), monotonic: Duration::from_secs(monotonic) };
        let mut silence = Silence::begin(Duration::from_secs(1_000));
        silence.notice(Some(arrived(90, 1_090)));
        assert_eq!(silence.lasts(Duration::from_secs(1_150)), Duration::from_secs(60));
        silence.notice(Some(arrived(90, 1_090)));
        assert_eq!(silence.lasts(Duration::from_secs(1_160)), Duration::from_secs(70));
        // The time was set back before the source was seen again.
        silence.notice(Some(arrived(30, 1_190)));
        assert_eq!(silence.lasts(Duration::from_secs(1_201)), Duration::from_secs(11));
        assert_eq!(silence.last_seen, Some(time(30)));
    }
}
