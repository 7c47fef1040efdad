//! Asks the servers of senders: over https alone, without redirects and without proxies.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use url::Url;

use crate::domain::AGENT;
use crate::domain::address::{Refusal, refusal};
use crate::sources::KeyAddress;
use crate::tls::{CertificateProblem, system_roots};

/// The longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The ranges of private addresses. Clouds have their services there too, such as AWS PrivateLink. The certificate of
/// the host proves where an answer is from.
const PRIVATE: [IpNet; 5] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7)),
];

/// How the servers of senders are found, and which certificates they have.
#[derive(Clone)]
pub struct Network {
    resolver: Arc<dyn Resolve>,
    /// The authorities to trust, in PEM; none for those of the system.
    authorities: Option<String>,
}

/// Why a server did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// TLS or HTTP cannot be set up.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There were too many visits in the last minute.
    #[error("too many URLs were visited in the last minute")]
    TooMany,
    /// There was no whole answer in time.
    #[error("there was no whole answer within {0:?}")]
    TooSlow(Duration),
    /// The certificate of the server is not accepted; the text says why.
    #[error("the certificate of the server is not accepted: {0}")]
    Certificate(String),
    /// The request failed.
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    /// The status is another one.
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    /// The answer is too long.
    #[error("the answer has more than {max} bytes", max = MAX_ANSWER_BYTES)]
    TooLong,
    /// The answer has no key; the text continues "the answer ...".
    #[error("the answer {0}")]
    NotAKey(&'static str),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// How long it may be used, if the server says it.
    pub(super) max_age: Option<Duration>,
}

/// An address of a host is refused.
#[derive(Debug, thiserror::Error)]
#[error("{name} resolves to {address}, {kind}, which hookbox does not connect to")]
struct AddressRefused {
    name: String,
    address: IpAddr,
    kind: &'static str,
}

impl Network {
    /// The network of this machine: its resolver, and the authorities that it trusts.
    pub fn system() -> Self {
        Self { resolver: Arc::new(Internet), authorities: None }
    }

    /// A network with other servers than those of the senders, for tests. `authorities` are certificates in PEM.
    pub fn new(resolver: Arc<dyn Resolve>, authorities: String) -> Self {
        Self { resolver, authorities: Some(authorities) }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("authorities", &self.authorities).finish_non_exhaustive()
    }
}

/// The client, made when it is first needed.
#[derive(Debug)]
pub(super) struct Client {
    network: Network,
    made: OnceCell<reqwest::Client>,
}

impl Client {
    pub(super) fn new(network: Network) -> Self {
        Self { network, made: OnceCell::new() }
    }

    /// Asks for a key.
    pub(super) async fn ask(&self, address: &KeyAddress) -> Result<Answer, FetchError> {
        let client = self.get().await?;
        let url = address.url().clone();
        let request = match address.question() {
            None => client.get(url),
            Some(question) => {
                client.post(url).header(CONTENT_TYPE, "application/json").body(question.to_owned())
            }
        };
        let response = send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let max_age = max_age(response.headers());
        Ok(Answer { body: body(response).await?, max_age })
    }

    /// Visits a URL.
    pub(super) async fn visit(&self, url: &Url) -> Result<(), FetchError> {
        let response = send(self.get().await?.get(url.clone())).await?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status()));
        }
        body(response).await.map(drop)
    }

    async fn get(&self) -> Result<&reqwest::Client, FetchError> {
        let make = || async {
            let network = self.network.clone();
            // Reads the certificates of the system.
            let made = tokio::task::spawn_blocking(move || network.client()).await;
            made.map_err(|error| FetchError::Setup(Box::new(error)))?
        };
        self.made.get_or_try_init(make).await
    }
}

impl Network {
    fn client(self) -> Result<reqwest::Client, FetchError> {
        let setup = |error: rustls::Error| FetchError::Setup(Box::new(error));
        let roots = match &self.authorities {
            None => system_roots().or_warn(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten();
                roots.add_parsable_certificates(certificates);
                Arc::new(roots)
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(AGENT)
            .dns_resolver(self.resolver)
            .pool_max_idle_per_host(0)
            .build();
        client.map_err(|error| FetchError::Setup(Box::new(error)))
    }
}

async fn send(request: RequestBuilder) -> Result<Response, FetchError> {
    request.send().await.map_err(failed)
}

fn failed(error: reqwest::Error) -> FetchError {
    let problem = CertificateProblem::of(&error).map(|problem| problem.to_string());
    match problem {
        Some(problem) => FetchError::Certificate(problem),
        // The URL of a visit has a token.
        None => FetchError::Request(error.without_url()),
    }
}

/// The body, if it is not too long.
async fn body(mut response: Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The `max-age` of `Cache-Control` (RFC 9111, section 5.2.2.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(CACHE_CONTROL)?.to_str().ok()?;
    let mut directives = value.split(',').map(str::trim);
    let seconds = directives.find_map(|directive| directive.strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Resolves names by the system. Refuses a name if it has an address that only means something on this machine.
#[derive(Clone, Copy, Debug)]
struct Internet;

impl Resolve for Internet {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect::<Vec<_>>();
            check(&name, &found)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn check(name: &str, addresses: &[SocketAddr]) -> Result<(), AddressRefused> {
    let mut addresses = addresses.iter().map(SocketAddr::ip);
    match addresses.find_map(|address| Some((address, refusal(address, &PRIVATE)?))) {
        None => Ok(()),
        Some((address, Refusal { kind, .. })) => Err(AddressRefused { name: name.to_owned(), address, kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_have_private_addresses_but_no_others_that_are_special() {
        let is_refused = |address: &str| {
            let addresses = ["1.1.1.1", address].map(|text| text.parse::<IpAddr>().expect("an address"));
            check("keys.example", &addresses.map(|address| SocketAddr::new(address, 0))).is_err()
        };
        for address in ["8.8.8.8", "10.0.0.7", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1"] {
            assert!(!is_refused(address), "{address}");
        }
        for address in ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "fe80::1", "::ffff:127.0.0.1"] {
            assert!(is_refused(address), "{address}");
        }
    }

    #[test]
    fn max_age_is_read_from_cache_control() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, reqwest::header::HeaderValue::from_static(value));
            max_age(&headers)
        };
        assert_eq!(of("public, max-age=20183, must-revalidate"), Some(Duration::from_secs(20_183)));
        for value in ["", "no-cache", "max-age=", "max-age=-1", "max-age=x"] {
            assert_eq!(of(value), None, "{value}");
        }
    }
}
