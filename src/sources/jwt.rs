//! JSON Web Tokens by which senders prove who they are (RFC 7519), as the settings describe them.
//!
//! The settings say which algorithm counts, and each algorithm takes its own kind of keys. So whatever a token says: no
//! public key is taken for a secret, and `none` is no algorithm.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use ring::signature::UnparsedPublicKey;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::fetched::{KeyAddress, KeyServer, KnownKeys};
use super::hex;
use super::json::{Document, Pointer};
use super::keys::SignatureAlgorithm;
use super::place::Place;
use super::request::Request;
use super::rules::Rules;
use super::senders::Jws;
use super::verify::{MAX_SIGNATURES, Unproved, values, values_of_each};
use crate::domain::verdict::Cause;

/// An algorithm of tokens (RFC 7518, section 3.1, and RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum JwtAlgorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// A compiled scheme with tokens.
#[derive(Clone, Debug)]
pub(super) struct Jwt {
    pub(super) place: Place,
    /// The array whose items all have a token; none if the request has one.
    pub(super) each: Option<Pointer>,
    /// What the value begins with, before the token.
    pub(super) prefix: String,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) keys: JwtKeys,
    /// The token has to be of one of these; of any issuer if there are none.
    pub(super) issuers: Vec<String>,
    /// The token has to be for one of these; for any audience if there are none.
    pub(super) audiences: Vec<String>,
    /// Other claims, with the value that each has to have.
    pub(super) claims: BTreeMap<String, String>,
    /// The claim that has the SHA-256 of the body, in hexadecimal digits.
    pub(super) body_sha256_claim: Option<String>,
    pub(super) tolerance: SignedDuration,
}

/// The keys, of the kind that the algorithm takes.
#[derive(Clone, Debug)]
pub(super) enum JwtKeys {
    Secrets(Vec<hmac::Key>),
    Public(SignatureAlgorithm, Vec<Vec<u8>>),
    /// Public keys in a set at this URL.
    Fetched(SignatureAlgorithm, Url),
}

impl JwtAlgorithm {
    /// The word in the header of tokens.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with public keys; none if it takes secrets.
    pub(super) fn of_public_keys(self) -> Option<SignatureAlgorithm> {
        match self {
            Self::Hs256 => None,
            Self::Rs256 => Some(SignatureAlgorithm::RsaSha256),
            Self::Es256 => Some(SignatureAlgorithm::EcdsaP256Fixed),
            Self::EdDsa => Some(SignatureAlgorithm::Ed25519),
        }
    }
}

impl Jwt {
    /// Whether a token of the request is the sender's; with `each`, whether all of them are.
    pub(super) fn verify(
        &self,
        request: &Request<'_>,
        document: &Document<'_>,
        rules: &Rules,
        known: &dyn KnownKeys,
    ) -> Result<(), Unproved> {
        if let Some(array) = &self.each {
            let tokens = values_of_each(&self.place, document, array, MAX_SIGNATURES)?;
            return tokens.iter().try_for_each(|value| self.verify_value(value, request, rules, known));
        }
        let (values, mut cause) = (values(&self.place, request, document)?, None);
        for value in values.iter().filter(|value| !value.is_empty()).take(MAX_SIGNATURES) {
            match self.verify_value(value, request, rules, known) {
                Err(Unproved::Because(other)) => cause = cause.max(Some(other)),
                verified_or_needs => return verified_or_needs,
            }
        }
        Err(cause.unwrap_or(Cause::SignatureMissing).into())
    }

    /// Checks the signature first and then the claims, so that a cause about a claim means that the sender signed it.
    fn verify_value(
        &self,
        value: &str,
        request: &Request<'_>,
        rules: &Rules,
        known: &dyn KnownKeys,
    ) -> Result<(), Unproved> {
        let token = value.strip_prefix(&*self.prefix).ok_or(Cause::SignatureMalformed)?;
        let token = Jws::read(token, self.algorithm.as_str())?;
        self.verify_signature(&token, request.received_at, rules, known)?;
        let claims = token.claims::<Map<String, Value>>()?;
        if !self.is_ours(&claims) {
            return Err(Cause::CredentialsWrong.into());
        }
        if let Some(name) = &self.body_sha256_claim {
            let digest = hex::encode(&Sha256::digest(request.body));
            if text(&claims, name).is_none_or(|found| !found.eq_ignore_ascii_case(&digest)) {
                return Err(Cause::SignatureMismatch.into());
            }
        }
        Ok(self.check_times(&claims, request.received_at)?)
    }

    fn verify_signature(
        &self,
        token: &Jws<'_>,
        at: Timestamp,
        rules: &Rules,
        known: &dyn KnownKeys,
    ) -> Result<(), Unproved> {
        let (signed, signature) = (token.signed, token.signature.as_slice());
        let is_signed = match &self.keys {
            JwtKeys::Secrets(keys) => {
                let is_signed = keys.iter().any(|key| hmac::verify(key, signed, signature).is_ok());
                // An HMAC that a handshake answers to every client proves nothing.
                is_signed && !rules.signs_unverified(signed)
            }
            JwtKeys::Public(algorithm, keys) => keys.iter().any(|key| {
                UnparsedPublicKey::new(algorithm.verification(), key).verify(signed, signature).is_ok()
            }),
            JwtKeys::Fetched(algorithm, url) => {
                let id = token.key_id()?;
                let keys = KeyAddress::in_set(KeyServer::OfSettings, url.clone(), id).look_up(known)?;
                return Ok(keys.verify(Some(id), *algorithm, (signed, signature), at)?);
            }
        };
        if is_signed { Ok(()) } else { Err(Cause::SignatureMismatch.into()) }
    }

    /// Whether a token is of the sender, and for this source.
    fn is_ours(&self, claims: &Map<String, Value>) -> bool {
        let is_of_issuer =
            text(claims, "iss").is_some_and(|found| self.issuers.iter().any(|one| one == found));
        let is_for = |audience: &Value| {
            audience.as_str().is_some_and(|found| self.audiences.iter().any(|one| one == found))
        };
        // One, or several (RFC 7519, section 4.1.3).
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_for),
            Some(audience) => is_for(audience),
            None => false,
        };
        (self.issuers.is_empty() || is_of_issuer)
            && (self.audiences.is_empty() || is_for_us)
            && self.claims.iter().all(|(name, value)| text(claims, name) == Some(value.as_str()))
    }

    /// Whether a token has begun and has not ended, give or take the tolerance. Without `exp`, it ends when it was issued;
    /// without `iat` too, it is refused.
    fn check_times(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(), Cause> {
        let (issued, begins) = (moment(claims, "iat")?, moment(claims, "nbf")?);
        let ends = moment(claims, "exp")?.or(issued).ok_or(Cause::TimestampMissing)?;
        if now.duration_since(ends) > self.tolerance {
            return Err(Cause::TimestampTooOld);
        }
        if issued.max(begins).is_some_and(|begins| begins.duration_since(now) > self.tolerance) {
            return Err(Cause::TimestampInFuture);
        }
        Ok(())
    }
}

/// The text in a claim; none if it is not there, or no text.
fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}

/// The moment in a claim, in seconds since 1970, also with a fraction; none if the claim is not there.
fn moment(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Cause> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    let moment = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.map(Some).ok_or(Cause::TimestampMissing)
}

#[cfg(test)]
mod tests;
