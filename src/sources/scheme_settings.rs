//! What the settings say of a scheme, and how that is compiled.

mod contradictions;
mod jwt;
mod keyless;
mod known;
mod overridden;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use ring::hmac;
use serde::Deserialize;

use self::jwt::KeysUrl;
pub(super) use self::keyless::Forms;
pub use self::keyless::MissingKey;
use super::accepted::Accepted;
use super::json::Pointer;
use super::jwt::JwtAlgorithm;
use super::keys::{self, KeyEncoding, Keys, SignatureAlgorithm};
use super::place::{List, Place};
use super::request::HeaderName;
use super::rules::Mistake;
use super::scheme::{Described, Encoding, Hash, Proof, Scheme, Time, TimeFrom, Unit};
use super::senders::{Environment, Member, SenderMembers, SenderName, Topic};
use super::settings::Span;
use super::sign::SignError;
use super::template::Template;

/// How far a timestamp may be from the clock, before and after it, if the settings do not say it.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(5 * 60);

const ONE_ALGORITHM: &str = "a scheme has exactly one of `hmac`, `signature`, `token`, `jwt` and `scheme`";

/// A scheme as the settings describe it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SchemeSettings {
    hmac: Option<Hash>,
    signature: Option<SignatureAlgorithm>,
    token: Option<Token>,
    jwt: Option<JwtAlgorithm>,
    header: Option<List<HeaderName>>,
    query: Option<List<String>>,
    form: Option<List<String>>,
    json: Option<List<Pointer>>,
    each: Option<Pointer>,
    separator: Option<String>,
    prefix: Option<String>,
    encoding: Option<Encoding>,
    key_encoding: Option<KeyEncoding>,
    signed: Option<Template>,
    body_sha256: Option<Place>,
    covers_body: Option<bool>,
    unless: Option<Place>,
    timestamp: Option<TimeSettings>,
    tolerance: Option<Span>,
    once: Option<Place>,
    issuer: Option<List<String>>,
    claims: Option<BTreeMap<String, String>>,
    body_sha256_claim: Option<String>,
    keys_url: Option<KeysUrl>,
    scheme: Option<SenderName>,
    topics: Option<List<Topic>>,
    webhook_id: Option<List<String>>,
    audience: Option<List<String>>,
    email: Option<List<String>>,
    client_id: Option<String>,
    environment: Option<Environment>,
    basic: Option<bool>,
}

/// Where a scheme takes its keys from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeysFrom {
    Secrets,
    PublicKeys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Token {
    Plain,
    Basic,
}

/// A timestamp as the settings describe it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeSettings {
    header: Option<List<HeaderName>>,
    query: Option<List<String>>,
    form: Option<List<String>>,
    json: Option<List<Pointer>>,
    item: Option<String>,
    #[serde(default)]
    unit: Unit,
}

impl SchemeSettings {
    /// Whether the settings name an algorithm, and so are a whole scheme.
    pub(super) fn is_whole(&self) -> bool {
        self.has_algorithm() || self.scheme.is_some()
    }

    fn has_algorithm(&self) -> bool {
        self.hmac.is_some() || self.signature.is_some() || self.token.is_some() || self.jwt.is_some()
    }

    /// Where the scheme takes its keys from; none if it needs none of the operator.
    pub(super) fn takes(&self) -> Option<KeysFrom> {
        match (self.scheme, self.jwt) {
            (Some(scheme), _) => scheme.takes_secrets().then_some(KeysFrom::Secrets),
            (None, Some(algorithm)) => self.jwt_takes(algorithm),
            (None, None) if self.signature.is_some() => Some(KeysFrom::PublicKeys),
            (None, None) => Some(KeysFrom::Secrets),
        }
    }

    /// Whether the sender sends JSON Web Tokens.
    pub(super) fn is_jwt(&self) -> bool {
        self.jwt.is_some()
    }

    /// Whether a secret is enough to sign as the sender does. Errors: `PrivateKey`, `OwnScheme`.
    pub(super) fn check_signs(&self) -> Result<(), SignError> {
        match (self.scheme, self.takes()) {
            (Some(_), _) => Err(SignError::OwnScheme),
            (None, Some(KeysFrom::Secrets)) => Ok(()),
            (None, Some(KeysFrom::PublicKeys) | None) => Err(SignError::PrivateKey),
        }
    }

    /// The members that the scheme needs, and that are not set, such as `verify.topics`.
    pub(super) fn lacks(&self) -> Vec<&'static str> {
        match self.scheme {
            Some(scheme) => self.sender_members().lacking(scheme).into_iter().map(Member::path).collect(),
            None => self.jwt_lacks(),
        }
    }

    fn sender_members(&self) -> SenderMembers {
        let texts = |list: &Option<List<String>>| list.clone().map(|List(texts)| texts).unwrap_or_default();
        SenderMembers {
            topics: self.topics.clone().map(|List(topics)| topics).unwrap_or_default(),
            webhook_id: texts(&self.webhook_id),
            audience: texts(&self.audience),
            email: texts(&self.email),
            client_id: self.client_id.clone(),
            environment: self.environment,
            basic: self.basic.unwrap_or_default(),
        }
    }

    /// The headers that can have the proof, whether or not there are keys for the scheme.
    pub(super) fn headers(&self) -> &[HeaderName] {
        self.header.as_ref().map_or(&[][..], |List(names)| names.as_slice())
    }

    /// Whether the URL is part of what is signed.
    pub(super) fn needs_public_url(&self) -> bool {
        self.signed.as_ref().is_some_and(Template::has_url)
    }

    /// Compiles the scheme; none if there are no keys for it. `accepted` remembers the secrets that the scheme can
    /// use. Errors: every mistake.
    pub(super) fn compile(
        &self,
        keys: &Keys,
        accepted: &mut Accepted,
    ) -> Result<Option<Scheme>, Vec<Mistake>> {
        let members = self.sender_members();
        if let Some(name) = self.scheme {
            let tolerance = self.tolerance.map(|tolerance| signed(tolerance.0));
            let compiled = name.compile(members, tolerance, keys, accepted);
            if !self.describes() {
                return Ok(compiled?.map(Scheme::Sender));
            }
            let text = "`scheme` says all about how the sender signs; remove the members that describe it";
            let others = compiled.err().into_iter().flatten();
            return Err(std::iter::once(Mistake::new("verify", text)).chain(others).collect());
        }
        if let Some(algorithm) = self.jwt {
            return self.compile_jwt(algorithm, keys, accepted);
        }
        let mut wrong = members.foreign();
        let place = self.place().map_err(|text| wrong.push(text)).ok();
        let timestamp = self.time().map_err(|text| wrong.push(text)).ok();
        wrong.extend(self.contradictions());
        let (Some(place), Some(timestamp), true) = (place, timestamp, wrong.is_empty()) else {
            return Err(wrong.into_iter().map(|text| Mistake::new("verify", text)).collect());
        };
        let Some(proof) = self.proof(keys, accepted) else { return Ok(None) };
        let tolerance = self.tolerance.map_or(DEFAULT_TOLERANCE, |tolerance| tolerance.0);
        Ok(Some(Scheme::Described(Box::new(Described {
            place,
            separator: self.separator.clone(),
            prefix: self.prefix.clone().unwrap_or_default(),
            proof,
            signed: self.signed.clone().unwrap_or_default(),
            timestamp,
            tolerance: signed(tolerance),
            once: self.once.clone(),
            body_sha256: self.body_sha256.clone(),
            unless: self.unless.clone(),
        }))))
    }

    fn place(&self) -> Result<Place, &'static str> {
        let place =
            Place::only(self.header.clone(), self.json.clone(), self.form.clone(), self.query.clone())?;
        match (place, self.token) {
            (None, Some(Token::Basic)) => HeaderName::try_from("Authorization".to_owned())
                .map(|name| Place::Header(List(vec![name])))
                .map_err(|_| "the header Authorization has no name"),
            (Some(_), Some(Token::Basic)) => {
                Err("`token = \"basic\"` reads the header Authorization; remove the other place")
            }
            (Some(place), _) => Ok(place),
            (None, _) => Err(
                "the scheme does not say where the signature is; add one of `header`, `query`, `form` and `json`",
            ),
        }
    }

    fn time(&self) -> Result<Option<Time>, &'static str> {
        // `contradictions` tells that a token signs none.
        if self.token.is_some() {
            return Ok(None);
        }
        let signed = self.signed.clone().unwrap_or_default();
        let Some(TimeSettings { header, query, form, json, item, unit }) = self.timestamp.clone() else {
            return if signed.has_timestamp() {
                Err("`signed` has {timestamp}; add `timestamp`, such as timestamp = { header = \"X-Time\" }")
            } else {
                Ok(None)
            };
        };
        let from = match (Place::only(header, json, form, query)?, item) {
            (Some(place), None) => TimeFrom::Of(place),
            (None, Some(item)) if self.separator.is_some() => TimeFrom::Item(item),
            (None, Some(_)) => {
                return Err("`timestamp.item` needs `separator`, which divides the value into items");
            }
            _ => return Err("`timestamp` has exactly one of `header`, `query`, `form`, `json` and `item`"),
        };
        let is_signed = signed.has_timestamp()
            || match &from {
                TimeFrom::Of(place) => signed.signs(place),
                TimeFrom::Item(_) => false,
            };
        if !is_signed {
            return Err("the timestamp is not signed, and so proves nothing; add {timestamp} to `signed`");
        }
        Ok(Some(Time { from, unit }))
    }

    fn proof(&self, keys: &Keys, accepted: &mut Accepted) -> Option<Proof> {
        let encoding = self.encoding.unwrap_or_default();
        if let Some(algorithm) = self.signature {
            let key_encoding = self.key_encoding.unwrap_or(KeyEncoding::Base64);
            let keys = accepted.public_keys(keys, |key| keys::public_key(key, key_encoding, algorithm));
            return (!keys.is_empty()).then_some(Proof::Signature(algorithm, keys, encoding));
        }
        let key_encoding = self.key_encoding.unwrap_or(KeyEncoding::Text);
        if let Some(hash) = self.hmac {
            let keys = accepted.secrets(keys, |secret| {
                let key = keys::secret(secret.expose(), key_encoding)?;
                Ok(hmac::Key::new(hash.hmac(), &key))
            });
            return (!keys.is_empty()).then_some(Proof::Hmac(keys, encoding));
        }
        let is_basic = self.token == Some(Token::Basic);
        let secrets = accepted.secrets(keys, |secret| match secret.expose() {
            "" => Err("a text that is not empty"),
            text if is_basic && !text.contains(':') => Err("a user and a password, separated by a colon"),
            _ => Ok(secret.clone()),
        });
        if secrets.is_empty() {
            return None;
        }
        Some(if is_basic { Proof::Basic(secrets) } else { Proof::Token(secrets, self.each.clone()) })
    }
}

/// A duration of at most a day, which fits.
fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::ZERO)
}
