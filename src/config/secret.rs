//! Reads secrets from where a setting says they are, and hides them in what is shown.

use std::collections::BTreeMap;
use std::path::Path;

use crate::bounded_file;
use crate::domain::secret::Secret;

/// The most bytes of a file with a secret.
const SECRET_BYTES: u64 = 1024 * 1024;

/// Reads a secret from a setting. `env:NAME` names an environment variable. `file:PATH` names a file; one newline
/// at its end, LF or CRLF, is removed. Any other text is the secret itself. The error says what is missing, to continue
/// "but ...".
pub(crate) fn read(setting: &str, environment: &BTreeMap<String, Secret>) -> Result<Secret, String> {
    if let Some(name) = setting.strip_prefix("env:") {
        let value = environment.get(name).filter(|value| !value.expose().is_empty());
        return value.cloned().ok_or_else(|| format!("the environment variable {name} is not set"));
    }
    let Some(path) = setting.strip_prefix("file:") else { return Ok(Secret::from(setting.to_owned())) };
    let mut value = bounded_file::read_text(Path::new(path), SECRET_BYTES)
        .map_err(|error| format!("the file {path} cannot be read: {error}"))?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    if value.is_empty() { Err(format!("the file {path} is empty")) } else { Ok(Secret::from(value)) }
}

/// Where a setting says that its value is; none if it is the value itself.
pub(super) fn place(setting: &str) -> Option<&str> {
    (setting.starts_with("env:") || setting.starts_with("file:")).then_some(setting)
}

/// A setting of a secret as `hookbox config` prints it: where the secret is, but never the secret itself.
pub(super) fn shown(setting: &str) -> &str {
    place(setting).unwrap_or("***")
}

/// A URL with its password hidden; any other text unchanged. If the URL is not valid, for example because the
/// password has an unescaped `/` or `?`, rather hides too much than too little.
pub fn without_password(value: &str) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if value.contains('@') => (String::new(), value),
        None => return value.to_owned(),
    };
    let shown = match rest.rsplit_once('@').map(|(info, host)| (info.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{user}:***@{host}"),
        _ => rest.to_owned(),
    };
    let Some((address, parameters)) = shown.split_once('?') else {
        return format!("{scheme}{shown}");
    };
    let shown = parameters.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
        _ => parameter.to_owned(),
    });
    format!("{scheme}{address}?{}", shown.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_where_the_setting_says() {
        let environment = BTreeMap::from([("NAME".to_owned(), Secret::from("from env".to_owned()))]);
        let read = |setting: &str| read(setting, &environment);
        assert_eq!(read("plain").expect("reads").expose(), "plain");
        assert_eq!(read("env:NAME").expect("reads").expose(), "from env");
        assert!(read("env:OTHER").is_err());
        let file = tempfile::NamedTempFile::new().expect("a file");
        let setting = format!("file:{}", file.path().display());
        assert!(read(&setting).expect_err("is empty").contains("is empty"));
        for (written, secret) in [
            ("from file", "from file"),
            ("from file\n\n", "from file\n"),
            ("from file\r\n", "from file"),
            ("from file\r\n\r\n", "from file\r\n"),
            ("from file\r", "from file\r"),
        ] {
            std::fs::write(file.path(), written).expect("writes");
            assert_eq!(read(&setting).expect("reads").expose(), secret, "one newline of {written:?} is cut");
        }
        assert!(read("file:/no/such/file").is_err());
    }

    #[test]
    fn the_place_of_a_secret_is_shown_and_the_secret_is_not() {
        assert_eq!(
            ["env:NAME", "file:/run/secret", "s3cret"].map(shown),
            ["env:NAME", "file:/run/secret", "***"]
        );
    }

    #[test]
    fn a_password_in_a_url_is_hidden() {
        for (value, shown) in [
            ("postgres://me:s3cret@db:5432/box", "postgres://me:***@db:5432/box"),
            ("postgres://me:s3:c@ret@db", "postgres://me:***@db"),
            ("postgres://me:s3/c?r@et@db/box?a=b", "postgres://me:***@db/box?a=b"),
            ("postgres://me@db/box", "postgres://me@db/box"),
            ("postgres://db/box?PassWord=s3cret", "postgres://db/box?PassWord=***"),
            ("postgres://me:s3cret@db?sslmode=require", "postgres://me:***@db?sslmode=require"),
            ("postgres://db/box?user=me&password=s3cret&a=b", "postgres://db/box?user=me&password=***&a=b"),
            ("postgres://me:s3/cr?et@db/box", "postgres://me:***@db/box"),
            ("postgres//me:s3cret@db/box", "postgres//me:***@db/box"),
            ("sqlite://a:b@c.db", "sqlite://a:***@c.db"),
            ("30s", "30s"),
        ] {
            assert_eq!(without_password(value), shown);
        }
    }
}
