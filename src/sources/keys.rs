//! The keys with which requests are verified, and how they are written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use ring::signature::{self, VerificationAlgorithm};
use serde::Deserialize;

use super::hex;
use crate::domain::secret::Secret;

/// The keys of a source.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The secrets. The first one signs, any verifies.
    pub secrets: Vec<Secret>,
    /// Public keys, as text.
    pub public_keys: Vec<String>,
    /// The token of the handshake.
    pub verify_token: Option<Secret>,
}

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeyEncoding {
    /// The bytes of the text.
    Text,
    /// Base64, padded or not.
    Base64,
    /// Base64 after `whsec_` or `whpk_`, which may be absent, as Standard Webhooks writes it.
    Whsec,
    /// Hexadecimal digits.
    Hex,
}

/// An algorithm of signatures with public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SignatureAlgorithm {
    Ed25519,
    /// With SHA-256; the signature in ASN.1 DER.
    EcdsaP256,
    /// With SHA-256; the signature as r and s of 32 bytes each.
    EcdsaP256Fixed,
    /// PKCS #1 v1.5 with SHA-1.
    RsaSha1,
    /// PKCS #1 v1.5 with SHA-256.
    RsaSha256,
}

impl SignatureAlgorithm {
    pub(super) fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ed25519 => &signature::ED25519,
            Self::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::EcdsaP256Fixed => &signature::ECDSA_P256_SHA256_FIXED,
            Self::RsaSha1 => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Self::RsaSha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        }
    }

    /// Whether some bytes have the form of a key of this algorithm.
    fn fits(self, key: &[u8]) -> bool {
        match self {
            Self::Ed25519 => key.len() == 32,
            Self::EcdsaP256 | Self::EcdsaP256Fixed => key.len() == 65 && key[0] == 4,
            // A sequence of two integers, as PKCS #1 says.
            Self::RsaSha1 | Self::RsaSha256 => element(key, 0x30)
                .and_then(|(content, rest)| rest.is_empty().then_some(content))
                .and_then(|content| element(content, 0x02))
                .and_then(|(_, rest)| element(rest, 0x02))
                .is_some_and(|(_, rest)| rest.is_empty()),
        }
    }
}

/// The bytes of a secret. The error continues "it must be ...".
pub(super) fn secret(text: &str, encoding: KeyEncoding) -> Result<Vec<u8>, &'static str> {
    let key = match encoding {
        KeyEncoding::Text => Some(text.as_bytes().to_vec()),
        KeyEncoding::Base64 => base64(text),
        KeyEncoding::Whsec => base64(without_prefix(text)),
        KeyEncoding::Hex => hex::decode(&text.to_ascii_lowercase()),
    };
    let allowed = match encoding {
        KeyEncoding::Text => "a text that is not empty",
        KeyEncoding::Base64 => "in base64, as the sender shows it",
        KeyEncoding::Whsec => "in base64, with or without whsec_ before it, as the sender shows it",
        KeyEncoding::Hex => "hexadecimal digits, as the sender shows it",
    };
    key.filter(|key| !key.is_empty()).ok_or(allowed)
}

/// The bytes of a public key as the algorithm takes them. The text is PEM, or the key as `encoding` says; the key is
/// bare or a `SubjectPublicKeyInfo`. The error continues "it must be ...".
pub(super) fn public_key(
    text: &str,
    encoding: KeyEncoding,
    algorithm: SignatureAlgorithm,
) -> Result<Vec<u8>, &'static str> {
    let text = text.trim();
    let key = if text.starts_with("-----BEGIN") {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        base64(&lines.collect::<String>())
    } else {
        match encoding {
            KeyEncoding::Hex => hex::decode(&text.to_ascii_lowercase()),
            KeyEncoding::Text | KeyEncoding::Base64 | KeyEncoding::Whsec => base64(without_prefix(text)),
        }
    };
    let key = key.ok_or(match encoding {
        KeyEncoding::Hex => "a public key in hexadecimal digits, or in PEM",
        _ => "a public key in base64, or in PEM",
    })?;
    if algorithm.fits(&key) {
        return Ok(key);
    }
    let bare = subject_public_key(&key).filter(|key| algorithm.fits(key)).map(<[u8]>::to_vec);
    bare.ok_or(match algorithm {
        SignatureAlgorithm::Ed25519 => "a public key of Ed25519",
        SignatureAlgorithm::EcdsaP256 | SignatureAlgorithm::EcdsaP256Fixed => {
            "a public key of the elliptic curve P-256"
        }
        SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::RsaSha256 => "a public key of RSA",
    })
}

fn without_prefix(text: &str) -> &str {
    // Supabase shows `v1,whsec_...`.
    let text = text.strip_prefix("v1,").unwrap_or(text);
    text.strip_prefix("whsec_").or_else(|| text.strip_prefix("whpk_")).unwrap_or(text)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD_PAD_INDIFFERENT.decode(text).ok()
}

/// The key in a `SubjectPublicKeyInfo` (RFC 5280): a sequence of the algorithm and a string of bits.
fn subject_public_key(der: &[u8]) -> Option<&[u8]> {
    let (content, _) = element(der, 0x30).filter(|(_, rest)| rest.is_empty())?;
    let (_, after) = element(content, 0x30)?;
    let (bits, _) = element(after, 0x03).filter(|(_, rest)| rest.is_empty())?;
    bits.strip_prefix(&[0])
}

/// The content of a DER element with this tag at the beginning, and what follows the element.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, length) = (*der.first()?, *der.get(1)?);
    let (length, start) = match length {
        0..=0x7f => (usize::from(length), 2),
        0x81 => (usize::from(*der.get(2)?), 3),
        0x82 => ((usize::from(*der.get(2)?) << 8) | usize::from(*der.get(3)?), 4),
        _ => return None,
    };
    (found == tag).then_some(())?;
    der.get(start..)?.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _};

    use super::*;
    use crate::sources::fixture::RSA_PUBLIC_KEY;

    #[test]
    fn a_secret_is_decoded_as_the_sender_writes_it() {
        for (text, encoding, bytes) in [
            ("s3cret", KeyEncoding::Text, &b"s3cret"[..]),
            ("aGk=", KeyEncoding::Base64, b"hi"),
            ("aGk", KeyEncoding::Base64, b"hi"),
            ("whsec_aGk=", KeyEncoding::Whsec, b"hi"),
            ("aGk", KeyEncoding::Whsec, b"hi"),
            ("v1,whsec_aGk=", KeyEncoding::Whsec, b"hi"),
            ("6869", KeyEncoding::Hex, b"hi"),
            ("4AFF", KeyEncoding::Hex, b"\x4a\xff"),
        ] {
            assert_eq!(secret(text, encoding).as_deref(), Ok(bytes), "{text}");
        }
        for (text, encoding) in [
            ("", KeyEncoding::Text),
            ("a b", KeyEncoding::Base64),
            ("whsec_", KeyEncoding::Whsec),
            ("xyz", KeyEncoding::Hex),
        ] {
            assert!(secret(text, encoding).is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_key_is_read_bare_and_as_subject_public_key_info() {
        for (algorithm, of) in [
            (SignatureAlgorithm::Ed25519, &PKCS_ED25519),
            (SignatureAlgorithm::EcdsaP256, &PKCS_ECDSA_P256_SHA256),
        ] {
            let pair = KeyPair::generate_for(of).expect("a key");
            let bare = pair.public_key_raw().to_vec();
            let encoded = STANDARD_PAD_INDIFFERENT.encode(pair.subject_public_key_info());
            for text in [pair.public_key_pem(), encoded] {
                assert_eq!(public_key(&text, KeyEncoding::Base64, algorithm), Ok(bare.clone()), "{text}");
            }
            assert_eq!(public_key(&hex::encode(&bare), KeyEncoding::Hex, algorithm), Ok(bare));
        }
        assert!(public_key(RSA_PUBLIC_KEY, KeyEncoding::Base64, SignatureAlgorithm::RsaSha256).is_ok());
        assert!(public_key(RSA_PUBLIC_KEY, KeyEncoding::Base64, SignatureAlgorithm::Ed25519).is_err());
        assert!(public_key("aGk=", KeyEncoding::Base64, SignatureAlgorithm::RsaSha256).is_err());
        assert!(
            public_key("-----BEGIN PUBLIC KEY-----", KeyEncoding::Hex, SignatureAlgorithm::Ed25519).is_err()
        );
    }
}
