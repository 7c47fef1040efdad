//! Certificates, and clients that trust them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::client::client_builder;

/// The table of settings with a certificate in `server.pem` and `server.key`.
pub(crate) const SETTINGS: &str = "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n";

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        Self(authority.expect("is made"))
    }

    /// The certificate of the authority.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this machine.
    pub(crate) fn issue(&self) -> Issued {
        self.issue_for(&["localhost", "127.0.0.1"])
    }

    /// A certificate for these names.
    pub(crate) fn issue_for(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| ())
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let cert = params.signed_by(&key, &self.0).expect("is signed");
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// A certificate for this machine that expired in 2021.
    pub(crate) fn issue_expired(&self) -> Issued {
        self.issue_with(&["localhost", "127.0.0.1"], |params| {
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }

    /// A client that trusts this authority, shows a certificate, and offers these protocols.
    pub(crate) fn client(&self, shown: Option<&Issued>, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(der(&self.pem())).expect("is valid");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![der(&shown.cert)], key).expect("fits")
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// A sender that trusts this authority.
    pub(crate) fn sender(&self, protocols: &[&str]) -> reqwest::Client {
        sender(self.client(None, protocols))
    }
}

impl Issued {
    /// Writes the files that [`SETTINGS`] names.
    pub(crate) fn write(&self, folder: &Path) {
        std::fs::write(folder.join("server.key"), &self.key).expect("is written");
        std::fs::write(folder.join("server.pem"), &self.cert).expect("is written");
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        der(&self.cert)
    }
}

/// A sender with this TLS.
pub(crate) fn sender(tls: ClientConfig) -> reqwest::Client {
    let builder = client_builder().timeout(std::time::Duration::from_secs(20));
    builder.tls_backend_preconfigured(tls).build().expect("builds")
}

/// Connects to a port of this machine, and does the handshake.
pub(crate) async fn connect(address: SocketAddr, tls: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(tls)).connect(name, TcpStream::connect(address).await?).await
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}
