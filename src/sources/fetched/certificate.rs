//! Reads the certificate of a sender.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;
use x509_cert::{Certificate, TbsCertificate};

use super::{FetchedKey, PublicKey};

/// The algorithm of keys of RSA (RFC 8017, appendix A.1).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The common name of a subject (RFC 4519).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The key of a certificate in PEM that is for an accepted name. Certificates after the first one are those of
/// authorities, and not read: TLS proves where the answer is from.
pub(super) fn read(pem: &[u8], is_name: fn(&str) -> bool) -> Result<FetchedKey, &'static str> {
    const UNREADABLE: &str = "has a certificate that cannot be read";
    // The answer is nothing else than certificates, such as a page that quotes one.
    if !pem.trim_ascii_start().starts_with(b"-----BEGIN CERTIFICATE-----") {
        return Err("is no certificate in PEM");
    }
    let der = CertificateDer::from_pem_slice(pem).map_err(|_| "is no certificate in PEM")?;
    let certificate = Certificate::from_der(&der).map_err(|_| UNREADABLE)?.tbs_certificate;
    if !names(&certificate).ok_or(UNREADABLE)?.iter().any(|name| is_name(name)) {
        return Err("has a certificate for another name");
    }
    let info = &certificate.subject_public_key_info;
    let key = info.subject_public_key.as_bytes().filter(|_| info.algorithm.oid == RSA);
    let key = key.ok_or("has a certificate whose key is not one of RSA")?.to_vec();
    let validity = &certificate.validity;
    let valid = (moment(validity.not_before), moment(validity.not_after));
    Ok(FetchedKey { id: None, key: PublicKey::RsaDer(key), valid: valid.0.zip(valid.1).ok_or(UNREADABLE)? })
}

/// The DNS names that the certificate is for; the common names of its subject if it has none. None if they cannot be
/// read.
fn names(certificate: &TbsCertificate) -> Option<Vec<String>> {
    if let Some((_, SubjectAltName(names))) = certificate.get::<SubjectAltName>().ok()? {
        let names = names.into_iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            _ => None,
        });
        return Some(names.collect());
    }
    let attributes = certificate.subject.0.iter().flat_map(|names| names.0.iter());
    let names = attributes.filter(|attribute| attribute.oid == COMMON_NAME);
    names.map(|name| String::from_utf8(name.value.value().to_vec()).ok()).collect()
}

fn moment(time: Time) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok()
}
