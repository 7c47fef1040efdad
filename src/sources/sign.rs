//! Signs requests as their senders do, to test a source or a server behind hookbox: the inverse of `verify`.
//!
//! Only for schemes with a secret that both sides have. What the rules look for besides, and a new request has not, is put
//! where they look for it.

mod jwt;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use ring::hmac;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use super::hex;
use super::json::{Document, Pointer};
use super::part::Part;
use super::place::{List, Place};
use super::request::Request;
use super::rules::Rules;
use super::scheme::{Described, Encoding, Proof, Scheme, Time, TimeFrom, Unit};
use super::verify::verify;
use crate::domain::pointer;
use crate::domain::secret::Secret;
use crate::domain::verdict::{Cause, Verdict};

/// What CloudEvents percent-encodes in headers, besides what is not ASCII (HTTP Protocol Binding 1.0.2, section 3.1.3.2).
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A request by POST, before or after it is signed. `Debug` does not show what may have a secret.
#[derive(Clone)]
pub struct Draft {
    /// A text that no other request has: the key of the webhook where the request has none.
    pub id: String,
    /// What happened, where the request does not say it; none to say nothing.
    pub event_type: Option<String>,
    /// The URL to which the sender sends, without its query.
    pub url: String,
    /// The query, without the question mark; empty if there is none.
    pub query: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The exact bytes of the body.
    pub body: Vec<u8>,
    /// When the request is sent.
    pub at: Timestamp,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why a request cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The sender signs with a private key.
    #[error("only the sender has the private key that signs; forward a request of the sender instead")]
    PrivateKey,
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
    /// Something that is signed is missing.
    #[error("the request lacks something that the sender signs ({})", .0.as_str())]
    Missing(Cause),
    /// The signed request does not pass the rules.
    #[error("the rules of the source do not accept the signed request ({})", .0.as_str())]
    NotAccepted(Cause),
}

/// The request with key, event type and signature, as the sender would send it. Of several schemes, the first that can
/// be used signs. Errors: none can be used.
pub fn sign(draft: &Draft, rules: &Rules) -> Result<Draft, SignError> {
    sign_again(&named(draft.clone(), rules)?, rules)
}

/// Signs a request that was sent before, with a new time. The body stays as it is, unless the signature or the time is in
/// it. Errors: as for [`sign`].
pub fn sign_again(draft: &Draft, rules: &Rules) -> Result<Draft, SignError> {
    let Some(schemes) = &rules.schemes else { return Ok(draft.clone()) };
    let mut failed = SignError::PrivateKey;
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

/// Whether webhooks can be signed again. Errors: `PrivateKey`, `OwnScheme`, `Batch`.
pub fn check_signs_again(rules: &Rules) -> Result<(), SignError> {
    let Some(schemes) = &rules.schemes else { return Ok(()) };
    let mut failed = SignError::PrivateKey;
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

/// Adds the key and the event type.
fn named(mut draft: Draft, rules: &Rules) -> Result<Draft, SignError> {
    // In a batch, each item has its own.
    let is_batch =
        draft.with_request(|request| rules.split.as_ref().is_some_and(|split| split.takes(request)));
    let id = draft.id.clone();
    // The type can be a part of the key.
    if let Some(event_type) = draft.event_type.clone()
        && let Some(part) = rules.event_type.first()
    {
        draft.fill(part, &event_type, is_batch)?;
    }
    for part in &rules.key {
        draft.fill(part, &id, is_batch)?;
    }
    Ok(draft)
}

impl Draft {
    /// The whole URL.
    pub fn full_url(&self) -> String {
        if self.query.is_empty() { self.url.clone() } else { format!("{}?{}", self.url, self.query) }
    }

    fn with_request<T>(&self, look: impl FnOnce(&Request<'_>) -> T) -> T {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        look(&Request {
            id: &self.id,
            method: "POST",
            url: Some(&self.full_url()),
            query: &self.query,
            headers: &headers.collect::<Vec<_>>(),
            body: &self.body,
            received_at: self.at,
        })
    }

    fn has(&self, place: &Place) -> bool {
        self.with_request(|request| place.find(request, &Document::new(request.body)).is_some())
    }

    /// Puts a value where a part is looked for, unless there is one.
    fn fill(&mut self, part: &Part, value: &str, is_batch: bool) -> Result<(), SignError> {
        match part {
            Part::Of(Place::Json(_) | Place::Form(_)) if is_batch => Ok(()),
            Part::Of(place) if self.has(place) => Ok(()),
            Part::Of(place) => self.set(place, value),
            Part::Decoded(names) => {
                let value = utf8_percent_encode(value, ESCAPED).to_string();
                self.fill(&Part::Of(Place::Header(names.clone())), &value, is_batch)
            }
            Part::Outer(pointers) => self.fill(&Part::Of(Place::Json(pointers.clone())), value, false),
            Part::First(List(parts)) => {
                let has = |part: &Part| match part {
                    Part::Of(place) => self.has(place),
                    Part::Decoded(names) => self.has(&Place::Header(names.clone())),
                    _ => false,
                };
                match parts.first().filter(|_| !parts.iter().any(has)) {
                    Some(first) => self.fill(first, value, is_batch),
                    None => Ok(()),
                }
            }
            Part::Body | Part::Request | Part::Text(_) | Part::Name(_) => Ok(()),
        }
    }

    fn set(&mut self, place: &Place, value: &str) -> Result<(), SignError> {
        match place {
            Place::Header(List(names)) => {
                let Some(name) = names.first().map(|name| name.as_str()) else { return Ok(()) };
                self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                self.headers.push((name.to_owned(), value.to_owned()));
                Ok(())
            }
            Place::Query(List(names)) => {
                self.query = with_field(self.query.as_bytes(), names, value);
                Ok(())
            }
            Place::Form(List(names)) => {
                if self.with_request(|request| request.fields().is_none()) {
                    return Err(SignError::NoForm);
                }
                self.body = with_field(&self.body, names, value).into_bytes();
                Ok(())
            }
            Place::Json(List(pointers)) => self.set_json(pointers, value.into()),
        }
    }

    /// A body that has the value there already stays as it is.
    fn set_json(&mut self, pointers: &[Pointer], value: Value) -> Result<(), SignError> {
        let mut json = self.json()?;
        if let Some(first) = pointers.first() {
            let found = reach(&mut json, first).ok_or(SignError::NoObject)?;
            if *found == value {
                return Ok(());
            }
            *found = value;
        }
        self.body = json.to_string().into_bytes();
        Ok(())
    }

    /// Puts a token at a place, or there into each item of an array.
    fn set_token(&mut self, place: &Place, each: Option<&Pointer>, token: &str) -> Result<(), SignError> {
        match (each, place) {
            (Some(array), Place::Json(List(pointers))) => self.set_each(array, pointers, token),
            (_, place) => self.set(place, token),
        }
    }

    /// Puts a token into each item of an array, or of a new one with one item.
    fn set_each(&mut self, array: &Pointer, pointers: &[Pointer], token: &str) -> Result<(), SignError> {
        let mut json = self.json()?;
        let found = reach(&mut json, array).ok_or(SignError::NoObject)?;
        if found.is_null() {
            *found = Value::Array(vec![Value::Null]);
        }
        for item in found.as_array_mut().ok_or(SignError::NoObject)? {
            if let Some(first) = pointers.first() {
                *reach(item, first).ok_or(SignError::NoObject)? = token.into();
            }
        }
        self.body = json.to_string().into_bytes();
        Ok(())
    }

    /// The body as JSON; null if it is empty.
    fn json(&self) -> Result<Value, SignError> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|_| SignError::NoObject)
    }
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

/// A form, or a query, with this value in the field.
fn with_field(form: &[u8], names: &[String], value: &str) -> String {
    let Some(name) = names.first() else { return String::from_utf8_lossy(form).into_owned() };
    let others = form_urlencoded::parse(form).filter(|(other, _)| other != name);
    let mut written = form_urlencoded::Serializer::new(String::new());
    written.extend_pairs(others).append_pair(name, value);
    written.finish()
}

/// The value that a pointer names. Members that are missing, and objects where there is null, are made. None if there is
/// another value on the way.
fn reach<'v>(json: &'v mut Value, to: &Pointer) -> Option<&'v mut Value> {
    to.members().iter().try_fold(json, |json, member| {
        if json.is_null() {
            *json = Value::Object(Map::new());
        }
        match json {
            Value::Object(members) => Some(members.entry(member.to_string()).or_insert(Value::Null)),
            Value::Array(items) => items.get_mut(pointer::index(member)?),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests;
