//! How hookbox is reached: its URL, the token, and the authorities that are trusted.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::domain::secret::Secret;
use crate::tls::{CertificateProblem, system_roots};

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
    /// What is shown to a hookbox that wants a certificate; none to show nothing.
    pub identity: Option<Identity>,
    /// How long an answer may take; none for the usual time. For completions, which must not keep a shell waiting.
    pub answer_time: Option<Duration>,
}

/// The certificate of a client.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, then those between it and its authority, as PEM.
    pub certificates: String,
    /// The private key of the certificate, as PEM.
    pub key: Secret,
}

/// Why a client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The token has characters that no token has.
    #[error("HOOKBOX_TOKEN is not a token: it may only have visible ASCII characters")]
    Token,
    /// The file with certificates has none, or has a mistake.
    #[error("the file of the authorities has no certificates in PEM")]
    Authorities,
    /// The file with the certificate of the client has none, or has a mistake.
    #[error("the file of the client's certificate has no certificate in PEM")]
    Certificate,
    /// The file with the key of the client has none, or has a mistake.
    #[error("the file of the client's key has no private key in PEM without a passphrase")]
    Key,
    /// The certificate of the client is none that TLS can show. The text says why.
    #[error("the client's certificate cannot be used: {0}")]
    Unusable(String),
    /// The key is not that of the certificate, or of a kind that is not known.
    #[error("the client's key cannot be used with its certificate")]
    Identity(#[source] rustls::Error),
    /// TLS does not take its settings.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The client does not take its settings.
    #[error("cannot set up the HTTP client")]
    Client(#[from] reqwest::Error),
}

impl SetupError {
    /// Why a certificate and its key cannot be shown.
    fn of_identity(error: rustls::Error) -> Self {
        match CertificateProblem::of(&error) {
            Some(problem) => Self::Unusable(problem.to_string()),
            None => Self::Identity(error),
        }
    }
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
            None => roots_for(&self.url),
        };
        let client = client_builder(roots, self.identity.as_ref())?;
        let client = client.redirect(reqwest::redirect::Policy::none());
        Ok((client.build()?, headers))
    }

    /// What is wrong with the certificates of authorities that the connection needs, if something is.
    pub(super) fn problem_of_authorities(&self) -> Option<&'static str> {
        if self.authorities.is_none() { problem_of_authorities(&self.url) } else { None }
    }
}

/// The certificates of the system's authorities for connections to this URL; none for `http`. Reading them takes some
/// milliseconds of a command.
pub(super) fn roots_for(url: &Url) -> Arc<RootCertStore> {
    if needs_authorities(url) { system_roots().roots() } else { Arc::new(RootCertStore::empty()) }
}

/// What is wrong with the certificates of the system's authorities, if something is, and a connection to this URL needs
/// them.
pub(super) fn problem_of_authorities(url: &Url) -> Option<&'static str> {
    if needs_authorities(url) { system_roots().problem() } else { None }
}

/// Redirects are not followed, so no other URL counts.
fn needs_authorities(url: &Url) -> bool {
    url.scheme() == "https"
}

impl Identity {
    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, SetupError> {
        let read =
            CertificateDer::pem_slice_iter(self.certificates.as_bytes()).collect::<Result<Vec<_>, _>>();
        read.ok().filter(|chain| !chain.is_empty()).ok_or(SetupError::Certificate)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, SetupError> {
        PrivateKeyDer::from_pem_slice(self.key.expose().as_bytes()).map_err(|_| SetupError::Key)
    }
}

/// A client that takes nothing from the environment, and shows a certificate to servers that want one.
pub(super) fn client_builder(
    roots: Arc<RootCertStore>,
    identity: Option<&Identity>,
) -> Result<reqwest::ClientBuilder, SetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut tls = match identity {
        None => tls.with_no_client_auth(),
        Some(identity) => tls
            .with_client_auth_cert(identity.chain()?, identity.private_key()?)
            .map_err(SetupError::of_identity)?,
    };
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

/// The value of the header that shows a token. Errors: `Token`.
pub fn bearer(token: &Secret) -> Result<HeaderValue, SetupError> {
    let is_valid = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    let mut value = value.ok().filter(|_| is_valid).ok_or(SetupError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
