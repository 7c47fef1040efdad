//! What is around hookbox: the servers of senders, and the names of targets.

use std::sync::Arc;

use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::handlers::http::{Http, Resolver};
use hookbox::internals::keys::Network;
use tokio::runtime::Handle;

use super::home::{Home, Store};
use super::{Hookbox, START};

/// What is around hookbox.
pub(crate) struct Outside {
    pub(super) network: Network,
    /// Looks up the names of targets; none for the resolver of the system.
    pub(super) resolver: Option<Arc<Resolver>>,
}

impl From<Network> for Outside {
    fn from(network: Network) -> Self {
        Self { network, resolver: None }
    }
}

impl Outside {
    /// The handler `http`, which sends its requests in this runtime.
    pub(super) fn http(&self, runtime: Handle) -> Http {
        match &self.resolver {
            Some(resolver) => Http::with_resolver(runtime, Arc::clone(resolver)),
            None => Http::new(runtime),
        }
    }
}

impl Hookbox {
    /// Starts in the home of an earlier hookbox, at a time of day, with test servers in place of those of senders.
    pub(crate) fn at_in(home: Home, now: &str, settings: &[(&'static str, &str)], network: Network) -> Self {
        let clock = Arc::new(ManualClock::new(now.parse().unwrap()));
        Self::by(home, Arc::clone(&clock), clock, settings, network)
    }

    /// With these `[[routes]]`. This resolver looks up the names of their targets.
    pub(crate) fn with_resolver(store: Store, routes: &str, resolver: Arc<Resolver>) -> Self {
        let clock = Arc::new(ManualClock::new(START.parse().unwrap()));
        let outside = Outside { network: Network::system(), resolver: Some(resolver) };
        Self::by(Home::new(store, routes), Arc::clone(&clock), clock, &[], outside)
    }
}
