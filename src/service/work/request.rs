//! What workers ask for, and the rules for it. Both APIs share them.

use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::lease_text;
use crate::access::Caller;
use crate::domain::attempt::{LONGEST_LEASE, Lease, MAX_RESULT_BYTES, MAX_RETRY_AFTER, RunResult, cut};
use crate::domain::error::{Error, Reason, Result, all_of, both};
use crate::domain::json;
use crate::domain::policy::Policies;
use crate::domain::route::RouteName;

/// The most routes, leases or outcomes in one request.
const MAX_ITEMS: usize = 100;

/// The most characters of the name of a worker.
const MAX_WORKER_CHARS: usize = 128;

/// How many jobs are leased at most unless the worker asks for another number.
const DEFAULT_JOBS: usize = 10;

/// The most jobs that one request can lease.
const MAX_JOBS: usize = 100;

/// The longest time that a request waits for jobs.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How long a lease lasts unless the worker asks for another time.
const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// How long a lease may last.
const LEASES: RangeInclusive<Duration> = Duration::from_secs(1)..=LONGEST_LEASE;

/// A request to lease jobs.
#[derive(Clone, Debug, Default)]
pub struct LeaseRequest {
    /// The names of routes.
    pub routes: Vec<String>,
    /// The name of the worker.
    pub worker: String,
    /// The most jobs to lease; 0 means 10.
    pub max_jobs: u32,
    /// How long to wait for jobs; none means not at all.
    pub wait: Option<Duration>,
    /// How long the leases last; none means 60 s.
    pub lease: Option<Duration>,
}

/// A request to extend leases.
#[derive(Clone, Debug, Default)]
pub struct ExtendRequest {
    /// The name of the worker.
    pub worker: String,
    /// The leases.
    pub leases: Vec<String>,
    /// How long they last from now on; none means 60 s.
    pub lease: Option<Duration>,
}

/// A request to record outcomes.
#[derive(Clone, Debug, Default)]
pub struct FinishRequest {
    /// The name of the worker.
    pub worker: String,
    /// The outcomes.
    pub outcomes: Vec<JobOutcome>,
}

/// How an attempt of a worker ended. One of `completed` and `failed` is needed.
#[derive(Clone, Debug, Default)]
pub struct JobOutcome {
    /// The lease.
    pub lease: String,
    /// If it completed.
    pub completed: Option<Completed>,
    /// If it failed.
    pub failed: Option<Failed>,
}

/// A job that a worker has completed.
#[derive(Clone, Debug)]
pub struct Completed {
    /// The result as JSON.
    result: String,
}

/// A job in which a worker failed.
#[derive(Clone, Debug, Default)]
pub struct Failed {
    /// Why it failed.
    pub error: String,
    /// The delay before the next attempt; none: the retry policy decides.
    pub retry_after: Option<Duration>,
    /// Whether no other attempt can help.
    pub permanent: bool,
}

/// A [`LeaseRequest`] that is valid.
pub(super) struct Asked {
    pub(super) routes: BTreeSet<RouteName>,
    pub(super) worker: Arc<str>,
    pub(super) max_jobs: usize,
    pub(super) wait: Duration,
    pub(super) lease: Duration,
}

/// A [`JobOutcome`] that is valid.
pub(super) struct Ran {
    /// The text of the lease, as the worker gave it.
    pub(super) text: String,
    pub(super) lease: Lease,
    pub(super) result: RunResult,
}

impl LeaseRequest {
    /// Checks the request. The lease is cut to the shortest timeout of the routes. A route that the caller does not see
    /// is as if it were not in the settings.
    pub(super) fn check(self, policies: &Policies, caller: &Caller) -> Result<Asked> {
        let Self { routes, worker, max_jobs, wait, lease } = self;
        let (routes, worker, (max_jobs, wait, mut lease)) = all_of(
            check_routes(routes),
            check_worker(&worker),
            all_of(check_max_jobs(max_jobs), check_wait(wait), check_lease(lease)),
        )?;
        for route in &routes {
            let timeout = pulled(policies, route, caller)?;
            lease = timeout.map_or(lease, |timeout| lease.min(timeout));
        }
        Ok(Asked { routes, worker, max_jobs, wait, lease })
    }
}

impl ExtendRequest {
    /// Checks the request: the worker, the leases, each once, and how long they last.
    pub(super) fn check(&self) -> Result<(Arc<str>, Vec<Lease>, Duration)> {
        let mut known = HashSet::new();
        let leases = self.leases.iter().enumerate();
        let leases = leases.map(|(at, text)| check_lease_text(format!("leases[{at}]"), text, &mut known));
        let leases = check_number("leases", self.leases.len()).and_then(|()| leases.collect());
        all_of(check_worker(&self.worker), leases, check_lease(self.lease))
    }
}

impl FinishRequest {
    /// Checks the request: the worker, and the outcomes, one for each lease.
    pub(super) fn check(self) -> Result<(Arc<str>, Vec<Ran>)> {
        let number = check_number("outcomes", self.outcomes.len());
        let mut known = HashSet::new();
        let outcomes = self.outcomes.into_iter().enumerate();
        let ran = outcomes.map(|(at, JobOutcome { lease: text, completed, failed })| {
            let lease = check_lease_text(format!("outcomes[{at}].lease"), &text, &mut known)?;
            let result = match (completed, failed) {
                (Some(Completed { result }), None) => RunResult::Completed { result },
                (None, Some(failed)) => {
                    check_retry_after(at, failed.retry_after)?;
                    failed.into()
                }
                _ => {
                    return Err(Error::invalid(
                        format!("outcomes[{at}]"),
                        "needs one of `completed` and `failed`",
                    ));
                }
            };
            Ok(Ran { text, lease, result })
        });
        both(check_worker(&self.worker), number.and_then(|()| ran.collect()))
    }
}

impl Completed {
    /// A result that is JSON, as it is written, without the space around it; empty means null. Clients have to be able to
    /// read it ([`json::check_readable`]). `field` names the member that has it. Errors: `InvalidField`.
    pub fn new(field: impl Into<String>, result: &str) -> Result<Self> {
        if result.is_empty() {
            return Ok(Self { result: "null".to_owned() });
        }
        let result = match serde_json::from_str::<&RawValue>(result) {
            Ok(json) => json.get(),
            Err(error) => return Err(Error::invalid(field, format!("is not valid JSON: {error}"))),
        };
        if result.len() > MAX_RESULT_BYTES {
            let bytes = result.len();
            let problem = format!("has {bytes} bytes, but at most {MAX_RESULT_BYTES} are allowed");
            return Err(Error::invalid(field, problem));
        }
        json::check_readable(result).map_err(|problem| Error::invalid(field, problem))?;
        Ok(Self { result: result.to_owned() })
    }
}

impl From<Failed> for RunResult {
    fn from(Failed { error, retry_after, permanent }: Failed) -> Self {
        let error = if error.is_empty() { "the worker did not say why".to_owned() } else { cut(error) };
        if permanent { Self::FailedForGood { error } } else { Self::Failed { error, retry_after } }
    }
}

/// The name of a worker: 1 to 128 visible characters. A space would let it be the name of one of hookbox's own processes,
/// whose leases it could then end. Errors: `InvalidField`.
pub fn check_worker(name: &str) -> Result<Arc<str>> {
    let is_visible = |c: char| !c.is_control() && !c.is_whitespace();
    if name.is_empty() || name.chars().nth(MAX_WORKER_CHARS).is_some() || !name.chars().all(is_visible) {
        return Err(Error::invalid(
            "worker",
            "must be 1 to 128 characters without spaces and control characters",
        ));
    }
    Ok(name.into())
}

/// The timeout of a route that workers can lease jobs of.
fn pulled(policies: &Policies, route: &RouteName, caller: &Caller) -> Result<Option<Duration>> {
    let Some(policy) = policies.get(route).filter(|_| caller.sees_route(route)) else {
        return Err(Error::new(
            Reason::RouteNotFound,
            format!(
                "there is no route `{route}` in the settings; GET /v1/routes, in gRPC ListRoutes, lists them"
            ),
        ));
    };
    if !policy.is_pulled() {
        return Err(Error::new(
            Reason::RouteNotPulled,
            format!(
                "the route `{route}` has the handler {}, which hookbox runs itself; workers can only lease jobs of routes \
                 with the handler pull",
                policy.handler
            ),
        ));
    }
    Ok(policy.timeout)
}

fn check_number(field: &'static str, items: usize) -> Result<()> {
    if (1..=MAX_ITEMS).contains(&items) {
        return Ok(());
    }
    Err(Error::invalid(field, format_args!("has {items} items, but needs 1 to {MAX_ITEMS}")))
}

fn check_routes(routes: Vec<String>) -> Result<BTreeSet<RouteName>> {
    check_number("routes", routes.len())?;
    routes.into_iter().map(|name| RouteName::from_field("routes", name)).collect()
}

fn check_max_jobs(max_jobs: u32) -> Result<usize> {
    match max_jobs as usize {
        0 => Ok(DEFAULT_JOBS),
        jobs if jobs <= MAX_JOBS => Ok(jobs),
        _ => Err(Error::invalid(
            "max_jobs",
            format_args!("must be from 0 to {MAX_JOBS}; 0 means {DEFAULT_JOBS}"),
        )),
    }
}

fn check_wait(wait: Option<Duration>) -> Result<Duration> {
    let wait = wait.unwrap_or_default();
    if wait > MAX_WAIT { Err(Error::invalid("wait", "must be at most 30 seconds")) } else { Ok(wait) }
}

fn check_lease(lease: Option<Duration>) -> Result<Duration> {
    let lease = lease.unwrap_or(DEFAULT_LEASE);
    if LEASES.contains(&lease) {
        Ok(lease)
    } else {
        Err(Error::invalid("lease", "must be from 1 second to 12 hours"))
    }
}

/// Checks the delay of the outcome at a place of the request.
fn check_retry_after(at: usize, delay: Option<Duration>) -> Result<()> {
    if delay.is_some_and(|delay| delay > MAX_RETRY_AFTER) {
        let field = format!("outcomes[{at}].failed.retry_after");
        return Err(Error::invalid(field, "must be at most 30 days"));
    }
    Ok(())
}

/// Reads the text of a lease that is not `known` yet, and adds it to these.
fn check_lease_text(field: String, text: &str, known: &mut HashSet<Lease>) -> Result<Lease> {
    let Some(lease) = lease_text::parse(text) else {
        return Err(Error::invalid(field, "must be the `lease` of a job that was leased"));
    };
    if !known.insert(lease) {
        return Err(Error::invalid(field, "is in the request twice; give each lease once"));
    }
    Ok(lease)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_worker_has_visible_characters_only() {
        for name in ["w", "host-1:4711", "pracownik-ż", &"w".repeat(128)] {
            assert_eq!(check_worker(name).expect("valid").as_ref(), name);
        }
        for name in ["", " ", "a b", "a\n", "a\u{a0}b", &"w".repeat(129)] {
            assert_eq!(check_worker(name).expect_err("refused").field(), Some("worker"), "{name:?}");
        }
    }

    #[test]
    fn a_result_is_kept_as_it_is_written() {
        let kept = |result: &str| Completed::new("result", result).map(|completed| completed.result);
        assert_eq!(kept("").expect("valid"), "null");
        assert_eq!(kept(" {\"a\" : 1.0e2}\n").expect("valid"), "{\"a\" : 1.0e2}");
        let largest = format!("\"{}\"", "x".repeat(MAX_RESULT_BYTES - 2));
        assert_eq!(kept(&largest).expect("valid"), largest);
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(kept(&nested(128)).expect("valid"), nested(128));
        for wrong in ["{", "1 2", &format!("[{largest}]"), &nested(129), r#"{"t":"cut \ud83d"}"#] {
            assert_eq!(kept(wrong).expect_err("refused").field(), Some("result"));
        }
    }
}
