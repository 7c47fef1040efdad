//! Signs requests as their senders do, to test a source or a server behind hookbox: the inverse of `verify`.
//!
//! Only for schemes with a secret that both sides have. What the rules look for besides, and a new request has not, is put
//! where they look for it.

mod draft;
mod jwt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::hmac;
use sha2::{Digest as _, Sha256};

pub use self::draft::Draft;
use super::hex;
use super::json::Document;
use super::place::{List, Place};
use super::rules::Rules;
use super::scheme::{Described, Encoding, Proof, Scheme, Time, TimeFrom, Unit};
use super::settings::Settings;
use super::verify::verify;
use crate::domain::secret::Secret;
use crate::domain::verdict::{Cause, Verdict};

/// Why a request cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The sender signs with a private key.
    #[error("only the sender has the private key that signs; forward a request of the sender instead")]
    PrivateKey,
    /// The source has no key yet.
    #[error("the source has no secret to sign with; write the one of the sender into `secrets`, and reload")]
    NoKey,
    /// The scheme is that of one sender, in code.
    #[error("the scheme of this sender cannot be signed here; forward a request of the sender instead")]
    OwnScheme,
    /// The sender proves itself in each item of a batch.
    #[error("the sender signs each item of a batch, which hookbox has taken apart")]
    Batch,
    /// A value belongs into the body, but the body has no place for it.
    #[error(
        "a part of the signature or of the key belongs into the body, so the body has to be a JSON object"
    )]
    NoObject,
    /// A value belongs into a form.
    #[error(
        "a part of the signature or of the key belongs into a form; send one, with the header Content-Type: application/x-www-form-urlencoded"
    )]
    NoForm,
    /// The webhooks would not have the key that is given.
    #[error(
        "no webhook would have the key that is given: the request has another one, or the source does not read keys from a place that can be filled in; leave the key out, or write it into the body"
    )]
    KeyNotSet,
    /// The webhooks would not have the event type that is given.
    #[error(
        "no webhook would have the event type that is given: the request has another one, or the source does not read types from a place that can be filled in; leave the type out, or write it into the body"
    )]
    TypeNotSet,
    /// Something that is signed is missing.
    #[error("the request lacks something that the sender signs ({})", .0.as_str())]
    Missing(Cause),
    /// The signed request does not pass the rules.
    #[error("the rules of the source do not accept the signed request ({})", .0.as_str())]
    NotAccepted(Cause),
}

/// The event type where neither the draft nor its request has one.
const TEST_TYPE: &str = "test";

/// The request with key, event type and signature, as the sender would send it. Of several schemes, the first that can
/// be used signs. Errors: none can be used.
pub fn sign(draft: &Draft, rules: &Rules) -> Result<Draft, SignError> {
    sign_again(&named(draft.clone(), rules)?, rules)
}

/// Signs a request that was sent before, with a new time. The body stays as it is, unless the signature or the time is in
/// it. Errors: as for [`sign`].
pub fn sign_again(draft: &Draft, rules: &Rules) -> Result<Draft, SignError> {
    let Some(schemes) = &rules.schemes else { return Ok(draft.clone()) };
    let mut failed = SignError::NoKey;
    for scheme in schemes {
        let signed = match scheme {
            Scheme::Described(scheme) => scheme.sign(draft.clone()),
            Scheme::Jwt(scheme) => scheme.sign(draft.clone()),
            Scheme::Sender(_) => Err(SignError::OwnScheme),
        };
        match signed {
            Ok(signed) => match signed.with_request(|request| verify(request, rules)) {
                Verdict::Unverified(cause) => failed = SignError::NotAccepted(cause),
                Verdict::Verified | Verdict::None => return Ok(signed),
            },
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Whether requests can be signed with a secret, by settings that may lack members. Errors: `PrivateKey`, `OwnScheme`.
pub fn check_signs(settings: &Settings) -> Result<(), SignError> {
    let mut checked = Ok(());
    for scheme in settings.schemes() {
        checked = scheme.check_signs();
        if checked.is_ok() {
            break;
        }
    }
    checked
}

/// Whether webhooks can be signed again. Errors: `NoKey`, `PrivateKey`, `OwnScheme`, `Batch`.
pub fn check_signs_again(rules: &Rules) -> Result<(), SignError> {
    let Some(schemes) = &rules.schemes else { return Ok(()) };
    let mut failed = SignError::NoKey;
    for scheme in schemes {
        failed = match scheme {
            Scheme::Sender(_) => SignError::OwnScheme,
            Scheme::Jwt(scheme) => match scheme.check_signs_again() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Scheme::Described(scheme) => match scheme.proof {
                Proof::Signature(..) => SignError::PrivateKey,
                Proof::Token(_, Some(_)) => SignError::Batch,
                Proof::Hmac(..) | Proof::Token(_, None) | Proof::Basic(_) => return Ok(()),
            },
        };
    }
    Err(failed)
}

/// Adds the key and the event type. Errors: also `KeyNotSet` and `TypeNotSet`.
fn named(mut draft: Draft, rules: &Rules) -> Result<Draft, SignError> {
    // In a batch, each item has its own.
    let batch = draft.with_request(|request| rules.split.as_ref().filter(|split| split.takes(request)));
    let is_batch = batch.is_some();
    // The type can be a part of the key.
    match (draft.event_type.clone(), rules.event_type.first()) {
        (Some(event_type), Some(part)) => {
            draft.fill(part, &event_type, is_batch)?;
            if draft.value(part, batch) != Some(event_type) {
                return Err(SignError::TypeNotSet);
            }
        }
        (Some(_), None) => return Err(SignError::TypeNotSet),
        (None, Some(part)) if rules.event_type.iter().all(|part| draft.value(part, batch).is_none()) => {
            match draft.fill(part, TEST_TYPE, is_batch) {
                // The webhook can do without a type.
                Ok(()) | Err(SignError::NoObject | SignError::NoForm) => {}
                Err(error) => return Err(error),
            }
        }
        (None, _) => {}
    }
    let key = draft.key.clone().unwrap_or_else(|| draft.id.clone());
    for part in &rules.key {
        draft.fill(part, &key, is_batch)?;
    }
    let has_key = rules.key.iter().any(|part| draft.value(part, batch).as_ref() == Some(&key));
    if draft.key.is_some() && !has_key {
        return Err(SignError::KeyNotSet);
    }
    Ok(draft)
}

impl Described {
    fn sign(&self, mut draft: Draft) -> Result<Draft, SignError> {
        let (keys, encoding) = match &self.proof {
            Proof::Hmac(keys, encoding) => (keys, *encoding),
            Proof::Token(secrets, each) => {
                let token = format!("{}{}", self.prefix, first(secrets)?.expose());
                draft.set_token(&self.place, each.as_ref(), &token)?;
                return Ok(draft);
            }
            Proof::Basic(secrets) => {
                let value = format!("Basic {}", STANDARD.encode(first(secrets)?.expose()));
                draft.set(&self.place, &value)?;
                return Ok(draft);
            }
            _ => return Err(SignError::PrivateKey),
        };
        let key = keys.first().ok_or(SignError::Missing(Cause::KeyUnavailable))?;
        let sent = self.timestamp.as_ref().map(|time| moment(time.unit, draft.at));
        if let (Some(Time { from: TimeFrom::Of(place), unit }), Some(sent)) = (&self.timestamp, &sent) {
            match (place, sent.parse::<i64>()) {
                (Place::Json(List(pointers)), Ok(number)) if !matches!(unit, Unit::Rfc3339) => {
                    draft.set_json(pointers, number.into())?;
                }
                _ => draft.set(place, sent)?,
            }
        }
        for place in self.signed.places() {
            if !draft.has(place) {
                let id = draft.id.clone();
                draft.set(place, &id)?;
            }
        }
        if let Some(place) = &self.body_sha256 {
            let digest = hex::encode(&Sha256::digest(&draft.body));
            draft.set(place, &digest)?;
        }
        let tag = draft.with_request(|request| {
            let document = Document::new(request.body);
            let texts = self.signed.render(request, &document, sent.as_deref());
            texts.map(|texts| texts.first().map(|text| hmac::sign(key, text)))
        });
        let tag = tag.map_err(SignError::Missing)?.ok_or(SignError::Missing(Cause::SignatureMissing))?;
        let signature = format!("{}{}", self.prefix, encode(tag.as_ref(), encoding));
        let value = match (&self.separator, &self.timestamp, sent) {
            (Some(separator), Some(Time { from: TimeFrom::Item(prefix), .. }), Some(sent)) => {
                format!("{prefix}{sent}{separator}{signature}")
            }
            _ => signature,
        };
        draft.set(&self.place, &value)?;
        Ok(draft)
    }
}

fn first(secrets: &[Secret]) -> Result<&Secret, SignError> {
    secrets.first().ok_or(SignError::Missing(Cause::KeyUnavailable))
}

fn encode(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
        Encoding::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
    }
}

/// A moment as the sender writes it.
fn moment(unit: Unit, at: Timestamp) -> String {
    match unit {
        Unit::S => at.as_second().to_string(),
        Unit::Ms => at.as_millisecond().to_string(),
        Unit::Rfc3339 => at.to_string(),
    }
}

#[cfg(test)]
mod tests;
