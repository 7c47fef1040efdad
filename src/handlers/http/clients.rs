//! The clients of a route: one that keeps its connections for later requests, and one that makes a connection for each
//! request.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::guard::Guard;
use super::lookups::Lookups;
use super::measure::MeasureConnections;
use super::targets::SetupError;
use crate::domain::handler::{Http as Settings, IDLE_CONNECTIONS};
use crate::tls::system_roots;

/// How long it may take to connect: to look up the name, for TCP and for TLS.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long a connection waits for a request until it is closed. Many servers close theirs after 5 s.
const IDLE_TIME: Duration = Duration::from_secs(4);

/// The largest head of an answer over HTTP/2. Over HTTP/1.1, hyper takes as much.
const HEAD_BYTES: u32 = 408 * 1024;

/// How long a connection of HTTP/2 brings nothing, while requests wait for their answers, until a ping is sent.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long the target has to answer a ping, if the timeout of the route is not longer.
const PING_TIME: Duration = Duration::from_secs(10);

/// Two clients with the same settings. They take nothing from the environment, follow no redirects, have no cookies, and
/// do not decompress.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    /// Keeps connections for later requests.
    pub(super) keeping: Client,
    /// Makes a connection for each request.
    pub(super) fresh: Client,
}

impl Clients {
    /// Clients without connections.
    pub(super) fn new(
        settings: &Settings,
        lookups: &Lookups,
        connect_time: Duration,
        ping_time: Duration,
    ) -> Result<Self, SetupError> {
        let roots = match &settings.ca {
            Some(ca) => authorities(ca)?,
            // Without any, only `http://` works.
            None => system_roots().or_warn(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = |idle_connections: usize| {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .dns_resolver(Guard::new(&settings.allow, lookups.clone()))
                .connector_layer(MeasureConnections)
                .connect_timeout(connect_time)
                .pool_max_idle_per_host(idle_connections)
                .pool_idle_timeout(IDLE_TIME)
                .http2_max_header_list_size(HEAD_BYTES)
                .http2_keep_alive_interval(PING_EVERY)
                .http2_keep_alive_timeout(ping_time)
                .build()
        };
        Ok(Self { keeping: client(IDLE_CONNECTIONS)?, fresh: client(0)? })
    }
}

/// How long a target has to answer a ping. A process that computes an answer may not read pings, so the time is not
/// shorter than the timeout of the attempt.
pub(super) fn ping_time(timeout: Option<Duration>) -> Duration {
    timeout.map_or(PING_TIME, |timeout| timeout.max(PING_TIME))
}

/// The certificates of authorities in a text of PEM.
fn authorities(pem: &str) -> Result<Arc<RootCertStore>, SetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|_| SetupError::Authorities)?)?;
    }
    Ok(Arc::new(roots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_as_long_as_its_attempt_to_answer_a_ping() {
        for (timeout, expected) in [(None, 10), (Some(1), 10), (Some(60), 60), (Some(120), 120)] {
            let expected = Duration::from_secs(expected);
            assert_eq!(ping_time(timeout.map(Duration::from_secs)), expected, "{timeout:?}");
        }
    }
}
