//! Verifies requests: over the exact bytes, in constant time, before anything else is done with them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use ring::signature::UnparsedPublicKey;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::fetched::{KeyAddress, Known, KnownKeys};
use super::hex;
use super::json::{Document, Items, Pointer, items};
use super::place::{List, Place};
use super::read::MAX_BATCH_ITEMS;
use super::request::Request;
use super::rules::Rules;
use super::scheme::{Described, Encoding, Proof, Scheme, Time, TimeFrom, Unit};
use crate::domain::secret::Secret;
use crate::domain::verdict::{Cause, Verdict};

/// How many signatures of one request are tried, so that a forged header cannot cost much time.
pub(super) const MAX_SIGNATURES: usize = 16;

/// The result of verifying a request.
#[derive(Clone, Debug)]
pub enum Verification {
    /// The request is verified, or it is not.
    Verdict(Verdict),
    /// A key has to be fetched. With it, verify the request again.
    Needs(Box<KeyAddress>),
}

/// Why a scheme does not verify a request.
#[derive(Clone, Debug)]
pub(super) enum Unproved {
    Because(Cause),
    Needs(Box<KeyAddress>),
}

impl From<Cause> for Unproved {
    fn from(cause: Cause) -> Self {
        Self::Because(cause)
    }
}

/// Verifies a request without fetching keys. Schemes that need a fetched key do not verify it.
pub fn verify(request: &Request<'_>, rules: &Rules) -> Verdict {
    /// No key can be fetched.
    struct NoKeys;
    impl KnownKeys for NoKeys {
        fn look(&self, _: &KeyAddress) -> Known {
            Known::Unavailable
        }
    }
    match verify_with(request, rules, &NoKeys) {
        Verification::Verdict(verdict) => verdict,
        Verification::Needs(_) => Verdict::Unverified(Cause::KeyUnavailable),
    }
}

/// Verifies a request. It is verified if any scheme of the source verifies it, with any signature and any key. `keys`
/// are those that were fetched before. If a key cannot be fetched, that is the cause whatever other schemes find: the same
/// request may be verified later. So it is if the settings lack a key for the signature of the request.
pub fn verify_with(request: &Request<'_>, rules: &Rules, keys: &dyn KnownKeys) -> Verification {
    let document = Document::new(request.body);
    let Some(schemes) = &rules.schemes else { return Verification::Verdict(Verdict::None) };
    let (mut cause, mut needed, mut is_unfetched) = (Cause::KeyUnavailable, None, false);
    for scheme in schemes {
        let proved = match scheme {
            Scheme::Described(scheme) => scheme.verify(request, &document, rules).map_err(Unproved::Because),
            Scheme::Jwt(scheme) => scheme.verify(request, &document, rules, keys),
            Scheme::Sender(scheme) => scheme.verify(request, keys),
        };
        match proved {
            Ok(()) => return Verification::Verdict(Verdict::Verified),
            Err(Unproved::Because(other)) => {
                is_unfetched |= other == Cause::KeyUnavailable && !matches!(scheme, Scheme::Described(_));
                cause = cause.max(other);
            }
            Err(Unproved::Needs(address)) => needed = needed.or(Some(address)),
        }
    }
    // A cause up to this one says that no scheme with a key has a signature in the request.
    let lacks_key = cause <= Cause::SignatureMalformed && rules.missing_key(request).is_some();
    let cause = if is_unfetched || lacks_key { Cause::KeyUnavailable } else { cause };
    needed.map_or(Verification::Verdict(Verdict::Unverified(cause)), Verification::Needs)
}

impl Described {
    pub(super) fn verify(
        &self,
        request: &Request<'_>,
        document: &Document<'_>,
        rules: &Rules,
    ) -> Result<(), Cause> {
        if self.unless.as_ref().is_some_and(|place| place.is_there(request, document)) {
            return Err(Cause::SignatureMissing);
        }
        if let Proof::Token(secrets, Some(array)) = &self.proof {
            return self.verify_each(document, array, secrets);
        }
        let values = values(&self.place, request, document)?;
        let (mut cause, mut left) = (None, MAX_SIGNATURES);
        for value in values.iter().filter(|value| !value.is_empty()) {
            let mut signatures = self.signatures(value);
            signatures.truncate(left);
            left -= signatures.len();
            match self.verify_value(request, document, rules, value, &signatures) {
                Ok(()) => return Ok(()),
                Err(other) => cause = cause.max(Some(other)),
            }
        }
        Err(cause.unwrap_or(Cause::SignatureMissing))
    }

    fn verify_value(
        &self,
        request: &Request<'_>,
        document: &Document<'_>,
        rules: &Rules,
        value: &str,
        signatures: &[&str],
    ) -> Result<(), Cause> {
        if signatures.is_empty() {
            return Err(Cause::SignatureMalformed);
        }
        match &self.proof {
            Proof::Hmac(keys, encoding) => {
                self.verify_signed(request, document, value, signatures, *encoding, |text, signatures| {
                    // One HMAC for each key, however many signatures the request has.
                    let is_signed = keys.iter().map(|key| hmac::sign(key, text)).any(|tag| {
                        let tag: &[u8] = tag.as_ref();
                        signatures.iter().any(|signature| bool::from(tag.ct_eq(signature)))
                    });
                    // An HMAC that a handshake answers to every client proves nothing.
                    is_signed && !rules.signs_unverified(text)
                })
            }
            Proof::Signature(algorithm, keys, encoding) => {
                let algorithm = algorithm.verification();
                self.verify_signed(request, document, value, signatures, *encoding, |text, signatures| {
                    keys.iter()
                        .map(|key| UnparsedPublicKey::new(algorithm, key))
                        .any(|key| signatures.iter().any(|signature| key.verify(text, signature).is_ok()))
                })
            }
            Proof::Token(secrets, _) => is_any(secrets, signatures[0]),
            Proof::Basic(secrets) => is_any(secrets, &credentials(value).ok_or(Cause::SignatureMalformed)?),
        }
    }

    /// The items of a value that are signatures, without the prefix.
    fn signatures<'v>(&self, value: &'v str) -> Vec<&'v str> {
        let signature = |item: &'v str| item.strip_prefix(&*self.prefix).filter(|rest| !rest.is_empty());
        self.items(value).filter_map(signature).collect()
    }

    /// The items of a value; the value itself if the scheme does not separate it.
    fn items<'v>(&self, value: &'v str) -> impl Iterator<Item = &'v str> {
        let items: Vec<&str> = match &self.separator {
            Some(separator) => value.split(separator.as_str()).map(str::trim).collect(),
            None => vec![value],
        };
        items.into_iter()
    }

    /// Checks the signatures first and then the time, so that a cause about the time means that the sender signed it.
    fn verify_signed(
        &self,
        request: &Request<'_>,
        document: &Document<'_>,
        value: &str,
        signatures: &[&str],
        encoding: Encoding,
        is_signed: impl Fn(&[u8], &[Vec<u8>]) -> bool,
    ) -> Result<(), Cause> {
        let decoded =
            signatures.iter().filter_map(|signature| decode(signature, encoding)).collect::<Vec<_>>();
        if decoded.is_empty() {
            return Err(Cause::SignatureMalformed);
        }
        // A time that is not signed by itself is in the body, and is read after the body is verified.
        let signed_time = self.timestamp.as_ref().filter(|_| self.signed.has_timestamp());
        let sent = match signed_time {
            Some(time) => Some(self.sent(time, request, document, value)?),
            None => None,
        };
        let texts = self.signed.render(request, document, sent.as_deref())?;
        if !texts.iter().any(|text| is_signed(text, &decoded)) {
            return Err(Cause::SignatureMismatch);
        }
        if let Some(place) = &self.body_sha256 {
            let digest = hex::encode(&Sha256::digest(request.body));
            if place.find(request, document).is_none_or(|found| !found.eq_ignore_ascii_case(&digest)) {
                return Err(Cause::SignatureMismatch);
            }
        }
        let Some(time) = &self.timestamp else { return Ok(()) };
        let sent = match sent {
            Some(sent) => sent,
            None => self.sent(time, request, document, value)?,
        };
        let sent = instant(time.unit, &sent).ok_or(Cause::TimestampMissing)?;
        check_time(sent, request.received_at, self.tolerance)
    }

    /// The timestamp, as the sender wrote it.
    fn sent(
        &self,
        time: &Time,
        request: &Request<'_>,
        document: &Document<'_>,
        value: &str,
    ) -> Result<String, Cause> {
        let found = match &time.from {
            TimeFrom::Of(place) => place.find(request, document),
            TimeFrom::Item(prefix) => {
                let mut items = self.items(value).filter_map(|item| item.strip_prefix(&**prefix));
                // Two could be read differently.
                let first = items.next().map(ToOwned::to_owned);
                first.filter(|_| items.next().is_none())
            }
        };
        found.filter(|sent| instant(time.unit, sent).is_some()).ok_or(Cause::TimestampMissing)
    }

    /// Whether every item of an array has the token.
    fn verify_each(&self, document: &Document<'_>, array: &Pointer, secrets: &[Secret]) -> Result<(), Cause> {
        for token in values_of_each(&self.place, document, array, MAX_BATCH_ITEMS)? {
            let token = token.strip_prefix(&*self.prefix).ok_or(Cause::SignatureMalformed)?;
            is_any(secrets, token)?;
        }
        Ok(())
    }
}

/// The values that may have a signature, those of a header that is there more than once too.
pub(super) fn values(
    place: &Place,
    request: &Request<'_>,
    document: &Document<'_>,
) -> Result<Vec<String>, Cause> {
    let Place::Header(List(names)) = place else {
        return Ok(place.find(request, document).into_iter().collect());
    };
    let values = names.iter().flat_map(|name| request.headers_named(name));
    let text = |value| std::str::from_utf8(value).map(|value| value.trim().to_owned());
    values.map(text).collect::<Result<_, _>>().map_err(|_| Cause::SignatureMalformed)
}

/// The value at a place in each item of an array of at most `most`. Errors: an item has none, or there are no items.
pub(super) fn values_of_each(
    place: &Place,
    document: &Document<'_>,
    array: &Pointer,
    most: usize,
) -> Result<Vec<String>, Cause> {
    let Place::Json(List(pointers)) = place else { return Err(Cause::KeyUnavailable) };
    let found = document.json().and_then(|json| array.find(json));
    let found = match found.and_then(|array| items(array, most)) {
        Some(Items::All(found)) if !found.is_empty() => found,
        // Some would not be looked at.
        Some(Items::TooMany) => return Err(Cause::SignatureMalformed),
        Some(Items::All(_)) | None => return Err(Cause::SignatureMissing),
    };
    let value = |item: Document<'_>| {
        let value = pointers.iter().find_map(|pointer| item.text(pointer));
        value.filter(|value| !value.is_empty()).ok_or(Cause::SignatureMissing)
    };
    found.into_iter().map(Document::of).map(value).collect()
}

/// Whether a text is one of the secrets, in a time that says nothing about them.
pub(super) fn is_any(secrets: &[Secret], text: &str) -> Result<(), Cause> {
    let given = Secret::from(text.to_owned());
    let matches = secrets.iter().filter(|secret| secret.is_same(&given)).count();
    if matches > 0 { Ok(()) } else { Err(Cause::CredentialsWrong) }
}

/// User and password of an `Authorization` header (RFC 7617).
pub(super) fn credentials(value: &str) -> Option<String> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    String::from_utf8(STANDARD_PAD_INDIFFERENT.decode(encoded.trim()).ok()?).ok()
}

/// Whether a request was sent at most `tolerance` before now, and at most `tolerance` after it.
pub(super) fn check_time(sent: Timestamp, now: Timestamp, tolerance: SignedDuration) -> Result<(), Cause> {
    let age = now.duration_since(sent);
    if age > tolerance {
        Err(Cause::TimestampTooOld)
    } else if age < -tolerance {
        Err(Cause::TimestampInFuture)
    } else {
        Ok(())
    }
}

/// The bytes of a signature; none if it is not written so.
pub(super) fn decode(signature: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => hex::decode(signature),
        Encoding::Base64 => STANDARD_PAD_INDIFFERENT.decode(signature).ok(),
        Encoding::Base64Url => URL_SAFE_PAD_INDIFFERENT.decode(signature).ok(),
    }
}

/// The moment that a timestamp names; none if it names none.
pub(super) fn instant(unit: Unit, text: &str) -> Option<Timestamp> {
    match unit {
        Unit::S => Timestamp::from_second(text.parse().ok()?).ok(),
        Unit::Ms => Timestamp::from_millisecond(text.parse().ok()?).ok(),
        Unit::Rfc3339 => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
