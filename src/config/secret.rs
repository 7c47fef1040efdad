//! Reads secrets from where a setting says they are, and hides them in what is shown.

use std::collections::BTreeMap;
use std::path::Path;

use crate::bounded_file;
use crate::domain::hidden::is_hidden;
use crate::domain::secret::{HIDDEN, Secret};

/// The most bytes of a file with a secret.
const SECRET_BYTES: u64 = 1024 * 1024;

/// What is wrong with a URL for which [`has_hidden_password`] is true, to continue "but ...".
pub(super) const HIDDEN_PASSWORD: &str = "its password `***` stands for one that was hidden; write the password, \
     or env:NAME or file:PATH that has the URL";

/// Reads a secret from a setting. `env:NAME` names an environment variable, `file:PATH` a file; one newline at the end
/// of either, LF or CRLF, is removed. Any other text is the secret itself. A text is refused if it is [`HIDDEN`], or
/// begins or ends with a character that cannot be seen. The error says what is missing or wrong, to continue "but ...".
pub(crate) fn read(setting: &str, environment: &BTreeMap<String, Secret>) -> Result<Secret, String> {
    let (holder, text) = text_of(setting, environment)?;
    checked(&holder, &text)
}

/// As [`read`], for a public key: white space around it means nothing, and is removed.
pub(super) fn read_public_key(
    setting: &str,
    environment: &BTreeMap<String, Secret>,
) -> Result<Secret, String> {
    let (holder, text) = text_of(setting, environment)?;
    checked(&holder, text.trim())
}

/// A text without the newline, LF or CRLF, at its end.
pub(super) fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
}

/// The text that a setting means, and what has it, in words.
fn text_of(setting: &str, environment: &BTreeMap<String, Secret>) -> Result<(String, String), String> {
    let (holder, text) = if let Some(name) = setting.strip_prefix("env:") {
        let holder = format!("the environment variable {name}");
        let Some(value) = environment.get(name) else { return Err(format!("{holder} is not set")) };
        (holder, value.expose().to_owned())
    } else if let Some(path) = setting.strip_prefix("file:") {
        let holder = format!("the file {path}");
        let text = bounded_file::read_text(Path::new(path), SECRET_BYTES)
            .map_err(|error| format!("{holder} cannot be read: {error}"))?;
        (holder, text)
    } else {
        return Ok(("the text".to_owned(), setting.to_owned()));
    };
    let text = without_newline(&text);
    if text.is_empty() { Err(format!("{holder} is empty")) } else { Ok((holder, text.to_owned())) }
}

/// A text as a secret. Errors: it was written in place of one, or has more than the secret.
fn checked(holder: &str, text: &str) -> Result<Secret, String> {
    if text == HIDDEN {
        return Err(format!(
            "{holder} is `{HIDDEN}`, which stands for a secret that was hidden; write the secret itself, env:NAME or \
             file:PATH"
        ));
    }
    let is_invisible = |character: &char| character.is_whitespace() || is_hidden(*character);
    let first = text.chars().next().filter(is_invisible).map(|first| ("begins", first));
    let last = || text.chars().next_back().filter(is_invisible).map(|last| ("ends", last));
    let Some((verb, found)) = first.or_else(last) else { return Ok(Secret::from(text.to_owned())) };
    let name = match found {
        '\u{feff}' => "a byte-order mark",
        '\n' | '\r' => "a line break",
        '\t' => "a tab",
        ' ' => "a space",
        _ => "an invisible character",
    };
    Err(format!("{holder} {verb} with {name} (U+{:04X}); remove it", u32::from(found)))
}

/// Where a setting says that its value is; none if it is the value itself.
pub(super) fn place(setting: &str) -> Option<&str> {
    (setting.starts_with("env:") || setting.starts_with("file:")).then_some(setting)
}

/// A setting of a secret as `hookbox config` prints it: where the secret is, but never the secret itself.
pub(super) fn shown(setting: &str) -> &str {
    place(setting).unwrap_or(HIDDEN)
}

/// A URL with its password hidden; any other text unchanged. If the URL is not valid, for example because the
/// password has an unescaped `/` or `?`, rather hides too much than too little.
pub fn without_password(value: &str) -> String {
    hide_passwords(value, |_| ())
}

/// Whether a password in a URL is the text that [`without_password`] writes in place of one.
pub(super) fn has_hidden_password(url: &str) -> bool {
    let mut is_hidden = false;
    hide_passwords(url, |password| is_hidden |= password == HIDDEN);
    is_hidden
}

/// Hides the passwords in a URL, and calls `found` with each.
fn hide_passwords(value: &str, mut found: impl FnMut(&str)) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if value.contains('@') => (String::new(), value),
        None => return value.to_owned(),
    };
    let shown = match rest.rsplit_once('@').map(|(info, host)| (info.split_once(':'), host)) {
        Some((Some((user, password)), host)) => {
            found(password);
            format!("{user}:{HIDDEN}@{host}")
        }
        _ => rest.to_owned(),
    };
    let Some((address, parameters)) = shown.split_once('?') else {
        return format!("{scheme}{shown}");
    };
    let shown = parameters.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, password)) if name.to_ascii_lowercase().contains("password") => {
            found(password);
            format!("{name}={HIDDEN}")
        }
        _ => parameter.to_owned(),
    });
    format!("{scheme}{address}?{}", shown.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_where_the_setting_says() {
        let no_environment = BTreeMap::new();
        assert_eq!(read("plain", &no_environment).expect("reads").expose(), "plain");
        assert!(read("env:NAME", &no_environment).expect_err("is not there").ends_with("NAME is not set"));
        assert!(read("file:/no/such/file", &no_environment).is_err());
        for written in ["a secret", "a secret\n", "a secret\r\n"] {
            for (place, read) in from_everywhere(written) {
                assert_eq!(read.expect("reads").expose(), "a secret", "{written:?} in {place}");
            }
        }
        for written in ["", "\n", "\r\n"] {
            for (place, read) in from_everywhere(written) {
                assert!(read.expect_err("has none").ends_with(" is empty"), "{written:?} in {place}");
            }
        }
    }

    /// Reads a secret that is in a variable, and one that is in a file. Each with its place in words.
    fn from_everywhere(written: &str) -> [(&'static str, Result<Secret, String>); 2] {
        let environment = BTreeMap::from([("NAME".to_owned(), Secret::from(written.to_owned()))]);
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), written).expect("writes");
        let setting = format!("file:{}", file.path().display());
        [("a variable", read("env:NAME", &environment)), ("a file", read(&setting, &environment))]
    }

    #[test]
    fn a_secret_with_an_invisible_first_or_last_character_is_refused() {
        for (written, told) in [
            ("\u{feff}s3cret", "begins with a byte-order mark (U+FEFF); remove it"),
            ("\ts3cret", "begins with a tab (U+0009)"),
            ("s3cret ", "ends with a space (U+0020)"),
            ("s3cret\n\n", "ends with a line break (U+000A)"),
            ("s3cret\r\n\r\n", "ends with a line break (U+000A)"),
            ("s3cret\r", "ends with a line break (U+000D)"),
            ("s3cret\u{200b}\n", "ends with an invisible character (U+200B)"),
        ] {
            for (place, read) in from_everywhere(written) {
                let refused = read.expect_err(place);
                assert!(refused.contains(told) && !refused.contains("s3cret"), "{refused}");
            }
        }
        let literal = read(" s3cret", &BTreeMap::new()).expect_err("has a space");
        assert_eq!(literal, "the text begins with a space (U+0020); remove it");
        let inner = "s3 cret\nw\u{feff}ith more";
        assert_eq!(read(inner, &BTreeMap::new()).expect("reads").expose(), inner);
    }

    #[test]
    fn white_space_around_a_public_key_is_removed() {
        let key = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----";
        let read = |text: &str| read_public_key(text, &BTreeMap::new());
        assert_eq!(read(&format!("\n {key}\n\n")).expect("reads").expose(), key);
        assert!(read(&format!("\u{feff}{key}")).expect_err("is refused").contains("byte-order mark"));
        assert!(read(" ***\n").expect_err("is refused").contains("stands for a secret"));
    }

    #[test]
    fn the_text_that_is_shown_in_place_of_a_secret_is_refused() {
        let told = "is `***`, which stands for a secret that was hidden; write the secret itself, env:NAME or file:PATH";
        let literal = read(shown("s3cret"), &BTreeMap::new()).expect_err("is refused");
        assert_eq!(literal, format!("the text {told}"));
        for (place, read) in from_everywhere("***\n") {
            assert!(read.expect_err(place).ends_with(told), "{place}");
        }
        assert!(read("****", &BTreeMap::new()).is_ok());
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
            assert_eq!(has_hidden_password(shown), shown.contains("***"), "{shown}");
            assert!(!has_hidden_password(value), "{value}");
        }
    }
}
