//! The path under which a proxy serves the page.

use std::sync::Arc;

/// The most characters of it.
const MAX_CHARS: usize = 200;

/// What the paths begin with that hookbox serves itself. The page could not be told from them.
const OWN: &[&str] = &[
    "actions",
    "assets",
    "dead-letters",
    "docs",
    "healthz",
    "live",
    "login",
    "logout",
    "metrics",
    "openapi.json",
    "overview",
    "pause",
    "readyz",
    "replays",
    "resume",
    "routes",
    "settings",
    "sources",
    "v1",
    "webhooks",
];

/// Reads a path such as `/hooks`; empty if it is the root. None for any other text.
pub(super) fn base_path(text: &str) -> Option<Arc<str>> {
    let path = text.strip_suffix('/').unwrap_or(text);
    if path.is_empty() {
        return Some(Arc::from(""));
    }
    let is_char = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    let is_segment = |segment: &str| !segment.trim_matches('.').is_empty() && segment.chars().all(is_char);
    let mut segments = path.strip_prefix('/')?.split('/');
    let is_own = segments.clone().next().is_some_and(|first| OWN.contains(&first));
    (path.len() <= MAX_CHARS && !is_own && segments.all(is_segment)).then(|| Arc::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_a_path_that_hookbox_does_not_serve_itself() {
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("/hooks", "/hooks"),
            ("/in/box-1.2/", "/in/box-1.2"),
            ("/v1-hooks/v1", "/v1-hooks/v1"),
        ] {
            assert_eq!(base_path(text).as_deref(), Some(path), "{text:?}");
        }
        let long = format!("/{}", "a".repeat(MAX_CHARS));
        for text in [
            "hooks",
            "//",
            "//hooks",
            "/a//b",
            "/..",
            "/a/../b",
            "/a b",
            "/{id}",
            "/*",
            "/é",
            "/v1",
            "/webhooks/a",
            &long,
        ] {
            assert_eq!(base_path(text), None, "{text:?}");
        }
    }
}
