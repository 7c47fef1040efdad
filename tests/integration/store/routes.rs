//! Sample policies of routes, and jobs for those routes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hookbox::internals::domain::breaker::BreakerPolicy;
use hookbox::internals::domain::handler::{HandlerSettings, Http};
use hookbox::internals::domain::policy::{Policies, Policy};
use hookbox::internals::domain::retry::RetryPolicy;
use hookbox::internals::domain::route::{NewJob, OnDeadLetter, OnInterrupt, OrderValue, Rate, RouteName};

/// The default maximum of attempts of a route.
pub(crate) const MAX_ATTEMPTS: u32 = 3;

pub(crate) fn route(name: &str) -> RouteName {
    RouteName::new(name).expect("valid")
}

/// A job for a route, without order.
pub(crate) fn job(name: &str) -> NewJob {
    NewJob { route: route(name), order: None }
}

/// A job for a route, ordered by a value.
pub(crate) fn ordered(name: &str, value: &str) -> NewJob {
    NewJob { route: route(name), order: Some(OrderValue::new(value)) }
}

/// One job of the default route, for tests in which routes do not matter.
pub(crate) fn default_job() -> Vec<NewJob> {
    vec![job(RouteName::DEFAULT)]
}

/// The policy of a route without limits.
pub(crate) fn policy(name: &str) -> Policy {
    Policy {
        route: route(name),
        handler: HandlerSettings::default(),
        timeout: None,
        concurrency: None,
        rate: None,
        retry: RetryPolicy::new(Duration::ZERO, Duration::ZERO, MAX_ATTEMPTS),
        on_dead_letter: OnDeadLetter::Block,
        on_interrupt: OnInterrupt::Retry,
    }
}

/// The policy of the default route with this maximum of attempts.
pub(crate) fn attempts(max_attempts: u32) -> Policy {
    let retry = RetryPolicy::new(Duration::ZERO, Duration::ZERO, max_attempts);
    Policy { retry, ..policy(RouteName::DEFAULT) }
}

/// The policy of a route whose jobs workers elsewhere lease.
pub(crate) fn pulled(name: &str) -> Policy {
    Policy { handler: HandlerSettings::Pull, ..policy(name) }
}

/// The policy of a route with this concurrency.
pub(crate) fn concurrent(name: &str, most: u32) -> Policy {
    Policy { concurrency: NonZeroU32::new(most), ..policy(name) }
}

/// The policy of a route with this rate: a number of starts within a duration.
pub(crate) fn paced(name: &str, quota: u32, window: Duration) -> Policy {
    let quota = NonZeroU32::new(quota).expect("not zero");
    Policy { rate: Some(Rate { quota, window }), ..policy(name) }
}

/// The policy of a route whose dead letters do not block their order value.
pub(crate) fn skipping(name: &str) -> Policy {
    Policy { on_dead_letter: OnDeadLetter::Skip, ..policy(name) }
}

/// The policy of a route whose jobs are dead-lettered if an attempt did not end.
pub(crate) fn never_twice(name: &str) -> Policy {
    Policy { on_interrupt: OnInterrupt::DeadLetter, ..policy(name) }
}

/// The policy of a route with a breaker: it opens after this number of failures in a row, for 10 s at first and for
/// 40 s at most.
pub(crate) fn breaking(name: &str, failures: u32) -> Policy {
    let seconds = Duration::from_secs;
    let http = Http {
        url: "https://hooks.example".parse().expect("a URL"),
        is_url_secret: false,
        headers: Vec::new(),
        secrets: Vec::new(),
        allow: Vec::new(),
        ca: None,
        retry_after_cap: None,
        breaker: BreakerPolicy { failures, base: seconds(10), cap: seconds(40) },
    };
    Policy { handler: HandlerSettings::Http(Arc::new(http)), ..policy(name) }
}

pub(crate) fn in_force(policies: impl IntoIterator<Item = Policy>) -> Arc<Policies> {
    Arc::new(Policies::new(policies))
}
