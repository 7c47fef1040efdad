//! The polls that wait for jobs, and which of them a job is claimed for next. Knows neither the store nor the runtime.
//!
//! Claims are made in rounds. A round begins when jobs may have become able to start, and then it tries every poll; or
//! when polls have come, and then it tries these and the older polls that want some of the same routes. In a round, the
//! poll that has waited longest comes first. Once a claim has found nothing, the round tries no further poll that wants
//! only routes of that claim.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Leased;
use crate::domain::error::Result;
use crate::domain::route::RouteName;

/// A worker that waits for jobs.
pub(super) struct Poll {
    /// The name of the worker.
    pub(super) worker: Arc<str>,
    /// Routes whose handler is `pull`; at least one.
    pub(super) routes: BTreeSet<RouteName>,
    /// The most jobs to lease.
    pub(super) max_jobs: usize,
    /// How long the leases last.
    pub(super) lease: Duration,
    /// The monotonic time at which it is answered without jobs.
    pub(super) until: Duration,
    /// Where the answer goes. It is closed once the caller has gone.
    pub(super) answer: oneshot::Sender<Result<Leased>>,
}

/// Where a poll stands in the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It came after the round had begun.
    New,
    /// The round is going to try it.
    Due,
    /// No claim can find a job for it until something happens.
    Idle,
}

struct Waiting {
    poll: Poll,
    place: Place,
    /// Whether a claim was made for it, or for all of its routes.
    is_tried: bool,
}

/// The polls that wait, by the order in which they came.
#[derive(Default)]
pub(super) struct Polls {
    waiting: BTreeMap<u64, Waiting>,
    /// How many polls have come.
    came: u64,
    /// Whether jobs may have become able to start since the round began.
    is_woken: bool,
}

impl Polls {
    /// Adds a poll, and removes those whose callers have gone.
    pub(super) fn add(&mut self, poll: Poll) {
        self.remove_gone();
        self.came += 1;
        self.waiting.insert(self.came, Waiting { poll, place: Place::New, is_tried: false });
    }

    /// Notes that jobs may have become able to start.
    pub(super) fn wake(&mut self) {
        self.is_woken = true;
    }

    /// Has the round try the polls that want some of these routes.
    pub(super) fn wake_for(&mut self, routes: &BTreeSet<RouteName>) {
        for waiting in self.waiting.values_mut() {
            if !waiting.poll.routes.is_disjoint(routes) {
                waiting.place = Place::Due;
            }
        }
    }

    /// Whether no poll waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the poll to claim for now, with its number. Begins the next round if the last one has ended. None if no
    /// claim can find a job.
    pub(super) fn next(&mut self) -> Option<(u64, Poll)> {
        self.remove_gone();
        if let Some(due) = self.take_due() {
            return Some(due);
        }
        self.begin_round();
        self.take_due()
    }

    /// Puts back a poll for which a claim has found nothing.
    pub(super) fn nothing_for(&mut self, number: u64, poll: Poll) {
        for other in self.waiting.values_mut().filter(|other| other.place == Place::Due) {
            if other.poll.routes.is_subset(&poll.routes) {
                (other.place, other.is_tried) = (Place::Idle, true);
            }
        }
        self.waiting.insert(number, Waiting { poll, place: Place::Idle, is_tried: true });
    }

    /// Takes the polls that the round would still try.
    pub(super) fn take_round(&mut self) -> Vec<Poll> {
        self.take(|waiting| waiting.place == Place::Due)
    }

    /// Takes the polls that have waited long enough. `now` is monotonic. A poll that was not tried yet stays.
    pub(super) fn take_over(&mut self, now: Duration) -> Vec<Poll> {
        if self.over_at().is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.take(|waiting| waiting.is_tried && waiting.poll.until <= now)
    }

    /// The monotonic time at which the next poll has waited long enough.
    pub(super) fn over_at(&self) -> Option<Duration> {
        self.waiting.values().filter(|waiting| waiting.is_tried).map(|waiting| waiting.poll.until).min()
    }

    /// Takes all polls.
    pub(super) fn take_all(&mut self) -> Vec<Poll> {
        self.take(|_| true)
    }

    fn take(&mut self, is_taken: impl Fn(&Waiting) -> bool) -> Vec<Poll> {
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (taken, left): (BTreeMap<_, _>, BTreeMap<_, _>) = all.partition(|(_, waiting)| is_taken(waiting));
        self.waiting = left;
        taken.into_values().map(|waiting| waiting.poll).collect()
    }

    fn begin_round(&mut self) {
        let is_woken = std::mem::take(&mut self.is_woken);
        let is_new = |waiting: &&Waiting| waiting.place == Place::New;
        let asked: BTreeSet<RouteName> =
            self.waiting.values().filter(is_new).flat_map(|waiting| waiting.poll.routes.clone()).collect();
        for waiting in self.waiting.values_mut() {
            if is_woken || !waiting.poll.routes.is_disjoint(&asked) {
                waiting.place = Place::Due;
            }
        }
    }

    fn take_due(&mut self) -> Option<(u64, Poll)> {
        let (number, _) = self.waiting.iter().find(|(_, waiting)| waiting.place == Place::Due)?;
        let number = *number;
        self.waiting.remove(&number).map(|waiting| (number, waiting.poll))
    }

    fn remove_gone(&mut self) {
        self.waiting.retain(|_, waiting| !waiting.poll.answer.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answered = oneshot::Receiver<Result<Leased>>;

    /// A poll of a worker for these routes, and the end at which its caller waits.
    fn poll(worker: &str, routes: &[&str], until: u64) -> (Poll, Answered) {
        let (answer, answered) = oneshot::channel();
        let routes = routes.iter().map(|route| RouteName::new(*route).expect("valid")).collect();
        let until = Duration::from_secs(until);
        let poll = Poll {
            worker: worker.into(),
            routes,
            max_jobs: 1,
            lease: Duration::from_secs(60),
            until,
            answer,
        };
        (poll, answered)
    }

    /// Adds polls, and returns the ends at which their callers wait.
    fn waiting(polls: &mut Polls, all: &[(&str, &[&str])]) -> Vec<Answered> {
        let add = |(worker, routes): &(&str, &[&str])| {
            let (poll, answered) = poll(worker, routes, 30);
            polls.add(poll);
            answered
        };
        all.iter().map(add).collect()
    }

    /// The workers for which claims are made until the round ends, if each claim finds nothing.
    fn dry_round(polls: &mut Polls) -> Vec<String> {
        let mut tried = Vec::new();
        while let Some((number, poll)) = polls.next() {
            tried.push(poll.worker.to_string());
            polls.nothing_for(number, poll);
        }
        tried
    }

    fn workers(polls: Vec<Poll>) -> Vec<String> {
        polls.iter().map(|poll| poll.worker.to_string()).collect()
    }

    #[test]
    fn one_claim_is_made_for_each_set_of_routes_and_event() {
        let mut polls = Polls::default();
        let _answered = waiting(
            &mut polls,
            &[("one", &["a", "b"]), ("two", &["a"]), ("three", &["c"]), ("four", &["b", "a"])],
        );
        assert_eq!(dry_round(&mut polls), ["one", "three"]);
        assert_eq!(dry_round(&mut polls), Vec::<String>::new(), "nothing has happened");
        polls.wake();
        polls.wake();
        assert_eq!(dry_round(&mut polls), ["one", "three"]);
    }

    #[test]
    fn after_jobs_were_leased_only_polls_for_their_routes_are_tried_again() {
        let mut polls = Polls::default();
        let _answered = waiting(&mut polls, &[("one", &["a"]), ("two", &["b"]), ("three", &["a", "c"])]);
        dry_round(&mut polls);
        polls.wake_for(&BTreeSet::from([RouteName::new("a").expect("valid")]));
        assert_eq!(dry_round(&mut polls), ["one", "three"]);
    }

    #[test]
    fn a_new_poll_is_tried_behind_older_polls_for_the_same_routes() {
        let mut polls = Polls::default();
        let mut answered = waiting(&mut polls, &[("old", &["a", "b"]), ("other", &["c"])]);
        dry_round(&mut polls);
        answered.extend(waiting(&mut polls, &[("new", &["a"])]));
        assert_eq!(dry_round(&mut polls), ["old"], "what finds nothing for `old` finds nothing for `new`");
        answered.extend(waiting(&mut polls, &[("wide", &["a", "d"])]));
        assert_eq!(dry_round(&mut polls), ["old", "wide"]);
    }

    #[test]
    fn events_during_a_round_begin_the_next_one_and_no_poll_is_passed_over() {
        let mut polls = Polls::default();
        let mut answered = waiting(&mut polls, &[("one", &["a"]), ("two", &["b"])]);
        let (number, one) = polls.next().expect("due");
        polls.wake();
        answered.extend(waiting(&mut polls, &[("three", &["a"])]));
        polls.nothing_for(number, one);
        let (_, two) = polls.next().expect("due");
        assert_eq!(&*two.worker, "two", "the first round ends before the next one begins");
        assert_eq!(dry_round(&mut polls), ["one"]);
    }

    #[test]
    fn polls_are_over_at_their_time_but_not_before_they_were_tried() {
        let mut polls = Polls::default();
        let (at_once, _first) = poll("at once", &["a"], 0);
        let (later, _second) = poll("later", &["a"], 20);
        polls.add(at_once);
        polls.add(later);
        assert_eq!((polls.over_at(), polls.take_over(Duration::MAX).len()), (None, 0));
        dry_round(&mut polls);
        assert_eq!(polls.over_at(), Some(Duration::ZERO));
        let over = |polls: &mut Polls, now| workers(polls.take_over(Duration::from_secs(now)));
        assert_eq!(over(&mut polls, 19), ["at once"]);
        assert_eq!(polls.over_at(), Some(Duration::from_secs(20)));
        assert_eq!(over(&mut polls, 20), ["later"]);
        assert!(polls.is_empty());
    }

    #[test]
    fn no_job_is_claimed_for_a_caller_that_has_gone() {
        let mut polls = Polls::default();
        let mut answered = waiting(&mut polls, &[("gone", &["a"]), ("there", &["a"])]);
        answered.remove(0);
        assert_eq!(dry_round(&mut polls), ["there"]);
        answered.clear();
        answered.extend(waiting(&mut polls, &[("new", &["b"])]));
        assert_eq!(workers(polls.take_all()), ["new"]);
    }

    #[test]
    fn a_failed_claim_ends_the_round_for_those_that_were_not_tried() {
        let mut polls = Polls::default();
        let _answered = waiting(&mut polls, &[("one", &["a"]), ("two", &["b"]), ("three", &["c"])]);
        let (number, one) = polls.next().expect("due");
        polls.nothing_for(number, one);
        let (_, two) = polls.next().expect("due");
        assert_eq!(&*two.worker, "two");
        assert_eq!(workers(polls.take_round()), ["three"]);
        assert!(polls.next().is_none());
    }
}
