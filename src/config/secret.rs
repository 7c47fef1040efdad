//! Values that must not be printed or logged.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// A secret, or a text that may contain one. `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret from a setting. `env:NAME` names an environment variable. `file:PATH` names a file; one
    /// newline at its end is removed. Any other text is the secret itself. The error says what is missing, to
    /// continue "but ...".
    pub(super) fn read(setting: &str, environment: &BTreeMap<String, Self>) -> Result<Self, String> {
        if let Some(name) = setting.strip_prefix("env:") {
            let value = environment.get(name).filter(|value| !value.0.is_empty());
            return value.cloned().ok_or_else(|| format!("the environment variable {name} is not set"));
        }
        let Some(path) = setting.strip_prefix("file:") else { return Ok(Self(setting.to_owned())) };
        let mut value = std::fs::read_to_string(path)
            .map_err(|error| format!("the file {path} cannot be read: {error}"))?;
        if value.ends_with('\n') {
            value.pop();
        }
        if value.is_empty() { Err(format!("the file {path} is empty")) } else { Ok(Self(value)) }
    }

    /// The secret itself. Do not print or log it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both secrets are equal. Compares digests, so that the time of the comparison reveals nothing
    /// about the secrets.
    pub fn is_same(&self, other: &Self) -> bool {
        Sha256::digest(self.0.as_bytes()) == Sha256::digest(other.0.as_bytes())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_where_the_setting_says() {
        let environment = BTreeMap::from([("NAME".to_owned(), Secret("from env".to_owned()))]);
        let read = |setting: &str| Secret::read(setting, &environment);
        assert_eq!(read("plain").expect("reads").expose(), "plain");
        assert_eq!(read("env:NAME").expect("reads").expose(), "from env");
        assert!(read("env:OTHER").is_err());
        let file = tempfile::NamedTempFile::new().expect("a file");
        let setting = format!("file:{}", file.path().display());
        assert!(read(&setting).expect_err("is empty").contains("is empty"));
        std::fs::write(file.path(), "from file\n\n").expect("writes");
        assert_eq!(read(&setting).expect("reads").expose(), "from file\n", "one newline is cut");
        assert!(read("file:/no/such/file").is_err());
    }

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
