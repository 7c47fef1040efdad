//! Members of a scheme that do not fit together.

use super::{ONE_ALGORITHM, SchemeSettings, Token};
use crate::sources::template::Template;

impl SchemeSettings {
    /// Whether a member describes how requests are signed.
    pub(super) fn describes(&self) -> bool {
        let has_place =
            self.header.is_some() || self.query.is_some() || self.form.is_some() || self.json.is_some();
        let has_shape = self.each.is_some()
            || self.separator.is_some()
            || self.prefix.is_some()
            || self.encoding.is_some()
            || self.key_encoding.is_some();
        let has_text = self.signed.is_some()
            || self.body_sha256.is_some()
            || self.covers_body.is_some()
            || self.unless.is_some()
            || self.timestamp.is_some()
            || self.once.is_some();
        self.has_algorithm() || has_place || has_shape || has_text || self.has_claims()
    }

    /// All members that do not fit together. Not for a scheme that is code, or with JSON Web Tokens.
    pub(super) fn contradictions(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        let algorithms = [self.hmac.is_some(), self.signature.is_some(), self.token.is_some()];
        if algorithms.into_iter().filter(|is_there| *is_there).count() != 1 {
            found.push(ONE_ALGORITHM);
        }
        if self.has_claims() {
            found.push("`issuer`, `claims`, `body_sha256_claim` and `keys_url` belong to `jwt`; remove them");
        }
        if self.separator.as_deref() == Some("") {
            found.push("`separator` is empty; leave it out if the value is one item");
        }
        if self.each.is_some() && (self.token != Some(Token::Plain) || self.json.is_none()) {
            found.push("`each` belongs to `json`, and to `token = \"plain\"` or `jwt`");
        }
        if self.token.is_some() {
            found.extend(self.beside_token());
        } else {
            found.extend(self.unsigned());
        }
        found
    }

    fn beside_token(&self) -> Option<&'static str> {
        let of_signatures = self.encoding.is_some()
            || self.key_encoding.is_some()
            || self.signed.is_some()
            || self.timestamp.is_some()
            || self.tolerance.is_some()
            || self.once.is_some()
            || self.body_sha256.is_some();
        of_signatures.then_some(
            "a token signs nothing: remove `encoding`, `key_encoding`, `signed`, `timestamp`, `tolerance`, `once` and `body_sha256`",
        )
    }

    /// Members that say something of the body, of a time or of a value that the sender does not sign.
    fn unsigned(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        let has_time = self.timestamp.is_some() || self.signed.as_ref().is_some_and(Template::has_timestamp);
        if self.tolerance.is_some() && !has_time {
            found.push(
                "`tolerance` means nothing, because the sender signs no time; remove it, or add `timestamp`",
            );
        }
        let signs = |place| self.signed.clone().unwrap_or_default().signs(place);
        if self.once.as_ref().is_some_and(|place| self.timestamp.is_none() || !signs(place)) {
            found.push(
                "`once` needs a value that is signed, and a `timestamp`, which says for how long the value counts; add both to `signed`, or remove `once`",
            );
        }
        let covers_body =
            self.body_sha256.is_some() || self.signed.as_ref().is_none_or(Template::covers_body);
        if !covers_body && self.covers_body != Some(false) {
            found.push(
                "the body is not signed, so a client that has a signed request can change its body; add {body} to `signed`, or covers_body = false if the sender does not sign it",
            );
        }
        found
    }
}
