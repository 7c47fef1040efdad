//! Why a file of TLS cannot be used, in words that help: rustls has those of its parser.

use std::path::Path;

use rustls::pki_types::pem::Error;

/// The keys of servers that can be used.
pub(super) const USABLE_KEYS: &str =
    "RSA with 2048 to 4096 bits, ECDSA with the curve P-256 or P-384, or Ed25519";

/// What a file should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Certificates.
    Certificates,
    /// A private key.
    Key,
}

/// Why there is nothing to use in a file, to continue "but ...". `error` is that of the parser.
pub(super) fn problem(path: &Path, bytes: &[u8], content: Content, error: &Error) -> String {
    let path = path.display();
    let (name, label, command) = match content {
        Content::Certificates => ("certificate", "CERTIFICATE", "openssl x509"),
        Content::Key => ("private key", "PRIVATE KEY", "openssl pkey"),
    };
    if content == Content::Key && is_encrypted(bytes) {
        return format!(
            "its private key is encrypted, and hookbox has no passphrase for it; write it without one: \
             `openssl pkey -in {path} -out NEW_FILE`"
        );
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return "it is text in UTF-16; save it as UTF-8".to_owned();
    }
    // A SEQUENCE of ASN.1, with lengths that are no text.
    if bytes.first() == Some(&0x30) && std::str::from_utf8(bytes).is_err() {
        return format!("it is DER, not PEM; convert it: `{command} -inform DER -in {path} -out NEW_FILE`");
    }
    match error {
        Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("it is cut off: the line `-----END {label}-----` is missing; copy the whole file")
        }
        Error::IllegalSectionStart { .. } => {
            format!("a line in it begins with `-----BEGIN `, but is not like `-----BEGIN {label}-----`")
        }
        Error::Base64Decode(_) => {
            "what is between the lines of BEGIN and END is not base64; copy the whole file".to_owned()
        }
        _ => format!("there is no {name} in it; it should have the line `-----BEGIN {label}-----`"),
    }
}

/// Whether a file in PEM has an encrypted key, of PKCS #8 or in the older form of OpenSSL.
fn is_encrypted(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
}
