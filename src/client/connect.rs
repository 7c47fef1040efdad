//! How hookbox is reached: its URL, the token, and the authorities that are trusted.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::domain::secret::Secret;
use crate::tls::system_roots;

/// How long it may take to connect: to look up the name, for TCP and for TLS.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How the client names itself.
const AGENT: &str = concat!("hookbox-client/", env!("CARGO_PKG_VERSION"));

/// How hookbox is reached.
#[derive(Clone, Debug)]
pub struct Connection {
    /// `http://` or `https://`.
    pub url: Url,
    /// The token of the requests.
    pub token: Option<Secret>,
    /// The certificates of the authorities that are trusted, as PEM; none to trust those that the system trusts.
    pub authorities: Option<String>,
    /// How long an answer may take; none for the usual time. For completions, which must not keep a shell waiting.
    pub answer_time: Option<Duration>,
}

/// Why a client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The token has characters that no token has.
    #[error("the token is not valid: it may only have visible ASCII characters")]
    Token,
    /// The file with certificates has none, or has a mistake.
    #[error("the file has no certificates in PEM")]
    Authorities,
    /// TLS does not take its settings.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The client does not take its settings.
    #[error("cannot set up the HTTP client")]
    Client(#[from] reqwest::Error),
}

impl Connection {
    /// The client, and the headers of every request.
    pub(super) fn client(&self) -> Result<(reqwest::Client, HeaderMap), SetupError> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, bearer(token)?);
        }
        let roots = match &self.authorities {
            Some(pem) => Arc::new(authorities(pem)?),
            None => system_roots().roots(),
        };
        let client = client_builder(roots)?.redirect(reqwest::redirect::Policy::none());
        Ok((client.build()?, headers))
    }

    /// What is wrong with the certificates of authorities that the connection needs, if something is.
    pub(super) fn problem_of_authorities(&self) -> Option<&'static str> {
        problem_of_authorities(&self.url).filter(|_| self.authorities.is_none())
    }
}

/// What is wrong with the certificates of the system's authorities, if something is, and a connection to this URL needs
/// them.
pub(super) fn problem_of_authorities(url: &Url) -> Option<&'static str> {
    system_roots().problem().filter(|_| url.scheme() == "https")
}

/// A client that takes nothing from the environment.
pub(super) fn client_builder(roots: Arc<RootCertStore>) -> Result<reqwest::ClientBuilder, SetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls);
    Ok(client.no_proxy().referer(false).connect_timeout(CONNECT_TIME))
}

fn authorities(pem: &str) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|_| SetupError::Authorities)?)?;
    }
    if roots.is_empty() { Err(SetupError::Authorities) } else { Ok(roots) }
}

fn bearer(token: &Secret) -> Result<HeaderValue, SetupError> {
    let is_valid = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    let mut value = value.ok().filter(|_| is_valid).ok_or(SetupError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
