//! Hides the URL of a route, if it is a secret, in what the target answers: targets repeat it in redirects, and in pages
//! about errors, whole or in part, and with the escapes of URLs, JSON and HTML.

use std::ops::Range;

use memchr::memmem;

use super::escapes::layers;
use crate::domain::delivery::Answer;
use crate::domain::handler::Http as Settings;

/// What is shown in place of a part of the URL.
const HIDDEN: &str = "***";

/// How long a piece of the path or of the query has to be to be hidden on its own, in bytes. What is shorter is hardly a
/// secret, and would hide other text.
const MIN_PIECE_BYTES: usize = 8;

/// The parts of a URL that nothing may show: its path and its query, and long pieces of them. None if the URL is no secret.
pub(super) struct SecretParts(Vec<Vec<u8>>);

impl SecretParts {
    pub(super) fn of(settings: &Settings) -> Self {
        if !settings.is_url_secret {
            return Self(Vec::new());
        }
        let mut parts = Vec::new();
        for layer in layers(settings.url.path().trim_end_matches('/').as_bytes()) {
            let path = layer.bytes;
            let without_slash = path.strip_prefix(b"/").into_iter();
            let pieces = without_slash.chain(path.split(|byte| *byte == b'/'));
            parts.extend(pieces.filter(|piece| is_long(piece)).map(<[u8]>::to_vec));
            parts.push(path);
        }
        let query = settings.url.query().unwrap_or_default();
        // Programs that read forms take `+` for a space.
        for query in [query, &query.replace('+', " ")] {
            for layer in layers(query.as_bytes()) {
                let query = layer.bytes;
                let values = query.split(|byte| *byte == b'&').map(value);
                parts.extend(values.filter(|value| is_long(value)).map(<[u8]>::to_vec));
                parts.push(query);
            }
        }
        parts.retain(|part| !part.is_empty());
        parts.sort_unstable();
        parts.dedup();
        Self(parts)
    }

    /// A text without these parts.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.without(text.as_bytes())).into_owned()
    }

    /// Removes these parts from an answer.
    pub(super) fn hide_in(&self, answer: &mut Answer) {
        if self.0.is_empty() {
            return;
        }
        for (_, value) in &mut answer.headers {
            *value = self.hidden_in(value);
        }
        answer.body = self.without(&answer.body);
    }

    fn without(&self, text: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(text.len());
        let mut rest = 0;
        for Range { start, end } in self.places_in(text) {
            if start >= rest {
                shown.extend_from_slice(&text[rest..start]);
                shown.extend_from_slice(HIDDEN.as_bytes());
            }
            rest = rest.max(end);
        }
        shown.extend_from_slice(&text[rest..]);
        shown
    }

    /// Where a text has these parts, however they are escaped, in the order of their beginnings.
    fn places_in(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        for layer in layers(text) {
            for part in &self.0 {
                let found = memmem::find_iter(&layer.bytes, part);
                places.extend(found.map(|at| layer.place(at..at + part.len())));
            }
        }
        places.sort_unstable_by_key(|place| place.start);
        places
    }
}

/// The value of an item of a query, `name=value`; the item if it has no `=`.
fn value(item: &[u8]) -> &[u8] {
    match item.iter().position(|byte| *byte == b'=') {
        Some(at) => &item[at + 1..],
        None => item,
    }
}

fn is_long(piece: &[u8]) -> bool {
    piece.len() >= MIN_PIECE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::breaker::BreakerPolicy;

    fn parts(url: &str, is_url_secret: bool) -> SecretParts {
        SecretParts::of(&Settings {
            url: url.parse().expect("a URL"),
            is_url_secret,
            headers: Vec::new(),
            secrets: Vec::new(),
            allow: Vec::new(),
            ca: None,
            retry_after_cap: None,
            breaker: BreakerPolicy::default(),
        })
    }

    #[test]
    fn path_and_query_of_a_secret_url_are_hidden_wherever_an_answer_has_them() {
        let answer = Answer {
            status: 404,
            headers: vec![("location".to_owned(), "https://hooks.example/T0/B1/?token=x".to_owned())],
            body: b"\xff no /T0/B1 here, /T0/B1/x neither: token=x".to_vec(),
            is_cut: false,
        };
        let mut hidden = answer.clone();
        parts("https://hooks.example/T0/B1?token=x", true).hide_in(&mut hidden);
        assert_eq!(hidden.headers[0].1, "https://hooks.example***/?***");
        assert_eq!(hidden.body, b"\xff no *** here, ***/x neither: ***");
        for (url, is_secret) in
            [("https://hooks.example/T0/B1?token=x", false), ("https://hooks.example", true)]
        {
            let mut shown = answer.clone();
            parts(url, is_secret).hide_in(&mut shown);
            assert_eq!(shown, answer, "{url}");
        }
    }

    #[test]
    fn pieces_and_other_spellings_of_a_secret_url_are_hidden() {
        let parts = parts(
            "https://hooks.example/hooks/T0K3NAAA/B%2FSECRETPART?key=QUERY+SECRET&sig=abc%3D%3Ddef&x=1",
            true,
        );
        for (text, expected) in [
            ("/hooks/T0K3NAAA/B%2FSECRETPART", "***"),
            ("/hooks/T0K3NAAA/B%2FSECRETPART/", "***/"),
            ("no hooks/T0K3NAAA/B%2FSECRETPART here", "no *** here"),
            ("/hooks/T0K3NAAA/B/SECRETPART", "***"),
            (r"\/hooks\/T0K3NAAA\/B%2FSECRETPART", "***"),
            (r"\/hooks\/T0K3NAAA\/B\/SECRETPART", "***"),
            (r"\u002fhooks\u002FT0K3NAAA/B\u00252FSECRETPART", "***"),
            ("next=%2Fhooks%2FT0K3NAAA%2FB%252fSECRETPART", "next=***"),
            ("/%68ooks&#x2F;T0K3NAAA&#47;B%2FSECRETPART", "***"),
            ("[T0K3NAAA] [B%2FSECRETPART] [SECRETPART]", "[***] [***] [***]"),
            ("key=QUERY+SECRET&amp;sig=abc%3D%3Ddef&amp;x=1", "***"),
            (r"key=QUERY+SECRET\u0026sig=abc==def\u0026x=1", "***"),
            ("key: QUERY SECRET, sig: abc==def, x: 1", "key: ***, sig: ***, x: 1"),
            // What is short, or only like a part.
            ("hooks, B, x=1, T0K3N, SECRET", "hooks, B, x=1, T0K3N, SECRET"),
            (r"100% &amp; \n%2", r"100% &amp; \n%2"),
        ] {
            assert_eq!(parts.hidden_in(text), expected, "{text}");
        }
    }
}
