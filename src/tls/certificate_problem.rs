//! What is wrong with a certificate, in words for people: rustls has only the names of its variants for most of it.

use std::error::Error;
use std::fmt;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::domain::error::chain;

/// How many names of a certificate are shown.
const SHOWN_NAMES: usize = 5;

/// Why a certificate, mostly that of a server, is not accepted. The text continues "the certificate is not accepted:
/// ...".
#[derive(Clone, Copy, Debug)]
pub struct CertificateProblem<'a>(&'a CertificateError);

impl<'a> CertificateProblem<'a> {
    /// The problem with a certificate that has caused an error; none if something else has.
    pub fn of(error: &'a (dyn Error + 'static)) -> Option<Self> {
        chain(error).find_map(|error| match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(problem)) => Some(Self(problem)),
            _ => None,
        })
    }

    /// Whether it can help to trust another authority.
    pub fn is_unknown_authority(&self) -> bool {
        matches!(self.0, CertificateError::UnknownIssuer | CertificateError::BadSignature)
    }
}

impl fmt::Display for CertificateProblem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CertificateError as E;
        let text = match self.0 {
            E::ExpiredContext { not_after, .. } => {
                return write!(f, "it has expired; it was valid until {}", shown(*not_after));
            }
            E::NotValidYetContext { not_before, .. } => {
                let from = shown(*not_before);
                return write!(
                    f,
                    "it is not valid before {from}; if it should be, check the clock of this machine"
                );
            }
            E::NotValidForNameContext { expected, presented } => {
                return write!(f, "it is not for `{}`; {}", expected.to_str(), names(presented));
            }
            E::Other(other) => return of_webpki(&other.to_string(), f),
            E::Expired => "it has expired",
            E::NotValidYet => "it is not valid yet",
            E::NotValidForName => "it is not for this host",
            E::UnknownIssuer => "no authority that is trusted here has signed it",
            E::Revoked => "it is revoked",
            E::BadEncoding => "it is not a valid certificate (X.509)",
            // Also if the authority has been made anew with the same name.
            E::BadSignature => "the authority of that name that is trusted here has not signed it",
            E::UnsupportedSignatureAlgorithmContext { .. }
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                "it is signed by an algorithm that is not supported, such as SHA-1"
            }
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
                "it is not for servers; its extended key usage has to include server authentication"
            }
            E::UnhandledCriticalExtension => "it has a critical extension that is not supported",
            E::ApplicationVerificationFailure => "it is not the expected one",
            other => return write!(f, "it is not valid ({other})"),
        };
        f.write_str(text)
    }
}

/// A problem that rustls passes on from webpki, by the name of its variant, which is all its text.
fn of_webpki(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = match name {
        "CaUsedAsEndEntity" => {
            "it is the certificate of an authority (`CA:TRUE`), which a server cannot use; give the server one that \
             the authority has signed, or a self-signed one with `CA:FALSE`"
        }
        "EndEntityUsedAsCa" => "a certificate that is not one of an authority has signed it",
        "NameConstraintViolation" => "its authority may not sign certificates for its names",
        "PathLenConstraintViolated" => {
            "there are more authorities between it and the trusted one than allowed"
        }
        "UnsupportedCertVersion" => {
            "it is not of version 3 of X.509; make it anew with extensions, as `openssl x509 -req -extfile FILE` does"
        }
        "UnsupportedCriticalExtension" => "it has a critical extension that is not supported",
        other => return write!(f, "it is not valid ({other})"),
    };
    f.write_str(text)
}

/// The names that a certificate is for. `presented` are such as `DnsName("shop.example")`.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "it has no names of hosts (`subjectAltName`)".to_owned();
    }
    let shown = presented.iter().take(SHOWN_NAMES).map(|name| format!("`{}`", without_kind(name)));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match presented.len().saturating_sub(SHOWN_NAMES) {
        0 => format!("it is for {shown}"),
        more => format!("it is for {shown} and {more} more"),
    }
}

fn without_kind(name: &str) -> &str {
    let dns = name.strip_prefix("DnsName(\"").and_then(|rest| rest.strip_suffix("\")"));
    let address = || name.strip_prefix("IpAddress(").and_then(|rest| rest.strip_suffix(')'));
    dns.or_else(address).unwrap_or(name)
}

/// A time as in RFC 3339.
fn shown(time: UnixTime) -> Timestamp {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    fn text(problem: CertificateError) -> String {
        // As a client of TLS over TCP has it.
        let error = io::Error::other(rustls::Error::InvalidCertificate(problem));
        CertificateProblem::of(&error).expect("a problem of a certificate").to_string()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_problem_is_told_in_words() {
        let (time, end) = (at(1_900_000_000), at(1_800_000_000));
        for (problem, expected) in [
            (
                CertificateError::ExpiredContext { time, not_after: end },
                "it has expired; it was valid until 2027-01-15T08:00:00Z",
            ),
            (
                CertificateError::NotValidYetContext { time: end, not_before: time },
                "it is not valid before 2030-03-17T17:46:40Z; if it should be, check the clock of this machine",
            ),
            (CertificateError::UnknownIssuer, "no authority that is trusted here has signed it"),
            (
                CertificateError::BadSignature,
                "the authority of that name that is trusted here has not signed it",
            ),
            (CertificateError::Revoked, "it is revoked"),
            // Without a text of its own.
            (CertificateError::InvalidOcspResponse, "it is not valid (InvalidOcspResponse)"),
        ] {
            assert_eq!(text(problem), expected);
        }
    }

    #[test]
    fn the_first_names_of_a_certificate_for_other_hosts_are_told() {
        let text = |presented: &[&str]| {
            text(CertificateError::NotValidForNameContext {
                expected: "shop.example".try_into().expect("a name"),
                presented: presented.iter().map(|name| (*name).to_owned()).collect(),
            })
        };
        let (dns, address) = ("DnsName(\"a.example\")", "IpAddress(10.0.0.1)");
        assert_eq!(text(&[]), "it is not for `shop.example`; it has no names of hosts (`subjectAltName`)");
        assert_eq!(text(&[dns, address]), "it is not for `shop.example`; it is for `a.example`, `10.0.0.1`");
        let many = text(&[dns; 7]);
        assert!(many.ends_with("`a.example`, `a.example` and 2 more"), "{many}");
    }

    #[test]
    fn an_error_of_something_else_is_no_problem_of_a_certificate() {
        for error in [io::Error::other(rustls::Error::DecryptError), io::ErrorKind::ConnectionReset.into()] {
            assert!(CertificateProblem::of(&error).is_none(), "{error}");
        }
    }
}
