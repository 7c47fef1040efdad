//! The digest of a token. The settings have it in place of the token, so that reading them does not disclose the token.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const BYTES: usize = 32;

/// The SHA-256 of a token. Tokens are long and random, so that a faster hash than those for passwords is safe.
#[derive(Clone)]
pub struct Digest([u8; BYTES]);

impl Digest {
    /// The digest of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Reads 64 hex digits; none for any other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<_>>>()?;
        let bytes = digits.chunks_exact(2).map(|pair| ((pair[0] << 4) | pair[1]) as u8).collect::<Vec<_>>();
        (digits.len() == 2 * BYTES).then(|| bytes.try_into().ok().map(Self)).flatten()
    }

    /// 64 hex digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl PartialEq for Digest {
    /// Takes the same time for any two digests.
    fn eq(&self, other: &Self) -> bool {
        self.0[..].ct_eq(&other.0[..]).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_from_its_digits_and_from_nothing_else() {
        let digest = Digest::of(b"hbx_test");
        let hex = digest.to_hex();
        assert_eq!(hex.len(), 64);
        assert_eq!(Digest::from_hex(&hex), Some(digest.clone()));
        assert_eq!(Digest::from_hex(&hex.to_uppercase()), Some(digest.clone()));
        assert_ne!(digest, Digest::of(b"hbx_other"));
        for wrong in ["", &hex[1..], &format!("{hex}0"), &format!("g{}", &hex[1..]), &"ż".repeat(64)] {
            assert_eq!(Digest::from_hex(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{digest:?}"), "***");
    }
}
