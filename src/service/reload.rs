//! The routes in force, and how new ones are taken in: whole or not at all.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use crate::domain::error::{Error, Reason, Result};
use crate::domain::policy::PoliciesInForce;
use crate::routes::Routes;
use crate::store::Operations;

/// What reading the settings anew gave.
#[derive(Debug)]
pub struct Reloaded {
    /// The routes.
    pub routes: Arc<Routes>,
    /// Settings that were changed, but need a restart to take effect.
    pub needs_restart: Vec<String>,
}

/// Reads the settings anew. Blocks. The error names every mistake.
pub type ReadSettings = dyn Fn() -> std::result::Result<Reloaded, String> + Send + Sync;

/// The routes in force.
pub struct RoutesInForce {
    routes: RwLock<Arc<Routes>>,
    /// Their policies, for the worker.
    policies: Arc<PoliciesInForce>,
    read: Arc<ReadSettings>,
    /// Held while new routes are taken in.
    reloading: Mutex<()>,
}

impl fmt::Debug for RoutesInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutesInForce").field("routes", &self.get()).finish_non_exhaustive()
    }
}

impl RoutesInForce {
    /// Begins with `routes`; `read` gives later ones.
    pub fn new(routes: Arc<Routes>, read: Arc<ReadSettings>) -> Self {
        let policies = Arc::new(PoliciesInForce::new(routes.policies()));
        Self { routes: RwLock::new(routes), policies, read, reloading: Mutex::default() }
    }

    /// The policies of the routes in force, now and later.
    pub fn policies(&self) -> Arc<PoliciesInForce> {
        Arc::clone(&self.policies)
    }

    /// The routes in force now.
    pub fn get(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the settings and takes in their routes: the store first, so that no webhook gets a job
    /// of a route that the store does not know. Answers how many routes there are, and the settings
    /// that need a restart. Errors: `SettingsInvalid`, and then nothing has changed.
    pub async fn reload(&self, store: &(impl Operations + ?Sized)) -> Result<Reload> {
        let _reloading = self.reloading.lock().await;
        let read = Arc::clone(&self.read);
        let reloaded = tokio::task::spawn_blocking(move || read()).await.map_err(Error::internal)?;
        let Reloaded { routes, needs_restart } = reloaded.map_err(|mistakes| {
            Error::new(
                Reason::SettingsInvalid,
                format!("the settings have mistakes, so the ones in force stay:\n{mistakes}"),
            )
        })?;
        // The worker knows a new route before any of its jobs can be claimed.
        let before = self.policies.get();
        self.policies.set(routes.policies());
        if let Err(error) = store.set_policies(routes.policies()).await {
            self.policies.set(before);
            return Err(error);
        }
        let reload = Reload { routes: routes.policies().iter().count(), needs_restart };
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = routes;
        Ok(reload)
    }
}

/// What a reload did.
#[derive(Clone, Debug)]
pub struct Reload {
    /// How many routes are in force.
    pub routes: usize,
    /// Settings that were changed, but need a restart to take effect.
    pub needs_restart: Vec<String>,
}
