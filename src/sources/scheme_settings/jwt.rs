//! What the settings say of a scheme with JSON Web Tokens, and how that is compiled.

use ring::hmac;
use serde::Deserialize;
use url::Url;

use super::{DEFAULT_TOLERANCE, KeysFrom, ONE_ALGORITHM, SchemeSettings, signed};
use crate::sources::accepted::Accepted;
use crate::sources::jwt::{Jwt, JwtAlgorithm, JwtKeys};
use crate::sources::keys::{self, KeyEncoding, Keys};
use crate::sources::place::{List, Place};
use crate::sources::rules::Mistake;
use crate::sources::scheme::Scheme;
use crate::sources::senders::{SenderMembers, pinned};

/// The URL of a set of keys: https at the default port, and written as it is printed.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct KeysUrl(Url);

impl TryFrom<String> for KeysUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        pinned(&text, |_| true).map(Self).ok_or_else(|| {
            format!(
                "{text:?} is no URL of keys; write https with the name of a host and a path, without user and port, such as \"https://login.example.com/keys\""
            )
        })
    }
}

impl SchemeSettings {
    /// Whether a member is set that belongs to tokens alone.
    pub(super) fn has_claims(&self) -> bool {
        self.issuer.is_some()
            || self.claims.is_some()
            || self.body_sha256_claim.is_some()
            || self.keys_url.is_some()
    }

    /// Where a scheme with tokens of this algorithm takes its keys from; none if they are fetched.
    pub(super) fn jwt_takes(&self, algorithm: JwtAlgorithm) -> Option<KeysFrom> {
        match algorithm.of_public_keys() {
            None => Some(KeysFrom::Secrets),
            Some(_) => self.keys_url.is_none().then_some(KeysFrom::PublicKeys),
        }
    }

    /// The members that a scheme with tokens needs, and that are not set. The server of a set of keys may sign for others
    /// too.
    pub(super) fn jwt_lacks(&self) -> Vec<&'static str> {
        let needed = [("verify.issuer", &self.issuer), ("verify.audience", &self.audience)];
        let lacking = needed.into_iter().filter(|(_, given)| self.keys_url.is_some() && given.is_none());
        lacking.map(|(path, _)| path).collect()
    }

    /// Compiles a scheme with tokens of this algorithm; none if there are no keys for it. Errors: every mistake.
    pub(super) fn compile_jwt(
        &self,
        algorithm: JwtAlgorithm,
        keys: &Keys,
        accepted: &mut Accepted,
    ) -> Result<Option<Scheme>, Vec<Mistake>> {
        let (place, mut wrong) = (self.place(), self.jwt_mistakes(algorithm));
        if self.body_sha256_claim.is_some() && matches!(place, Ok(Place::Json(_) | Place::Form(_))) {
            wrong.push("a token in the body cannot have the SHA-256 of the body; remove `body_sha256_claim`");
        }
        let place = match place {
            Ok(place) if wrong.is_empty() => place,
            place => {
                wrong.extend(place.err());
                return Err(wrong.into_iter().map(|text| Mistake::new("verify", text)).collect());
            }
        };
        let texts = |list: &Option<List<String>>| list.clone().map(|List(texts)| texts).unwrap_or_default();
        let Some(keys) = self.jwt_keys(algorithm, keys, accepted) else { return Ok(None) };
        let tolerance = self.tolerance.map_or(DEFAULT_TOLERANCE, |tolerance| tolerance.0);
        Ok(Some(Scheme::Jwt(Box::new(Jwt {
            place,
            each: self.each.clone(),
            prefix: self.prefix.clone().unwrap_or_default(),
            algorithm,
            keys,
            issuers: texts(&self.issuer),
            audiences: texts(&self.audience),
            claims: self.claims.clone().unwrap_or_default(),
            body_sha256_claim: self.body_sha256_claim.clone(),
            tolerance: signed(tolerance),
        }))))
    }

    /// Members that do not fit together, or are missing.
    fn jwt_mistakes(&self, algorithm: JwtAlgorithm) -> Vec<&'static str> {
        let mut wrong = Vec::new();
        if self.hmac.is_some() || self.signature.is_some() || self.token.is_some() {
            wrong.push(ONE_ALGORITHM);
        }
        let of_signatures = self.separator.is_some()
            || self.encoding.is_some()
            || self.signed.is_some()
            || self.timestamp.is_some()
            || self.once.is_some()
            || self.body_sha256.is_some()
            || self.unless.is_some();
        if of_signatures {
            wrong.push("a token has its own form and times: remove `separator`, `encoding`, `signed`, `timestamp`, `once`, `body_sha256` and `unless`");
        }
        wrong.extend(SenderMembers { audience: Vec::new(), ..self.sender_members() }.foreign());
        if self.each.is_some() && self.json.is_none() {
            wrong.push("`each` belongs to `json`; add the pointer of the token in each item, such as json = \"/token\", or \"\" if the item is the token");
        }
        if self.body_sha256_claim.is_none() && self.covers_body != Some(false) {
            wrong.push("the token says nothing about the body, so a client that has a token can send any body with it; name the claim with its SHA-256 by `body_sha256_claim`, or write covers_body = false if the sender has none");
        }
        let is_empty =
            |list: &Option<List<String>>| list.iter().any(|List(texts)| texts.iter().any(String::is_empty));
        if is_empty(&self.issuer) || is_empty(&self.audience) {
            wrong.push("a text of `issuer` or `audience` is empty; leave the member out if any will do");
        }
        if self.keys_url.is_some() && algorithm.of_public_keys().is_none() {
            wrong.push("HS256 takes its keys from `secrets`; remove `keys_url`");
        }
        if self.keys_url.is_some() && self.key_encoding.is_some() {
            wrong.push("the keys of `keys_url` have a form of their own; remove `key_encoding`");
        }
        for lacking in self.jwt_lacks() {
            wrong.push(match lacking {
                "verify.issuer" => "`issuer` is missing in `verify`; the server of `keys_url` may have keys of others too, so add the `iss` of the tokens of your sender, such as verify = { issuer = \"https://login.example.com/\" }",
                _ => "`audience` is missing in `verify`; the server of `keys_url` may sign for others too, so add the `aud` of the tokens for you, such as verify = { audience = \"https://hooks.example.com/\" }",
            });
        }
        wrong
    }

    /// The keys of the kind that the algorithm takes; none if there are none.
    fn jwt_keys(&self, algorithm: JwtAlgorithm, keys: &Keys, accepted: &mut Accepted) -> Option<JwtKeys> {
        let Some(public) = algorithm.of_public_keys() else {
            let encoding = self.key_encoding.unwrap_or(KeyEncoding::Text);
            let secrets = accepted.secrets(keys, |secret| {
                let key = keys::secret(secret.expose(), encoding)?;
                Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
            });
            return (!secrets.is_empty()).then_some(JwtKeys::Secrets(secrets));
        };
        if let Some(KeysUrl(url)) = &self.keys_url {
            return Some(JwtKeys::Fetched(public, url.clone()));
        }
        let encoding = self.key_encoding.unwrap_or(KeyEncoding::Base64);
        let public_keys = accepted.public_keys(keys, |key| keys::public_key(key, encoding, public));
        (!public_keys.is_empty()).then_some(JwtKeys::Public(public, public_keys))
    }
}
