//! Looks up the names of targets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

/// Looks up the addresses of a name. Their ports are 0.
pub type Resolver = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// The look-ups of all routes.
#[derive(Clone)]
pub(super) struct Lookups(Arc<Resolver>);

impl Lookups {
    pub(super) fn new(resolver: Arc<Resolver>) -> Self {
        Self(resolver)
    }

    /// The addresses of a name.
    pub(super) async fn addresses(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        (self.0)(name.to_owned()).await
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

async fn by_system(name: String) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect())
}
