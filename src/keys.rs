//! Fetches the keys of senders, for requests that cannot be verified without.
//!
//! `sources` says which key a request needs, and from which hosts it may come. Besides keys, only the URLs that confirm a
//! subscription are visited. A forged request can name a key that is not there, so fetches are few, short and shared.

mod cache;
mod network;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use self::cache::Cache;
use self::network::Client;
pub use self::network::{FetchError, Network};
use crate::domain::clock::Clock;
use crate::domain::error::causes;
use crate::domain::verdict::{Cause, Verdict};
use crate::domain::webhook::Source;
use crate::sources::{KeyAddress, Known, KnownKeys, Request, Rules, Verification, Visit, verify_with};
use crate::telemetry::repeated::Repeated;

/// How often a request is verified: a source may have several schemes, each with a key of its own.
const MAX_ROUNDS: usize = 4;

/// How long a fetch or a visit may take, with the connection and the whole answer.
pub const FETCH_TIME: Duration = Duration::from_secs(5);

static FETCHES: Repeated = Repeated::new("the keys of senders can be fetched again");
static REFUSALS: Repeated = Repeated::new("new keys that requests name are fetched at once again");

/// Verifies requests, and fetches the keys that it needs for that. Clones share the keys.
#[derive(Clone, Debug)]
pub struct KeyFetcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    client: Client,
    cache: Mutex<Cache>,
}

impl KeyFetcher {
    /// A fetcher that knows no keys yet. Connects to nothing until a key is wanted. `seed` decides which keys are fetched
    /// first when there are too many.
    pub fn new(clock: Arc<dyn Clock>, network: Network, seed: u64) -> Self {
        let cache = Mutex::new(Cache::new(seed));
        Self(Arc::new(Shared { clock, client: Client::new(network), cache }))
    }

    /// Verifies a request of a source. Waits for a key if that is not known: at most [`FETCH_TIME`] for each. A key that
    /// cannot be fetched is the cause `key_unavailable`; the sender should try again then. Must be called in a tokio
    /// runtime.
    pub async fn verify(&self, source: &Source, request: &Request<'_>, rules: &Rules) -> Verdict {
        for _ in 0..MAX_ROUNDS {
            let verification = verify_with(request, rules, self);
            match verification {
                Verification::Verdict(verdict) => return verdict,
                Verification::Needs(address) => {
                    if !self.fetch(source, &address).await {
                        break;
                    }
                }
            }
        }
        Verdict::Unverified(Cause::KeyUnavailable)
    }

    /// Visits a URL by GET, such as the one that confirms a subscription. Errors: it is not answered 2xx; the sender
    /// should try again then.
    pub async fn confirm(&self, visit: &Visit) -> Result<(), FetchError> {
        let now = self.0.clock.monotonic();
        if !self.cache().may_visit(now) {
            return Err(FetchError::TooMany);
        }
        self.in_time(self.0.client.visit(visit.url())).await
    }

    /// Waits until a key is fetched, or cannot be. Callers that want the same key share one fetch, which goes on if
    /// they give up. False if the source has to wait for its turn with new keys.
    async fn fetch(&self, source: &Source, address: &KeyAddress) -> bool {
        let begin = self.cache().begin(source, address, self.0.clock.monotonic());
        for (address, ended) in begin.fetches {
            tokio::spawn(self.clone().run(address, ended));
        }
        let Some(mut running) = begin.running else {
            REFUSALS.failed(|times| {
                tracing::warn!(
                    times,
                    source = source.as_str(),
                    server = address.server().as_str(),
                    "requests of a source name more new keys than hookbox fetches; the answers ask their senders to try again"
                );
            });
            return false;
        };
        REFUSALS.works();
        // An error says that the fetch is over.
        let _ = running.changed().await;
        true
    }

    /// Fetches a key and remembers it, or that it cannot be fetched. `ended` is dropped at the end.
    async fn run(self, address: KeyAddress, ended: watch::Sender<()>) {
        let answer = self.in_time(self.0.client.ask(&address)).await;
        let fetched = answer.and_then(|answer| {
            let keys = address.read(&answer.body).map_err(FetchError::NotAKey)?;
            Ok((Arc::new(keys), answer.max_age))
        });
        match &fetched {
            Ok(_) => FETCHES.works(),
            Err(error) => FETCHES.failed(|times| {
                tracing::warn!(
                    times,
                    server = address.server().as_str(),
                    url = %address.url(),
                    error = %causes(error),
                    "a key of a sender cannot be fetched; requests that need it are not verified"
                );
            }),
        }
        let now = self.0.clock.monotonic();
        self.cache().end(&address, now, fetched.ok());
        drop(ended);
    }

    /// The answer to a request, if it comes in time.
    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.0.clock.sleep(FETCH_TIME) => Err(FetchError::TooSlow(FETCH_TIME)),
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownKeys for KeyFetcher {
    fn look(&self, address: &KeyAddress) -> Known {
        let now = self.0.clock.monotonic();
        self.cache().look(address, now)
    }
}
