//! Values that must not be printed or logged.

use std::collections::BTreeMap;
use std::fmt;

/// A secret. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret from a setting. `env:NAME` names an environment variable. `file:PATH` names a file; one
    /// newline at its end is removed. Any other text is the secret itself. The error says what is missing, to
    /// continue "but ...".
    pub(super) fn read(setting: &str, environment: &BTreeMap<String, String>) -> Result<Self, String> {
        if let Some(name) = setting.strip_prefix("env:") {
            let value = environment.get(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| format!("the environment variable {name} is not set"))?;
            return Ok(Self(value.clone()));
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
        let environment = BTreeMap::from([("NAME".to_owned(), "from env".to_owned())]);
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
}
