//! Looks up the names of targets, for all routes together. A look-up holds a thread until the system ends it, also when
//! the attempts that wait for it have ended. So one runs for each name, and only so many in all.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How many look-ups run at once. tokio has 512 threads for calls that block; the others are left to other parts.
pub(super) const LOOKUPS_AT_ONCE: usize = 256;

/// Looks up the addresses of a name. Their ports are 0.
pub type Resolver = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// The addresses of a name, or why there are none.
pub(super) type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// The look-ups of all routes.
#[derive(Clone)]
pub(super) struct Lookups(Arc<Shared>);

struct Shared {
    resolver: Arc<Resolver>,
    /// The look-ups that have not ended.
    by_name: Mutex<HashMap<String, watch::Receiver<Lookup>>>,
    places: Arc<Semaphore>,
}

/// The state of a look-up.
#[derive(Debug)]
enum Lookup {
    /// Waits for a place.
    Queued,
    Running,
    Ended(Found),
}

impl Lookups {
    pub(super) fn new(resolver: Arc<Resolver>) -> Self {
        let places = Arc::new(Semaphore::new(LOOKUPS_AT_ONCE));
        Self(Arc::new(Shared { resolver, by_name: Mutex::default(), places }))
    }

    /// The addresses of a name. Calls `begun` when the look-up has a place.
    pub(super) async fn addresses(&self, name: &str, begun: impl FnOnce()) -> Found {
        let mut lookup = self.join(name);
        if lookup.wait_for(|lookup| !matches!(lookup, Lookup::Queued)).await.is_ok() {
            begun();
        }
        let ended = lookup.wait_for(|lookup| matches!(lookup, Lookup::Ended(_))).await;
        match ended.as_deref() {
            Ok(Lookup::Ended(found)) => found.clone(),
            // The runtime is shutting down.
            _ => Err(Arc::new(io::Error::other("the look-up was given up"))),
        }
    }

    /// The look-up of a name. Starts one if there is none.
    fn join(&self, name: &str) -> watch::Receiver<Lookup> {
        let mut by_name = self.0.by_name();
        if let Some(lookup) = by_name.get(name) {
            return lookup.clone();
        }
        let place = Arc::clone(&self.0.places).try_acquire_owned().ok();
        let state = if place.is_some() { Lookup::Running } else { Lookup::Queued };
        let (state, lookup) = watch::channel(state);
        tokio::spawn(self.clone().run(name.to_owned(), place, state));
        by_name.insert(name.to_owned(), lookup.clone());
        lookup
    }

    async fn run(self, name: String, place: Option<OwnedSemaphorePermit>, state: watch::Sender<Lookup>) {
        let place = match place {
            Some(place) => Ok(place),
            // No error: the semaphore is never closed.
            None => Arc::clone(&self.0.places).acquire_owned().await,
        };
        state.send_replace(Lookup::Running);
        let found = (self.0.resolver)(name.clone()).await.map_err(Arc::new);
        // First, so that an attempt that begins after the end gets a look-up of its own.
        self.0.by_name().remove(&name);
        state.send_replace(Lookup::Ended(found));
        drop(place);
    }
}

impl Default for Lookups {
    /// Those of the system.
    fn default() -> Self {
        Self::new(Arc::new(|name: String| by_system(name).boxed()))
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

impl Shared {
    fn by_name(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Lookup>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn by_system(name: String) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// Look-ups that end when `gate` gets a permit for each, and how many have been made.
    fn lookups(gate: &Arc<Semaphore>) -> (Lookups, Arc<AtomicUsize>) {
        let (gate, made) = (Arc::clone(gate), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&made);
        let resolver = move |_: String| {
            count.fetch_add(1, Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            let found = async move {
                gate.acquire().await.map_err(io::Error::other)?.forget();
                Ok::<_, io::Error>(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
            };
            found.boxed()
        };
        (Lookups::new(Arc::new(resolver)), made)
    }

    #[tokio::test]
    async fn a_name_has_one_look_up_at_a_time_and_all_waiting_attempts_get_its_addresses() {
        let gate = Arc::new(Semaphore::new(0));
        let (lookups, made) = lookups(&gate);
        let ask = || lookups.addresses("hooks.example", || ());
        let (one, two, ()) = tokio::join!(ask(), ask(), async { gate.add_permits(1) });
        assert_eq!(one.expect("is found"), two.expect("is found"));
        assert_eq!(made.load(Ordering::SeqCst), 1);
        gate.add_permits(1);
        ask().await.expect("is found");
        assert_eq!(made.load(Ordering::SeqCst), 2, "the end of an earlier one is not kept");
    }

    #[tokio::test]
    async fn no_more_look_ups_run_at_once_than_the_limit() {
        let gate = Arc::new(Semaphore::new(0));
        let (lookups, _) = lookups(&gate);
        let is_running = |lookup: &Lookup| matches!(lookup, Lookup::Running);
        for number in 0..LOOKUPS_AT_ONCE {
            assert!(is_running(&lookups.join(&format!("{number}.example")).borrow()), "{number}");
        }
        let mut next = lookups.join("next.example");
        assert!(matches!(*next.borrow(), Lookup::Queued));
        gate.add_permits(1);
        let begun = tokio::time::timeout(Duration::from_secs(30), next.wait_for(is_running)).await;
        assert!(begun.expect("in time").is_ok());
    }
}
