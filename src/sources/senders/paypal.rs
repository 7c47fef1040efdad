//! PayPal: the header `PAYPAL-TRANSMISSION-SIG` signs an id, a time, the id of the webhook and the CRC-32 of the body,
//! by a certificate that another header names.
//!
//! <https://developer.paypal.com/api/rest/webhooks/rest/#verify-messages>.

use jiff::SignedDuration;
use url::Url;

use super::SenderScheme;
use super::pinned::{is_file_name, pinned};
use crate::domain::verdict::Cause;
use crate::sources::fetched::{KeyAddress, KeyServer, KnownKeys};
use crate::sources::keys::SignatureAlgorithm;
use crate::sources::request::Request;
use crate::sources::scheme::{Encoding, Unit};
use crate::sources::verify::{Unproved, check_time, decode, instant};

/// The hosts with certificates.
const HOSTS: [&str; 4] =
    ["api.paypal.com", "api-m.paypal.com", "api.sandbox.paypal.com", "api-m.sandbox.paypal.com"];

/// The scheme of PayPal.
#[derive(Debug)]
pub(super) struct PayPal {
    pub(super) webhook_ids: Vec<String>,
    pub(super) tolerance: SignedDuration,
}

impl SenderScheme for PayPal {
    fn verify(&self, request: &Request<'_>, keys: &dyn KnownKeys) -> Result<(), Unproved> {
        let header = |name| request.header_named(name).filter(|value| !value.is_empty());
        let signature = header("PAYPAL-TRANSMISSION-SIG").ok_or(Cause::SignatureMissing)?;
        let signature = decode(signature, Encoding::Base64).ok_or(Cause::SignatureMalformed)?;
        let id = header("PAYPAL-TRANSMISSION-ID").filter(|id| !id.contains('|'));
        let id = id.ok_or(Cause::SignatureMalformed)?;
        if header("PAYPAL-AUTH-ALGO") != Some("SHA256withRSA") {
            return Err(Cause::SignatureMalformed.into());
        }
        let time = header("PAYPAL-TRANSMISSION-TIME").ok_or(Cause::TimestampMissing)?;
        let sent = instant(Unit::Rfc3339, time).ok_or(Cause::TimestampMissing)?;
        let certificate = header("PAYPAL-CERT-URL").and_then(certificate).ok_or(Cause::SignatureMalformed)?;
        let keys = KeyAddress::certificate(KeyServer::PayPal, certificate, is_signer).look_up(keys)?;
        let body = crc32fast::hash(request.body);
        let mut cause = Cause::SignatureMismatch;
        for webhook_id in &self.webhook_ids {
            let text = format!("{id}|{time}|{webhook_id}|{body}");
            let signed = (text.as_bytes(), signature.as_slice());
            match keys.verify(None, SignatureAlgorithm::RsaSha256, signed, request.received_at) {
                Ok(()) => return Ok(check_time(sent, request.received_at, self.tolerance)?),
                Err(other) => cause = other,
            }
        }
        Err(cause.into())
    }

    /// A CRC proves nothing: a body with the same one is easily made.
    fn covers_body(&self) -> bool {
        false
    }

    fn proving_headers(&self) -> &'static [&'static str] {
        &["PAYPAL-TRANSMISSION-SIG"]
    }
}

fn certificate(url: &str) -> Option<Url> {
    let url = pinned(url, |host| HOSTS.contains(&host))?;
    let name = url.path().strip_prefix("/v1/notifications/certs/")?;
    (is_file_name(name) && url.query().is_none()).then_some(url)
}

/// Whether a certificate of this name signs webhooks (paypalrestsdk for Python, `notifications.py`).
fn is_signer(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".paypal.com")
}
