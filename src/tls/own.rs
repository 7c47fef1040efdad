//! The server's own certificate as a proof between `hookbox serve` and the commands that ask it. Both read the same
//! files, so a certificate needs neither an authority nor the name of the host.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};

use super::{Loaded, provider};

/// How a command checks the certificate of the server that it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerCheck {
    /// It has to be the one in the files of the settings.
    Own,
    /// Not at all, for a command that sends nothing secret: the server may have another certificate than the files,
    /// because they have just changed or are broken.
    Nothing,
}

/// The settings of a client that asks a server with the same settings. With `own`, it also shows the certificate of the
/// server as its own. Errors: rustls refuses the settings, or `Own` was asked for without `own`.
pub fn client_config(own: Option<&Loaded>, check: ServerCheck) -> Result<ClientConfig, Error> {
    let expected = match (check, own) {
        (ServerCheck::Nothing, _) => None,
        (ServerCheck::Own, Some(own)) => own.key.cert.first().cloned(),
        (ServerCheck::Own, None) => return Err(Error::NoCertificatesPresented),
    };
    let provider = provider();
    let verifier = Expected { certificate: expected, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let shown = SingleCertAndKey::from(Arc::clone(&own.key));
            builder.with_client_cert_resolver(Arc::new(shown))
        }
    })
}

/// Accepts one certificate, or any if there is none.
#[derive(Debug)]
struct Expected {
    certificate: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.certificate {
            Some(expected) if expected.as_ref() != end_entity.as_ref() => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Accepts clients with a certificate that an authority of `client_ca` signed, and clients that have the certificate of
/// the server itself and its key.
#[derive(Debug)]
pub(super) struct OwnOrSigned {
    own: Option<CertificateDer<'static>>,
    signed: Arc<dyn ClientCertVerifier>,
}

impl OwnOrSigned {
    pub(super) fn new(own: &CertifiedKey, signed: Arc<dyn ClientCertVerifier>) -> Self {
        Self { own: own.cert.first().cloned(), signed }
    }
}

impl ClientCertVerifier for OwnOrSigned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.own.as_ref().is_some_and(|own| own.as_ref() == end_entity.as_ref()) {
            // The signature, which is checked as for any certificate, proves that the client has the key.
            return Ok(ClientCertVerified::assertion());
        }
        self.signed.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
