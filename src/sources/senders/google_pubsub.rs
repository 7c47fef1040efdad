//! Google Cloud Pub/Sub: a JSON Web Token in `Authorization` proves who sent a request, but not what.
//!
//! <https://docs.cloud.google.com/pubsub/docs/authenticate-push-subscriptions>.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::Url;

use super::SenderScheme;
use super::jws::Jws;
use crate::domain::verdict::Cause;
use crate::sources::fetched::{KeyAddress, KeyServer, KnownKeys};
use crate::sources::keys::SignatureAlgorithm;
use crate::sources::request::Request;
use crate::sources::verify::Unproved;

/// Where the keys are (`jwks_uri` of <https://accounts.google.com/.well-known/openid-configuration>).
const KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// The issuer of the tokens. Google uses both forms.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// The scheme of Google Cloud Pub/Sub.
#[derive(Debug)]
pub(super) struct GooglePubsub {
    pub(super) audiences: Vec<String>,
    /// The addresses of the service accounts.
    pub(super) emails: Vec<String>,
    pub(super) tolerance: SignedDuration,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    email: String,
    email_verified: bool,
    /// In seconds since 1970.
    iat: i64,
    exp: i64,
}

impl SenderScheme for GooglePubsub {
    fn verify(&self, request: &Request<'_>, keys: &dyn KnownKeys) -> Result<(), Unproved> {
        let credentials = request.header_named("Authorization").filter(|value| !value.is_empty());
        let credentials = credentials.ok_or(Cause::SignatureMissing)?;
        let (kind, token) = credentials.split_once(' ').ok_or(Cause::SignatureMalformed)?;
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(Cause::SignatureMalformed.into());
        }
        let token = Jws::read(token.trim(), "RS256")?;
        let url = Url::parse(KEYS).map_err(|_| Cause::KeyUnavailable)?;
        let key_id = token.key_id()?;
        let keys = KeyAddress::in_set(KeyServer::Google, url, key_id).look_up(keys)?;
        let signed = (token.signed, token.signature.as_slice());
        let now = request.received_at;
        keys.verify(Some(key_id), SignatureAlgorithm::RsaSha256, signed, now)?;
        let claims = token.claims::<Claims>()?;
        // Google signs a token for any audience for every account, with the address of that account.
        let is_ours = ISSUERS.contains(&claims.iss.as_str())
            && self.audiences.contains(&claims.aud)
            && self.emails.contains(&claims.email)
            && claims.email_verified;
        if !is_ours {
            return Err(Cause::CredentialsWrong.into());
        }
        let moment = |second| Timestamp::from_second(second).map_err(|_| Cause::TimestampMissing);
        if now.duration_since(moment(claims.exp)?) > self.tolerance {
            return Err(Cause::TimestampTooOld.into());
        }
        if moment(claims.iat)?.duration_since(now) > self.tolerance {
            return Err(Cause::TimestampInFuture.into());
        }
        Ok(())
    }

    fn covers_body(&self) -> bool {
        false
    }

    fn proving_headers(&self) -> &'static [&'static str] {
        &["Authorization"]
    }
}
