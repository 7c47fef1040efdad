//! Values that must not be printed or logged.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What is shown in place of a secret. The settings take no secret that is this text: it was copied from what hides one.
pub const HIDDEN: &str = "***";

/// A secret, or a text that may contain one. `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret itself. Do not print or log it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both secrets are equal. Compares digests in constant time, so that the time of the comparison reveals
    /// nothing about the secrets.
    pub fn is_same(&self, other: &Self) -> bool {
        let digest = |secret: &Self| -> [u8; 32] { Sha256::digest(secret.0.as_bytes()).into() };
        digest(self)[..].ct_eq(&digest(other)[..]).into()
    }
}

/// Compares as [`is_same`](Secret::is_same) does.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret("hidden".to_owned())), "***");
    }

    #[test]
    fn secrets_are_the_same_exactly_if_their_texts_are() {
        let secret = |text: &str| Secret(text.to_owned());
        assert!(secret("hidden").is_same(&secret("hidden")));
        assert!(!secret("hidden").is_same(&secret("hidde")));
        assert!(!secret("hidden").is_same(&secret("")));
    }
}
