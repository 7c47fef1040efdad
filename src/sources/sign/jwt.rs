//! Makes JSON Web Tokens, to test a source.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Draft, SignError};
use crate::domain::verdict::Cause;
use crate::sources::hex;
use crate::sources::jwt::{Jwt, JwtKeys};

/// How long a token counts, in seconds.
const SECONDS: i64 = 60;

impl Jwt {
    /// The request with a token that is signed with the first secret. Errors: also `PrivateKey`.
    pub(super) fn sign(&self, mut draft: Draft) -> Result<Draft, SignError> {
        let JwtKeys::Secrets(keys) = &self.keys else { return Err(SignError::PrivateKey) };
        let key = keys.first().ok_or(SignError::Missing(Cause::KeyUnavailable))?;
        let header = json!({ "alg": self.algorithm.as_str(), "typ": "JWT" });
        let parts = [header, Value::Object(self.claims_for(&draft))];
        let signed = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(key, signed.as_bytes()));
        let token = format!("{}{signed}.{signature}", self.prefix);
        draft.set_token(&self.place, self.each.as_ref(), &token)?;
        Ok(draft)
    }

    /// Whether a webhook can have a new token. Errors: `PrivateKey`, `Batch`.
    pub(super) fn check_signs_again(&self) -> Result<(), SignError> {
        match (&self.keys, &self.each) {
            (JwtKeys::Secrets(_), None) => Ok(()),
            (JwtKeys::Secrets(_), Some(_)) => Err(SignError::Batch),
            _ => Err(SignError::PrivateKey),
        }
    }

    fn claims_for(&self, draft: &Draft) -> Map<String, Value> {
        let now = draft.at.as_second();
        let of_settings = self.claims.iter().map(|(name, value)| (name.clone(), json!(value)));
        let mut claims = of_settings.collect::<Map<_, _>>();
        let texts = [("iss", self.issuers.first()), ("aud", self.audiences.first())];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, json!(text?))));
        let times = [("iat", json!(now)), ("exp", json!(now + SECONDS))];
        claims.extend(texts.chain(times).map(|(name, value)| (name.to_owned(), value)));
        if let Some(name) = &self.body_sha256_claim {
            claims.insert(name.clone(), hex::encode(&Sha256::digest(&draft.body)).into());
        }
        claims
    }
}
