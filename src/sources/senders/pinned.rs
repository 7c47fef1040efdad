//! URLs that a stranger names, and that are asked only if their host is one of a sender; and those of the settings.

use url::Url;

/// The most characters of a URL.
const MAX_URL_CHARS: usize = 2048;

/// The URL, if it is one of https at a host that `is_host` accepts: without user, password, fragment and port. None
/// also if the URL is not written as a URL is printed. So nothing depends on what a parser forgives, such as a
/// backslash, an escaped dot or a capital in the host.
pub(in crate::sources) fn pinned(text: &str, is_host: impl FnOnce(&str) -> bool) -> Option<Url> {
    if text.len() > MAX_URL_CHARS {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_plain = url.as_str() == text
        && url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    (is_plain && url.domain().is_some_and(is_host)).then_some(url)
}

/// Whether a part of a path is letters, digits and hyphens.
pub(super) fn is_file_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_urls_of_the_host_are_taken() {
        let is_host = |host: &str| host == "keys.example.com";
        for text in ["https://keys.example.com/a.pem", "https://keys.example.com/?Action=A&Topic=a:b"] {
            assert_eq!(pinned(text, is_host).expect(text).as_str(), text);
        }
        let long = format!("https://keys.example.com/{}", "a".repeat(MAX_URL_CHARS));
        for text in [
            "",
            "/a.pem",
            "http://keys.example.com/a.pem",
            "ftp://keys.example.com/a.pem",
            "HTTPS://keys.example.com/a.pem",
            "https:keys.example.com/a.pem",
            "https:/keys.example.com/a.pem",
            "https:\\\\keys.example.com/a.pem",
            "https://keys.example.com",
            "https://Keys.example.com/a.pem",
            "https://keys.example.com./a.pem",
            "https://keys.example.com:443/a.pem",
            "https://keys.example.com:8443/a.pem",
            "https://keys.example.com:/a.pem",
            "https://keys.example.com@evil.example/a.pem",
            "https://keys.example.com:a@evil.example/a.pem",
            "https://user@keys.example.com/a.pem",
            "https://:a@keys.example.com/a.pem",
            "https://@keys.example.com/a.pem",
            "https://evil.example/keys.example.com/a.pem",
            "https://evil.example#@keys.example.com/a.pem",
            "https://evil.example\\@keys.example.com/a.pem",
            "https://keys.example.com.evil.example/a.pem",
            "https://keys%2eexample.com/a.pem",
            "https://keys%2Eexample%2Ecom/a.pem",
            "https://keys\u{3002}example.com/a.pem",
            "https://\u{ff4b}eys.example.com/a.pem",
            "https://keys.example.com/../a.pem",
            "https://keys.example.com/%2e%2e/a.pem",
            "https://keys.example.com/a.pem#fragment",
            "https://keys.example.com/a b.pem",
            " https://keys.example.com/a.pem",
            "https://keys.example.com/a.pem\n",
            "https://keys.ex\tample.com/a.pem",
            "https://127.0.0.1/a.pem",
            "https://[::1]/a.pem",
            &long,
        ] {
            assert_eq!(pinned(text, is_host), None, "{text}");
        }
    }
}
