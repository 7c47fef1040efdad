//! Sets up TLS with rustls, by the parameters `sslmode` and `sslrootcert` of a connection URL.
//!
//! The parameters have the same meaning as in libpq
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>), with one
//! difference: without `sslrootcert`, the certificates that the system trusts are the roots.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::bounded_file;
use crate::tls::system_roots;

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing. The connection is encrypted, but the server is not authenticated.
    Nothing,
    /// That a trusted authority signed the certificate.
    Authority,
    /// That a trusted authority signed the certificate, and that it names the server.
    Full,
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of `sslrootcert` cannot be read.
    #[error("cannot read certificates from {}, which `sslrootcert` names", .path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// The error of reading the file, or what is wrong with its PEM.
        source: io::Error,
    },
    /// There are no trusted root certificates.
    #[error("there are no trusted certificates to check the server with; name a file in `sslrootcert`")]
    NoRoots,
    /// rustls refused the settings.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// A TLS connector with this check. The roots are the certificates in the file `roots`, or those that the
/// system trusts.
pub(super) fn connector(check: Check, roots: Option<&Path>) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let config = match check {
        Check::Full => builder.with_root_certificates(trusted(roots)?).with_no_client_auth(),
        Check::Authority | Check::Nothing => {
            let chain = match check {
                Check::Nothing => None,
                _ => Some(
                    WebPkiServerVerifier::builder_with_provider(trusted(roots)?, Arc::clone(&provider))
                        .build()
                        .map_err(|_| TlsError::NoRoots)?,
                ),
            };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyName { chain, provider }))
                .with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn trusted(file: Option<&Path>) -> Result<Arc<RootCertStore>, TlsError> {
    let roots = match file {
        Some(path) => Arc::new(certificates(path)?),
        None => system_roots().or_warn(),
    };
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn certificates(path: &Path) -> Result<RootCertStore, TlsError> {
    let unreadable = |source| TlsError::Roots { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    let pem = bounded_file::read(path, bounded_file::PEM_BYTES).map_err(unreadable)?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unreadable(io::Error::other(error)))?;
        roots.add(certificate).map_err(TlsError::Setup)?;
    }
    Ok(roots)
}

/// Accepts a certificate for any server name. With `chain`, only if a trusted authority signed it.
#[derive(Debug)]
struct AnyName {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The verifier checks the chain before the name, so the chain is valid here.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
