//! Sharing: idle threads are shared between the routes that have startable jobs.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::future::join_all;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::{Claim, ClaimedJob};

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, keys, milliseconds, seconds};
use crate::store::routes::{job, policy, route};

/// Counts the jobs of each route.
fn by_route(jobs: &[ClaimedJob]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    jobs.iter().for_each(|job| *counts.entry(job.route.as_str()).or_default() += 1);
    counts
}

/// Accepts the given number of jobs for each route. Jobs of routes named first have been due longer.
async fn with_due<H: Harness>(routes: &[(&str, usize)]) -> Inbox<H> {
    let inbox = Inbox::with_routes(routes.iter().map(|(name, _)| policy(name))).await;
    for (name, many) in routes {
        inbox.accept_many(name, *many, &[job(name)]).await;
        inbox.advance(seconds(1));
    }
    inbox
}

pub(crate) async fn threads_are_shared_evenly_between_routes<H: Harness>() {
    let inbox = with_due::<H>(&[("a", 20), ("b", 20), ("c", 20)]).await;
    assert_eq!(by_route(&inbox.claimed(9).await), BTreeMap::from([("a", 3), ("b", 3), ("c", 3)]));
    let jobs = inbox.claimed(4).await;
    let shares = by_route(&jobs).into_values().collect::<Vec<_>>();
    assert_eq!(
        (shares.len(), shares.iter().sum::<usize>()),
        (3, 4),
        "every route gets at least one of the four threads"
    );
}

pub(crate) async fn a_long_backlog_does_not_delay_another_route<H: Harness>() {
    let inbox = with_due::<H>(&[("busy", 200), ("quiet", 1)]).await;
    assert_eq!(by_route(&inbox.claimed(2).await), BTreeMap::from([("busy", 1), ("quiet", 1)]));
    inbox.accept_for("quiet 1", [job("quiet")]).await;
    let running = HashMap::from([(route("busy"), 100)]);
    let claim = Claim { running, ..inbox.claim_for(1) };
    let jobs = inbox.claim(claim).await.expect("claims").jobs;
    assert_eq!(keys(&jobs), ["quiet 1"], "the route with the fewest running comes first");
}

pub(crate) async fn running_jobs_count_in_the_share_of_a_route<H: Harness>() {
    let inbox = with_due::<H>(&[("a", 20), ("b", 20), ("c", 20)]).await;
    let claim = async |running: [usize; 3], threads| {
        let running = ["a", "b", "c"].map(route).into_iter().zip(running).collect();
        inbox.claim(Claim { running, ..inbox.claim_for(threads) }).await.expect("claims").jobs
    };
    assert_eq!(by_route(&claim([3, 0, 0], 6).await), BTreeMap::from([("b", 3), ("c", 3)]));
    assert_eq!(by_route(&claim([3, 1, 0], 5).await), BTreeMap::from([("b", 2), ("c", 3)]));
    assert_eq!(by_route(&claim([1, 5, 2], 3).await), BTreeMap::from([("a", 2), ("c", 1)]));
}

pub(crate) async fn a_route_with_few_jobs_leaves_its_threads_to_others<H: Harness>() {
    let inbox = with_due::<H>(&[("few", 1), ("many", 20), ("some", 4)]).await;
    let jobs = inbox.claimed(12).await;
    assert_eq!(by_route(&jobs), BTreeMap::from([("few", 1), ("many", 7), ("some", 4)]));
    let claims = inbox.claims(20).await;
    assert_eq!(by_route(&claims.jobs), BTreeMap::from([("many", 13)]), "the rest");
    assert_eq!(claims.next, None);
}

pub(crate) async fn a_route_alone_gets_every_thread<H: Harness>() {
    let inbox = with_due::<H>(&[("a", 20), ("b", 0)]).await;
    let running = HashMap::from([(route("a"), 50)]);
    let claim = Claim { running, ..inbox.claim_for(20) };
    assert_eq!(inbox.claim(claim).await.expect("claims").jobs.len(), 20);
}

pub(crate) async fn each_of_1000_routes_starts_one_job_before_any_starts_a_second<H: Harness>() {
    let names = (0..1_000).map(|number| format!("route-{number}")).collect::<Vec<_>>();
    let inbox = Inbox::<H>::with_routes(names.iter().map(|name| policy(name))).await;
    for (number, names) in names.chunks(100).enumerate() {
        for round in 0..2 {
            inbox.accept_for(&format!("{number} {round}"), names.iter().map(|name| job(name))).await;
        }
        inbox.advance(milliseconds(1));
    }
    let mut running = HashMap::new();
    let mut first = HashSet::new();
    for threads in [100, 128, 500, 272] {
        let claim = Claim { running: running.clone(), ..inbox.claim_for(threads) };
        let jobs = inbox.claim(claim).await.expect("claims").jobs;
        assert_eq!(jobs.len(), threads);
        for job in jobs {
            *running.entry(job.route.clone()).or_default() += 1;
            assert!(first.insert(job.route), "no route starts a second job before the others' first");
        }
    }
    let claims = inbox.claims(2_000).await;
    assert_eq!(claims.jobs.len(), 1_000, "every route starts its second job");
    let ends = claims.jobs.iter().map(|job| inbox.end(job, Status::Completed));
    join_all(ends).await;
    assert_eq!(inbox.counts().await.of(Status::Processing), 1_000);
}
