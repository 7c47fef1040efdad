//! The client that sends spans over HTTP.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient as Client, HttpError, Request, Response};

use super::TelemetryError;
use crate::domain::error::causes;
use crate::tls::system_roots;

/// Why the last request failed. The exporter leaves it out of its error.
#[derive(Clone, Debug, Default)]
pub(super) struct Cause(Arc<Mutex<Option<String>>>);

impl Cause {
    /// Why the last request failed; none if it got an answer.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, cause: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }
}

/// A client that trusts the certificates of the system. It blocks, as the thread that exports expects.
#[derive(Debug)]
pub(super) struct HttpClient {
    client: reqwest::blocking::Client,
    cause: Cause,
}

impl HttpClient {
    /// A client whose requests may take this long, and which tells why they fail.
    pub(super) fn new(timeout: Duration, cause: Cause) -> Result<Self, TelemetryError> {
        // On a thread of its own, because a client starts a runtime.
        let client = std::thread::scope(|scope| scope.spawn(|| client(timeout)).join())
            .unwrap_or_else(|_| Err(TelemetryError::Client("building it panicked".into())))?;
        Ok(Self { client, cause })
    }
}

#[async_trait::async_trait]
impl Client for HttpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Its URL can have secrets.
        let sent = self.client.send_bytes(request).await.map_err(without_url);
        self.cause.set(sent.as_ref().err().map(|error| causes(&**error)));
        sent
    }
}

fn client(timeout: Duration) -> Result<reqwest::blocking::Client, TelemetryError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TelemetryError::Client(error.into()))?
        // What cannot be read of them is logged later: there is no log yet.
        .with_root_certificates(system_roots().roots())
        .with_no_client_auth();
    let client = reqwest::blocking::Client::builder().timeout(timeout).tls_backend_preconfigured(tls).build();
    client.map_err(|error| TelemetryError::Client(error.into()))
}

fn without_url(error: HttpError) -> HttpError {
    match error.downcast::<reqwest::Error>() {
        Ok(error) => error.without_url().into(),
        Err(error) => error,
    }
}
