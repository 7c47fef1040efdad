//! Plaid: the header `Plaid-Verification` has a JSON Web Token with the SHA-256 of the body. Its key comes from the API
//! of Plaid, which wants the credentials of the operator.
//!
//! <https://plaid.com/docs/api/webhooks/webhook-verification/>.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::SenderScheme;
use super::jws::Jws;
use crate::domain::secret::Secret;
use crate::domain::verdict::Cause;
use crate::sources::fetched::{KeyAddress, KeyServer, KnownKeys};
use crate::sources::hex;
use crate::sources::keys::SignatureAlgorithm;
use crate::sources::request::Request;
use crate::sources::verify::{Unproved, check_time};

/// The hosts of the API.
pub(super) const PRODUCTION: &str = "https://production.plaid.com";
pub(super) const SANDBOX: &str = "https://sandbox.plaid.com";

/// The scheme of Plaid.
#[derive(Debug)]
pub(super) struct Plaid {
    pub(super) client_id: String,
    pub(super) secret: Secret,
    /// The host of the API, with its scheme.
    pub(super) host: &'static str,
    pub(super) tolerance: SignedDuration,
}

#[derive(Deserialize)]
struct Claims {
    /// In seconds since 1970.
    iat: i64,
    request_body_sha256: String,
}

impl SenderScheme for Plaid {
    fn verify(&self, request: &Request<'_>, keys: &dyn KnownKeys) -> Result<(), Unproved> {
        let token = request.header_named("Plaid-Verification").filter(|token| !token.is_empty());
        let token = Jws::read(token.ok_or(Cause::SignatureMissing)?, "ES256")?;
        let key_id = token.key_id()?;
        let keys = self.address(key_id).ok_or(Cause::KeyUnavailable)?.look_up(keys)?;
        let signed = (token.signed, token.signature.as_slice());
        let now = request.received_at;
        keys.verify(Some(key_id), SignatureAlgorithm::EcdsaP256Fixed, signed, now)?;
        let claims = token.claims::<Claims>()?;
        if claims.request_body_sha256 != hex::encode(&Sha256::digest(request.body)) {
            return Err(Cause::SignatureMismatch.into());
        }
        let sent = Timestamp::from_second(claims.iat).map_err(|_| Cause::TimestampMissing)?;
        Ok(check_time(sent, now, self.tolerance)?)
    }

    fn covers_body(&self) -> bool {
        true
    }

    fn proving_headers(&self) -> &'static [&'static str] {
        &["Plaid-Verification"]
    }
}

impl Plaid {
    fn address(&self, key_id: &str) -> Option<KeyAddress> {
        let url = Url::parse(&format!("{}/webhook_verification_key/get", self.host)).ok()?;
        let question =
            json!({ "client_id": self.client_id, "secret": self.secret.expose(), "key_id": key_id });
        let question = Secret::from(question.to_string());
        Some(KeyAddress::asked(KeyServer::Plaid, url, question, key_id))
    }
}
