//! Adyen: each item of `notificationItems` has an HMAC of some of its fields. A password can be required, too.
//!
//! <https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures/>, and the SDKs
//! of Adyen, which escape nothing.

use ring::hmac;
use serde::Deserialize;
use serde_json::value::RawValue;
use subtle::ConstantTimeEq as _;

use super::SenderScheme;
use crate::domain::secret::Secret;
use crate::domain::verdict::Cause;
use crate::sources::fetched::KnownKeys;
use crate::sources::json::scalar;
use crate::sources::request::Request;
use crate::sources::scheme::Encoding;
use crate::sources::verify::{Unproved, credentials, decode, is_any};

/// The scheme of Adyen.
#[derive(Debug)]
pub(super) struct Adyen {
    pub(super) keys: Vec<hmac::Key>,
    /// Users and passwords, of which a request has to have one; none if it needs none.
    pub(super) passwords: Option<Vec<Secret>>,
}

/// A member that is there twice is an error: readers differ about which one counts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification<'a> {
    #[serde(borrow)]
    notification_items: Vec<Wrapped<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wrapped<'a> {
    #[serde(borrow)]
    notification_request_item: Item<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    #[serde(borrow)]
    psp_reference: Option<&'a RawValue>,
    #[serde(borrow)]
    original_reference: Option<&'a RawValue>,
    #[serde(borrow)]
    merchant_account_code: Option<&'a RawValue>,
    #[serde(borrow)]
    merchant_reference: Option<&'a RawValue>,
    #[serde(borrow)]
    amount: Option<Amount<'a>>,
    #[serde(borrow)]
    event_code: Option<&'a RawValue>,
    #[serde(borrow)]
    success: Option<&'a RawValue>,
    #[serde(default)]
    additional_data: AdditionalData,
}

#[derive(Deserialize)]
struct Amount<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdditionalData {
    hmac_signature: Option<String>,
}

impl SenderScheme for Adyen {
    fn verify(&self, request: &Request<'_>, _: &dyn KnownKeys) -> Result<(), Unproved> {
        if let Some(passwords) = &self.passwords {
            let value = request.header_named("Authorization").filter(|value| !value.is_empty());
            let given = credentials(value.ok_or(Cause::SignatureMissing)?);
            is_any(passwords, &given.ok_or(Cause::SignatureMalformed)?)?;
        }
        let notification = serde_json::from_slice::<Notification<'_>>(request.body);
        let items = notification.map_err(|_| Cause::SignatureMissing)?.notification_items;
        if items.is_empty() {
            return Err(Cause::SignatureMissing.into());
        }
        for item in items {
            self.verify_item(&item.notification_request_item)?;
        }
        Ok(())
    }

    fn covers_body(&self) -> bool {
        false
    }

    fn proving_headers(&self) -> &'static [&'static str] {
        &[]
    }
}

impl Adyen {
    fn verify_item(&self, item: &Item<'_>) -> Result<(), Cause> {
        let signature = item.additional_data.hmac_signature.as_deref().filter(|text| !text.is_empty());
        let signature = signature.ok_or(Cause::SignatureMissing)?;
        let signature = decode(signature, Encoding::Base64).ok_or(Cause::SignatureMalformed)?;
        let text = item.signed();
        let is_signed = self.keys.iter().any(|key| {
            let tag = hmac::sign(key, text.as_bytes());
            bool::from(tag.as_ref().ct_eq(&signature))
        });
        if is_signed { Ok(()) } else { Err(Cause::SignatureMismatch) }
    }
}

impl Item<'_> {
    /// The fields in the order of Adyen, joined by colons. A field that is missing is empty.
    fn signed(&self) -> String {
        let amount = self.amount.as_ref();
        let fields = [
            self.psp_reference,
            self.original_reference,
            self.merchant_account_code,
            self.merchant_reference,
            amount.and_then(|amount| amount.value),
            amount.and_then(|amount| amount.currency),
            self.event_code,
            self.success,
        ];
        fields.map(|field| field.and_then(scalar).unwrap_or_default()).join(":")
    }
}
