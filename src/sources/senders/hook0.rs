//! Hook0, which Coinbase Developer Platform sends by: an HMAC of the body and of the headers that the signature names.
//!
//! <https://docs.cdp.coinbase.com/webhooks/verify-signatures>, and the clients of Hook0.

use jiff::SignedDuration;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::SenderScheme;
use crate::domain::verdict::Cause;
use crate::sources::fetched::KnownKeys;
use crate::sources::request::Request;
use crate::sources::scheme::{Encoding, Unit};
use crate::sources::verify::{MAX_SIGNATURES, Unproved, check_time, decode, instant};

/// The header with the signature.
const HEADER: &str = "X-Hook0-Signature";

/// The most headers that a signature may name.
const MAX_SIGNED_HEADERS: usize = 64;

/// The scheme of Hook0.
#[derive(Debug)]
pub(super) struct Hook0 {
    pub(super) keys: Vec<hmac::Key>,
    pub(super) tolerance: SignedDuration,
}

impl SenderScheme for Hook0 {
    fn verify(&self, request: &Request<'_>, _: &dyn KnownKeys) -> Result<(), Unproved> {
        let value = request.header_named(HEADER).filter(|value| !value.is_empty());
        let items = value.ok_or(Cause::SignatureMissing)?.split(',');
        let items = items.filter_map(|item| item.trim().split_once('=')).collect::<Vec<_>>();
        let only = |name| {
            let mut values = items.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value);
            values.next().filter(|_| values.next().is_none())
        };
        // Only dots stand between the headers and the body. The first brace tells where the body begins.
        if !request.body.starts_with(b"{") {
            return Err(Cause::SignatureMalformed.into());
        }
        let time = only("t").ok_or(Cause::TimestampMissing)?;
        let sent = instant(Unit::S, time).ok_or(Cause::TimestampMissing)?;
        let names = only("h").ok_or(Cause::SignatureMalformed)?;
        let values = signed_values(request, names).ok_or(Cause::SignatureMalformed)?;
        let signatures = items.iter().filter(|(name, _)| *name == "v1").take(MAX_SIGNATURES);
        let signatures = signatures.filter_map(|(_, value)| decode(value, Encoding::Hex)).collect::<Vec<_>>();
        if signatures.is_empty() {
            return Err(Cause::SignatureMalformed.into());
        }
        let head = format!("{time}.{names}.{values}.");
        let is_signed = self.keys.iter().any(|key| {
            let mut tag = hmac::Context::with_key(key);
            tag.update(head.as_bytes());
            tag.update(request.body);
            let tag = tag.sign();
            signatures.iter().any(|signature| bool::from(tag.as_ref().ct_eq(signature)))
        });
        if !is_signed {
            return Err(Cause::SignatureMismatch.into());
        }
        Ok(check_time(sent, request.received_at, self.tolerance)?)
    }

    fn covers_body(&self) -> bool {
        true
    }

    fn proving_headers(&self) -> &'static [&'static str] {
        &[HEADER]
    }
}

/// The values of the headers with these names, joined by dots; none if one of them is not there once, or has a brace.
fn signed_values(request: &Request<'_>, names: &str) -> Option<String> {
    if names.is_empty() {
        return Some(String::new());
    }
    let names = names.split(' ').collect::<Vec<_>>();
    if names.len() > MAX_SIGNED_HEADERS {
        return None;
    }
    let value = |name| request.header_named(name).filter(|value| !value.contains('{'));
    let values = names.into_iter().map(value);
    values.collect::<Option<Vec<_>>>().map(|values| values.join("."))
}
