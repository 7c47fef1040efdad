//! Hides the URL of a route, if it is a secret, in what the target answers: targets repeat it in redirects, and in pages
//! about errors.

use crate::domain::delivery::Answer;
use crate::domain::handler::Http as Settings;

/// What is shown in place of a part of the URL.
const HIDDEN: &str = "***";

/// The parts of a URL that nothing may show: its path and its query. None if the URL is no secret.
pub(super) struct SecretParts(Vec<String>);

impl SecretParts {
    pub(super) fn of(settings: &Settings) -> Self {
        if !settings.is_url_secret {
            return Self(Vec::new());
        }
        let path = Some(settings.url.path()).filter(|path| *path != "/");
        let query = settings.url.query().filter(|query| !query.is_empty());
        Self(path.into_iter().chain(query).map(ToOwned::to_owned).collect())
    }

    /// A text without these parts.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, part| text.replace(part, HIDDEN))
    }

    /// Removes these parts from an answer.
    pub(super) fn hide_in(&self, answer: &mut Answer) {
        for (_, value) in &mut answer.headers {
            *value = self.hidden_in(value);
        }
        for part in &self.0 {
            answer.body = without(&answer.body, part.as_bytes());
        }
    }
}

/// The bytes of a body without a part, which is not empty.
fn without(body: &[u8], part: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.windows(part.len()).position(|window| window == part) {
        shown.extend_from_slice(&rest[..at]);
        shown.extend_from_slice(HIDDEN.as_bytes());
        rest = &rest[at + part.len()..];
    }
    shown.extend_from_slice(rest);
    shown
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
}
