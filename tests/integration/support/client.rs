//! Talks to a hookbox process as a sender does.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

/// How long one answer may take; a process that was killed does not answer at all.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long something may take that happens by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks at it.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// As how much time a pause of the machine counts at most.
const TICK: Duration = Duration::from_millis(100);

/// TLS that trusts no server. With that of reqwest, each client would read the certificates that the system trusts, and
/// could not be made on a system that has none.
static NO_TRUST: LazyLock<ClientConfig> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
});

/// A client without a proxy, for `http`. With `https` it needs TLS of its own, see `support/tls.rs`.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(ClientConfig::clone(&NO_TRUST))
}

/// A sender with connections of its own.
pub(crate) fn client() -> reqwest::Client {
    client_builder().timeout(ANSWER_TIME).build().expect("builds")
}

/// Posts a webhook under a key. After an error it is unknown whether it was stored.
pub(crate) async fn post(client: &reqwest::Client, url: &str, key: &str) -> reqwest::Result<Response> {
    client
        .post(url)
        .json(&json!({ "idempotency_key": key, "event_type": "order.paid", "payload": { "key": key } }))
        .send()
        .await
}

/// Gets what must be there.
pub(crate) async fn get(client: &reqwest::Client, url: &str) -> Value {
    let response = client.get(url).send().await.expect("answers");
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    response.json().await.expect("is JSON")
}

/// Looks again and again until something is found, and fails if it takes too long.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits for something that must happen within a time. Returns `None` if it does not. A pause of the machine, in which
/// nothing goes on, counts as no more than a tenth of a second, however long it is.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut left = limit;
    while !left.is_zero() {
        let tick = left.min(TICK);
        if let Ok(done) = tokio::time::timeout(tick, work.as_mut()).await {
            return Some(done);
        }
        left -= tick;
    }
    None
}
