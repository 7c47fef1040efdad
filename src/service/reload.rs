//! The settings in force, and their reload: either all new ones take effect, or none.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Mutex;

use crate::access::{Access, Tokens};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::policy::PoliciesInForce;
use crate::routes::Routes;
use crate::sources::SourceMap;
use crate::store::Operations;
use crate::tls::{Certificates, Loaded};

/// The settings that were read for a reload.
#[derive(Debug)]
pub struct Reloaded {
    /// The routes.
    pub routes: Arc<Routes>,
    /// The sources.
    pub sources: Arc<SourceMap>,
    /// The tokens.
    pub tokens: Arc<Tokens>,
    /// The certificates; none without TLS.
    pub tls: Option<Loaded>,
    /// The settings as `hookbox config` prints them, without anything secret.
    pub text: Arc<str>,
    /// The names of settings that have changed since the start but take effect only after a restart.
    pub needs_restart: Vec<String>,
}

/// Reads the settings again. Blocks. The error lists every mistake.
pub type ReadSettings = dyn Fn() -> std::result::Result<Reloaded, String> + Send + Sync;

/// The routes, the sources and the tokens of one version of the settings.
#[derive(Debug)]
pub struct Snapshot {
    /// The routes.
    pub routes: Arc<Routes>,
    /// The sources.
    pub sources: Arc<SourceMap>,
    /// The tokens.
    pub tokens: Arc<Tokens>,
}

struct InForce {
    routes: Arc<Routes>,
    sources: Arc<SourceMap>,
    text: Arc<str>,
}

/// The settings in force that a reload can replace: routes with their policies, sources, certificates, and the settings
/// as text. Tokens are in [`Access`].
pub struct SettingsInForce {
    /// A reload holds it while it sets the tokens, too.
    in_force: RwLock<InForce>,
    /// The policies of these routes, shared with the worker.
    policies: Arc<PoliciesInForce>,
    /// None without TLS.
    certificates: Option<Arc<Certificates>>,
    read: Arc<ReadSettings>,
    /// Held during a reload, so that reloads run one at a time.
    reloading: Mutex<()>,
}

impl fmt::Debug for SettingsInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsInForce").field("routes", &self.routes()).finish_non_exhaustive()
    }
}

impl SettingsInForce {
    /// Puts `routes` in force. A reload gets its routes from `read`.
    pub fn new(routes: Arc<Routes>, read: Arc<ReadSettings>) -> Self {
        let policies = Arc::new(PoliciesInForce::new(routes.policies()));
        let in_force = RwLock::new(InForce { routes, sources: Arc::default(), text: Arc::default() });
        Self { in_force, policies, certificates: None, read, reloading: Mutex::default() }
    }

    /// Puts sources in force.
    #[must_use]
    pub fn with_sources(mut self, sources: Arc<SourceMap>) -> Self {
        self.in_force.get_mut().unwrap_or_else(PoisonError::into_inner).sources = sources;
        self
    }

    /// Takes the text of the settings in force.
    #[must_use]
    pub fn with_text(mut self, text: Arc<str>) -> Self {
        self.in_force.get_mut().unwrap_or_else(PoisonError::into_inner).text = text;
        self
    }

    /// Has a reload put the certificates in force, too.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Option<Arc<Certificates>>) -> Self {
        self.certificates = certificates;
        self
    }

    /// The policies of the routes in force; a reload updates them.
    pub fn policies(&self) -> Arc<PoliciesInForce> {
        Arc::clone(&self.policies)
    }

    /// The routes in force now.
    pub fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.in_force().routes)
    }

    /// The sources in force now.
    pub fn sources(&self) -> Arc<SourceMap> {
        Arc::clone(&self.in_force().sources)
    }

    /// The settings in force now, as `hookbox config` prints them.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.in_force().text)
    }

    /// The routes, the sources and the tokens in force now, all of the same version. `access` is the one that reloads
    /// set.
    pub fn snapshot(&self, access: &Access) -> Snapshot {
        let in_force = self.in_force();
        Snapshot {
            routes: Arc::clone(&in_force.routes),
            sources: Arc::clone(&in_force.sources),
            tokens: access.tokens(),
        }
    }

    /// Reads the settings and puts their routes in force: in the worker, in the store, then for matching. So no
    /// webhook gets a job of a route that the worker or the store does not know yet. Puts their sources in force, and
    /// their tokens in `access`, together with the routes for matching. Errors: `SettingsInvalid`, or those of the
    /// store; then all that is in force stays.
    pub async fn reload(&self, store: &(impl Operations + ?Sized), access: &Access) -> Result<Reload> {
        let _reloading = self.reloading.lock().await;
        let read = Arc::clone(&self.read);
        let reloaded = tokio::task::spawn_blocking(move || read()).await.map_err(Error::internal)?;
        let Reloaded { routes, sources, tokens, tls, text, needs_restart } =
            reloaded.map_err(|mistakes| {
                Error::new(
                    Reason::SettingsInvalid,
                    format!("the settings have mistakes; the settings in force stay:\n{mistakes}"),
                )
            })?;
        // The worker knows the old and the new routes until the store has changed. Otherwise it would have to give
        // back what the store claims meanwhile.
        let before = self.policies.get();
        self.policies.set(Arc::new(routes.policies().and_missing(&before)));
        if let Err(error) = store.set_policies(routes.policies()).await {
            self.policies.set(before);
            return Err(error);
        }
        self.policies.set(routes.policies());
        let reload = Reload { routes: routes.policies().iter().count(), needs_restart };
        self.set(InForce { routes, sources, text }, access, tokens);
        if let (Some(certificates), Some(tls)) = (&self.certificates, tls) {
            certificates.take_in(tls);
        }
        Ok(reload)
    }

    fn in_force(&self) -> RwLockReadGuard<'_, InForce> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts routes, sources, their text and tokens in force at once for [`snapshot`](Self::snapshot).
    fn set(&self, new: InForce, access: &Access, tokens: Arc<Tokens>) {
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        access.set(tokens);
        *in_force = new;
    }
}

/// The result of a reload.
#[derive(Clone, Debug)]
pub struct Reload {
    /// How many routes are in force.
    pub routes: usize,
    /// The names of settings that have changed since the start but take effect only after a restart.
    pub needs_restart: Vec<String>,
}
