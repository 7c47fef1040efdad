//! Reads the PEM files of `[tls]`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use x509_cert::der::Decode as _;

use super::own::OwnOrSigned;
use super::unusable::{self, Content, USABLE_KEYS};
use super::{CertificateProblem, provider};
use crate::bounded_file;

/// The protocols that REST and gRPC offer, the preferred one first.
const REST_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];
const GRPC_PROTOCOLS: &[&[u8]] = &[b"h2"];

/// What may be before text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The PEM files that the settings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate of the server, followed by those of the authorities between it and a trusted one.
    pub cert: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The authorities that sign the certificates of clients; none if clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// A member of `[tls]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// `cert`.
    Cert,
    /// `key`.
    Key,
    /// `client_ca`.
    ClientCa,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", .path.display())]
pub struct LoadError {
    /// The member that names the file.
    pub member: Member,
    /// The file.
    pub path: PathBuf,
    /// The problem, to continue "but ...".
    pub problem: String,
}

/// A certificate with its key, and what the ports need of them.
#[derive(Clone)]
pub struct Loaded {
    pub(super) files: Files,
    /// Of the content of all files.
    digest: [u8; 32],
    pub(super) key: Arc<CertifiedKey>,
    pub(super) rest: Arc<ServerConfig>,
    pub(super) grpc: Arc<ServerConfig>,
    /// The beginning of the validity of the certificate; none if it cannot be read.
    pub(super) not_before: Option<Timestamp>,
    /// The end of the validity of the certificate; none if it cannot be read.
    pub(super) not_after: Option<Timestamp>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Reads the files. Blocks. Errors: a file cannot be read, does not have what it should, or the key does not fit
    /// the certificate.
    pub fn read(files: &Files) -> Result<Self, LoadError> {
        let cert_file = PemFile::read(Member::Cert, &files.cert)?;
        let key_file = PemFile::read(Member::Key, &files.key)?;
        let client_ca = files.client_ca.as_deref();
        let client_ca_file = client_ca.map(|path| PemFile::read(Member::ClientCa, path)).transpose()?;
        let key = Arc::new(certified_key(&cert_file, &key_file)?);

        let failed =
            |error: rustls::Error| cert_file.wrong(format_args!("TLS cannot be set up with it: {error}"));
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let builder = match &client_ca_file {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(file.roots()?), provider())
                        .build()
                        .map_err(|error| {
                            file.wrong(format_args!("its certificates cannot be used: {error}"))
                        })?;
                builder.with_client_cert_verifier(Arc::new(OwnOrSigned::new(&key, verifier)))
            }
        };
        let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&key))));
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        };
        let mut digest = Sha256::new();
        for file in [Some(&cert_file), Some(&key_file), client_ca_file.as_ref()].into_iter().flatten() {
            digest.update((file.pem.len() as u64).to_be_bytes());
            digest.update(&file.pem);
        }
        let [not_before, not_after] = key.cert.first().map_or([None, None], validity);
        Ok(Self {
            files: files.clone(),
            digest: digest.finalize().into(),
            rest: offering(REST_PROTOCOLS),
            grpc: offering(GRPC_PROTOCOLS),
            not_before,
            not_after,
            key,
        })
    }

    /// What is wrong with the certificate at this time; none if it is valid then.
    pub fn not_valid(&self, now: Timestamp) -> Option<String> {
        let cert = self.files.cert.display();
        if let Some(until) = self.not_after.filter(|until| *until < now) {
            Some(format!(
                "the certificate in {cert} has expired: it was valid until {until}; clients refuse it"
            ))
        } else {
            let from = self.not_before.filter(|from| now < *from)?;
            Some(format!(
                "the certificate in {cert} is not valid before {from}; clients refuse it until then"
            ))
        }
    }

    /// Whether both were read from the same files with the same content.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.files == other.files && self.digest == other.digest
    }
}

/// The content of a file.
struct PemFile<'a> {
    member: Member,
    path: &'a Path,
    pem: Vec<u8>,
}

impl<'a> PemFile<'a> {
    fn read(member: Member, path: &'a Path) -> Result<Self, LoadError> {
        let mut file = Self { member, path, pem: Vec::new() };
        let bytes = bounded_file::read(path, bounded_file::PEM_BYTES)
            .map_err(|error| file.wrong(format_args!("it cannot be read: {error}")))?;
        // Some editors put it there, and the parser then overlooks the first section.
        file.pem = bytes.strip_prefix(BYTE_ORDER_MARK).map(<[u8]>::to_vec).unwrap_or(bytes);
        Ok(file)
    }

    fn wrong(&self, problem: impl fmt::Display) -> LoadError {
        LoadError { member: self.member, path: self.path.to_owned(), problem: problem.to_string() }
    }

    /// The certificates in the file; at least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, LoadError> {
        let certificates = CertificateDer::pem_slice_iter(&self.pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.unusable(Content::Certificates, &error))?;
        if certificates.is_empty() {
            Err(self.unusable(Content::Certificates, &pem::Error::NoItemsFound))
        } else {
            Ok(certificates)
        }
    }

    fn unusable(&self, content: Content, error: &pem::Error) -> LoadError {
        self.wrong(unusable::problem(self.path, &self.pem, content, error))
    }

    /// The certificates in the file as those that are trusted.
    fn roots(&self) -> Result<RootCertStore, LoadError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            let added = roots.add(certificate);
            added.map_err(|error| self.wrong(format_args!("a certificate in it is not valid: {error}")))?;
        }
        Ok(roots)
    }
}

fn certified_key(cert: &PemFile<'_>, key: &PemFile<'_>) -> Result<CertifiedKey, LoadError> {
    let chain = cert.certificates()?;
    let private =
        PrivateKeyDer::from_pem_slice(&key.pem).map_err(|error| key.unusable(Content::Key, &error))?;
    // The error says only that it is none of these.
    let private = provider()
        .key_provider
        .load_private_key(private)
        .map_err(|_| key.wrong(format_args!("its key cannot be used: it must be {USABLE_KEYS}")))?;
    let certified = CertifiedKey::new(chain, private);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) if fits_a_later_one(&certified) => {
            let key = key.path.display();
            Err(cert.wrong(format_args!(
                "its certificates are in the wrong order: the one of the key in {key} has to be the first, then the one \
                 that signed it"
            )))
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            let cert = cert.path.display();
            Err(key.wrong(format_args!("its key does not fit the first certificate in {cert}")))
        }
        Err(error) => {
            let problem = CertificateProblem::of(&error);
            let problem = problem.map_or_else(|| error.to_string(), |problem| problem.to_string());
            Err(cert.wrong(format_args!("its first certificate cannot be used: {problem}")))
        }
    }
}

/// Whether the key fits a certificate after the first one.
fn fits_a_later_one(certified: &CertifiedKey) -> bool {
    let fits = |certificate: &CertificateDer<'static>| {
        let alone = CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key));
        alone.keys_match().is_ok()
    };
    certified.cert.iter().skip(1).any(fits)
}

/// The first and the last moment at which a certificate is valid; none for one that cannot be read.
fn validity(certificate: &CertificateDer<'static>) -> [Option<Timestamp>; 2] {
    let Ok(certificate) = x509_cert::Certificate::from_der(certificate) else { return [None, None] };
    let validity = certificate.tbs_certificate.validity;
    [validity.not_before, validity.not_after].map(|time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
        Timestamp::from_second(seconds).ok()
    })
}
