//! Raises an alert when nothing has come from a source for the time `silent_after` of its settings.
//!
//! A process knows what came to itself. So it asks the store before it raises an alert: another process may have stored
//! a webhook of the source. After a start it asks once, because only the store knows when the source was last seen.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::alert::Alert;
use crate::domain::id::Position;
use crate::domain::job::Status;
use crate::domain::webhook::Source;
use crate::service::Service;
use crate::store::{ListQuery, Page};

/// The seconds between two looks. Each look reads at most one page of the list of each source.
const LOOK_EVERY_SECONDS: u64 = 60;

/// The second of a minute at which looks are. All replicas look at the same times of day, and not at the turn of a
/// minute, so that their alerts are of the same minute even if their clocks differ a little.
const LOOK_AT_SECOND: u64 = 5;

/// Looks at the sources while alerts are wanted. Raises an alert when one has been silent for too long, and then not
/// before something has come from it.
pub(super) async fn watch(service: Service) {
    let mut silences = BTreeMap::new();
    follow(&service, &mut silences);
    loop {
        service.clock.sleep(until_next_look(service.clock.now())).await;
        let watched = follow(&service, &mut silences);
        if !service.metrics.alerts().are_wanted() {
            continue;
        }
        for (source, silence) in &mut silences {
            if let Some(silent_after) = watched.get(source) {
                silence.look(&service, source, *silent_after).await;
            }
        }
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
#[derive(Debug)]
struct Silence {
    /// When the source was last seen, by any process; none if nothing is known to have come from it.
    last_seen: Option<Timestamp>,
    /// How long the silence had lasted at the time `measured`.
    lasted: Duration,
    measured: Duration,
    /// The last time at which this process has seen the source, as it was at the last look.
    noticed: Option<Timestamp>,
    /// When the last search in the store ended; none if nothing was searched, and nothing has come to this process.
    searched: Option<Duration>,
    /// A search that goes on.
    search: Option<Search>,
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
            is_told: false,
        }
    }

    async fn look(&mut self, service: &Service, source: &Source, silent_after: Duration) {
        let (now, monotonic) = (service.clock.now(), service.clock.monotonic());
        self.notice(service.activity().seen(source).last_seen, now, monotonic);
        if !self.has_to_search(silent_after, monotonic) {
            return;
        }
        let search = self.search.take().unwrap_or_else(|| Search::begin(self.last_seen, now));
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
                self.ended(at, now, monotonic);
            }
            Step::Found(_) | Step::Nothing => {}
        }
        self.searched = Some(monotonic);
        let silent_for = self.lasts(monotonic);
        if silent_for >= silent_after && !self.is_told {
            self.is_told = true;
            service.metrics.alerts().raise(|| Alert::SourceSilent {
                source: source.clone(),
                last_seen: self.last_seen,
                silent_for,
                silent_after,
            });
        }
    }

    /// Takes in when this process has last seen the source.
    fn notice(&mut self, seen: Option<Timestamp>, now: Timestamp, monotonic: Duration) {
        // Also if it is earlier than before: the time of day may have been set back.
        if let Some(at) = seen
            && self.noticed != seen
        {
            self.noticed = seen;
            self.ended(at, now, monotonic);
        }
    }

    /// The source was seen, and another silence has begun.
    fn ended(&mut self, at: Timestamp, now: Timestamp, monotonic: Duration) {
        self.last_seen = Some(at);
        // Negative if the time of day was set back meanwhile.
        self.lasted = Duration::try_from(now.duration_since(at)).unwrap_or_default();
        self.measured = monotonic;
        self.searched = self.searched.or(Some(monotonic));
        self.search = None;
        self.is_told = false;
    }

    fn lasts(&self, monotonic: Duration) -> Duration {
        self.lasted.saturating_add(monotonic.saturating_sub(self.measured))
    }

    /// Whether the store has to be asked: at first, before the alert, and after it once each `silent_after`, because
    /// the source may have come and gone in another process.
    fn has_to_search(&self, silent_after: Duration, monotonic: Duration) -> bool {
        let Some(searched) = self.searched else { return true };
        let is_due = !self.is_told || monotonic.saturating_sub(searched) >= silent_after;
        self.search.is_some() || (self.lasts(monotonic) >= silent_after && is_due)
    }
}

/// The search for the newest webhook of a source in the store, a page at each look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Search {
    /// Earlier webhooks are of no use.
    from: Option<Timestamp>,
    /// Where the next page begins; none if that is the first.
    before: Option<Position>,
    /// When the first page was read.
    began: Timestamp,
}

/// What a page of a search has found.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// When the newest webhook was accepted.
    Found(Timestamp),
    Nothing,
    Unfinished(Search),
}

impl Search {
    fn begin(from: Option<Timestamp>, now: Timestamp) -> Self {
        Self { from, before: None, began: now }
    }

    /// Asks for the newest webhook of the source that is not in quarantine.
    fn query(&self, source: &Source) -> ListQuery {
        let statuses = Status::ALL.into_iter().filter(|status| *status != Status::Quarantined);
        ListQuery {
            statuses: statuses.collect(),
            source: Some(source.clone()),
            accepted_after: self.from,
            before: self.before,
            limit: 1,
            ..ListQuery::default()
        }
    }

    /// What a page says that was read now.
    fn after(self, page: &Page, now: Timestamp) -> Step {
        if let Some(newest) = page.webhooks.first() {
            return Step::Found(newest.accepted_at);
        }
        match (page.next, self.before) {
            (Some(next), _) => Step::Unfinished(Self { before: Some(next), ..self }),
            (None, None) => Step::Nothing,
            // What came in since the first page was read is on none of them.
            (None, Some(_)) => Step::Unfinished(Self::begin(Some(self.began), now)),
        }
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
    fn a_search_over_several_pages_ends_with_what_came_in_meanwhile() {
        let search = Search::begin(Some(time(7)), time(100));
        assert_eq!(search.after(&Page::default(), time(100)), Step::Nothing);
        let page = Page { next: Some(Position::END), ..Page::default() };
        let second = Search { before: Some(Position::END), ..search };
        assert_eq!(search.after(&page, time(100)), Step::Unfinished(second));
        let third = Search::begin(Some(time(100)), time(160));
        assert_eq!(second.after(&Page::default(), time(160)), Step::Unfinished(third));
        assert_eq!(third.after(&Page::default(), time(220)), Step::Nothing);
    }

    #[test]
    fn a_silence_lasts_from_when_the_source_was_seen_whatever_the_time_of_day_is_set_to() {
        let mut silence = Silence::begin(Duration::from_secs(1_000));
        silence.notice(Some(time(90)), time(100), Duration::from_secs(1_100));
        assert_eq!(silence.lasts(Duration::from_secs(1_150)), Duration::from_secs(60));
        silence.notice(Some(time(90)), time(5_000), Duration::from_secs(1_160));
        assert_eq!(silence.lasts(Duration::from_secs(1_160)), Duration::from_secs(70));
        // The time was set back before the source was seen again.
        silence.notice(Some(time(30)), time(40), Duration::from_secs(1_200));
        assert_eq!(silence.lasts(Duration::from_secs(1_201)), Duration::from_secs(11));
        assert_eq!(silence.last_seen, Some(time(30)));
    }
}
