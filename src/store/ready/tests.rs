use super::*;
use crate::domain::handler::HandlerSettings;
use crate::store::types::{Pause, PauseTarget};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).expect("in range")
}

fn route(name: &str) -> RouteName {
    RouteName::new(name).expect("valid")
}

/// Routes of the settings, pulled if their names begin with `pulled`. Each has one queue, of the source `default`;
/// queues are numbered from 1.
struct Routes {
    queues: Queues,
    policies: Policies,
    paused: Paused,
    ready: Ready,
    running: HashMap<RouteName, usize>,
    wanted: Wanted,
}

impl Routes {
    fn new(names: &[&str]) -> Self {
        let mut queues = Queues::default();
        for (id, name) in (1..).zip(names) {
            queues.add(QueueId(id), route(name), Source::default());
        }
        let policies = Policies::new(names.iter().map(|name| Policy {
            handler: if name.starts_with("pulled") {
                HandlerSettings::Pull
            } else {
                HandlerSettings::default()
            },
            ..Policy::unlimited(route(name))
        }));
        let (paused, ready, running) = Default::default();
        Self { queues, policies, paused, ready, running, wanted: Wanted::Run }
    }

    /// Pairs of a queue and the time since which it has something due, in milliseconds after `at(0)`.
    fn due(mut self, due: &[(u32, i64)]) -> Self {
        due.iter().for_each(|(queue, since)| self.ready.note(QueueId(*queue), at(*since)));
        self
    }

    fn circumstances(&self) -> Circumstances<'_> {
        let Self { queues, policies, paused, wanted, .. } = self;
        Circumstances { now: at(0), wanted, queues, policies, paused }
    }

    fn plan(&self, threads: usize, allowance: impl FnMut(&Policy) -> Allowance) -> Vec<Share> {
        let mut shares = self.ready.plan(&self.circumstances(), threads, &self.running, allowance);
        shares.sort_by(|one, other| one.route.cmp(&other.route));
        shares.iter_mut().for_each(|share| share.queues.sort());
        shares
    }

    fn next(&self, allowance: impl FnMut(&Policy) -> Allowance) -> Option<Timestamp> {
        self.ready.next(&self.circumstances(), allowance)
    }

    /// The number of threads that each route gets.
    fn shares(&self, threads: usize) -> Vec<(String, usize)> {
        let shares = self.plan(threads, |_| Allowance::ANY);
        shares.into_iter().map(|share| (share.route.to_string(), share.threads)).collect()
    }
}

fn share(name: &str, threads: usize) -> (String, usize) {
    (name.to_owned(), threads)
}

#[test]
fn threads_go_to_routes_with_something_due() {
    let routes = Routes::new(&["a", "b", "c"]).due(&[(1, -5), (2, 5)]);
    let shares = routes.plan(4, |_| Allowance::ANY);
    assert_eq!(shares, [Share { route: route("a"), queues: vec![QueueId(1)], threads: 4 }]);
    assert_eq!(routes.shares(0), []);
}

#[test]
fn a_route_is_looked_for_in_its_due_queues() {
    let mut routes = Routes::new(&["a"]).due(&[(1, -5)]);
    for (id, source, since) in [(2, "shop", 0), (3, "hub", 1), (4, "idle", 0)] {
        routes.queues.add(QueueId(id), route("a"), Source::new(source).expect("valid"));
        routes.ready.note(QueueId(id), at(since));
    }
    routes.ready.found(QueueId(4), None);
    let queues = vec![QueueId(1), QueueId(2)];
    assert_eq!(routes.plan(2, |_| Allowance::ANY), [Share { route: route("a"), queues, threads: 2 }]);
}

#[test]
fn the_route_with_the_fewest_running_jobs_gets_the_next_thread() {
    let mut routes = Routes::new(&["a", "b", "c"]).due(&[(1, -1), (2, -2), (3, -3)]);
    assert_eq!(routes.shares(6), [share("a", 2), share("b", 2), share("c", 2)]);
    routes.running = HashMap::from([(route("a"), 3), (route("b"), 1)]);
    assert_eq!(routes.shares(2), [share("c", 2)]);
    assert_eq!(routes.shares(5), [share("b", 2), share("c", 3)]);
    assert_eq!(routes.shares(8), [share("a", 1), share("b", 3), share("c", 4)]);
}

#[test]
fn of_routes_with_equally_many_running_jobs_the_longest_due_comes_first() {
    let routes = Routes::new(&["a", "b", "c"]).due(&[(1, -1), (2, -3), (3, -2)]);
    assert_eq!(routes.shares(1), [share("b", 1)]);
    assert_eq!(routes.shares(2), [share("b", 1), share("c", 1)]);
    assert_eq!(routes.shares(4), [share("a", 1), share("b", 2), share("c", 1)]);
}

#[test]
fn a_route_gets_no_more_threads_than_may_start() {
    let routes = Routes::new(&["a", "full", "two"]).due(&[(1, -1), (2, -2), (3, -3)]);
    let shares = routes.plan(9, |policy| match policy.route.as_str() {
        "full" => Allowance { starts: 0, next: None },
        "two" => Allowance { starts: 2, next: Some(at(40)) },
        _ => Allowance::ANY,
    });
    let threads = shares.iter().map(|share| (share.route.as_str(), share.threads));
    assert_eq!(threads.collect::<Vec<_>>(), [("a", 7), ("two", 2)]);
}

#[test]
fn the_next_start_is_the_earliest_that_limits_allow() {
    let routes = Routes::new(&["a", "b", "later"]).due(&[(1, -9), (2, -5), (3, 50)]);
    let allowance = |starts, next: Option<i64>| Allowance { starts, next: next.map(at) };
    let next = |a, b| routes.next(|policy| if policy.route.as_str() == "a" { a } else { b });
    let (full, slow) = (allowance(0, None), allowance(0, Some(40)));
    assert_eq!(next(Allowance::ANY, full), Some(at(-9)));
    assert_eq!(next(full, Allowance::ANY), Some(at(-5)));
    assert_eq!(next(full, slow), Some(at(40)), "the rate allows the next start at that time");
    assert_eq!(next(allowance(0, Some(60)), full), Some(at(50)), "the third route is due at that time");
    assert_eq!(Routes::new(&["a"]).next(|_| Allowance::ANY), None);
}

#[test]
fn the_limits_of_a_route_are_checked_once_and_only_if_a_job_is_due() {
    let mut routes = Routes::new(&["a", "later", "idle"]).due(&[(1, -1), (2, 1)]);
    routes.queues.add(QueueId(4), route("a"), Source::new("shop").expect("valid"));
    routes.ready.note(QueueId(4), at(0));
    let mut asked = Vec::new();
    routes.plan(1, |policy| {
        asked.push(policy.route.to_string());
        Allowance::ANY
    });
    assert_eq!(asked, ["a"]);
}

#[test]
fn a_held_route_gets_no_thread_and_does_not_affect_the_next_start() {
    let mut routes = Routes::new(&["paused", "free"]).due(&[(1, -9), (2, 7)]);
    routes.queues.add(QueueId(3), route("gone"), Source::default());
    routes.queues.add(QueueId(4), route("free"), Source::new("paused").expect("valid"));
    for queue in [3, 4, 99] {
        routes.ready.note(QueueId(queue), at(-9));
    }
    let targets =
        [PauseTarget::Route(route("paused")), PauseTarget::Source(Source::new("paused").expect("valid"))];
    routes.paused = Paused::new(&targets.map(|target| Pause::of(target, at(0))));
    assert_eq!(routes.plan(3, |_| Allowance::ANY), []);
    assert_eq!(routes.next(|_| Allowance::ANY), Some(at(7)));
}

#[test]
fn a_claim_plans_only_the_routes_that_it_wants() {
    let mut routes = Routes::new(&["run", "pulled-a", "pulled-b"]).due(&[(1, 8), (2, -9), (3, -5)]);
    assert_eq!((routes.shares(4), routes.next(|_| Allowance::ANY)), (vec![], Some(at(8))));
    routes.wanted = Wanted::Pulled(["run", "pulled-b", "unknown"].map(route).into());
    assert_eq!(
        (routes.shares(4), routes.next(|_| Allowance::ANY)),
        (vec![share("pulled-b", 4)], Some(at(-5)))
    );
    routes.wanted = Wanted::Pulled(["pulled-a", "pulled-b"].map(route).into());
    assert_eq!(routes.shares(4), [share("pulled-a", 2), share("pulled-b", 2)]);
    routes.wanted = Wanted::Pulled(["run"].map(route).into());
    assert_eq!((routes.shares(4), routes.next(|_| Allowance::ANY)), (vec![], None));
}

#[test]
fn what_was_found_counts_until_something_earlier_is_noted() {
    let mut ready = Ready::default();
    let due = |ready: &Ready| ready.due.get(&QueueId(1)).copied();
    ready.note(QueueId(1), at(5));
    ready.note(QueueId(1), at(9));
    assert_eq!(due(&ready), Some(at(5)));
    ready.found(QueueId(1), Some(at(7)));
    assert_eq!(due(&ready), Some(at(7)));
    ready.note(QueueId(1), at(6));
    assert_eq!(due(&ready), Some(at(6)));
    ready.found(QueueId(1), Some(at(6)));
    assert_eq!(ready.by_time.iter().collect::<Vec<_>>(), [&(at(6), QueueId(1))]);
    ready.found(QueueId(1), None);
    assert_eq!((due(&ready), ready.by_time.len()), (None, 0));
}

#[test]
fn of_1000_routes_each_gets_a_thread_before_any_gets_two() {
    let names = (0..1_000).map(|number| format!("r{number}")).collect::<Vec<_>>();
    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
    let due = (1..=1_000).map(|queue| (queue, -i64::from(queue))).collect::<Vec<_>>();
    let routes = Routes::new(&names).due(&due);
    let mut shares = routes.shares(128);
    shares.sort_by_key(|(name, _)| name[1..].parse::<u32>().expect("a number"));
    let longest = (872..1_000).map(|number| (format!("r{number}"), 1)).collect::<Vec<_>>();
    assert_eq!(shares, longest, "the routes that waited longest");
    let mut asked = 0;
    routes.plan(128, |_| {
        asked += 1;
        Allowance::ANY
    });
    assert_eq!(asked, 128, "the other routes cost nothing");
    assert!(routes.shares(2_500).iter().all(|(_, threads)| (2..=3).contains(threads)));
}
