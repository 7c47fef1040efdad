//! Reads JSON Web Keys (RFC 7517): those of RSA for RS256, those of the elliptic curve P-256 for ES256, and those of
//! Ed25519 for EdDSA (RFC 8037).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::RsaPublicKeyComponents;
use serde::Deserialize;
use serde_json::Value;

use super::{FetchedKey, PublicKey};

/// The length of a coordinate of a point of P-256, in bytes.
const COORDINATE_BYTES: usize = 32;

/// The length of a key of Ed25519, in bytes.
const ED25519_BYTES: usize = 32;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct One {
    key: Value,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// When the key expires or expired, in seconds since 1970; Plaid has it.
    expired_at: Option<i64>,
}

/// The usable keys of a set.
pub(super) fn read_set(json: &[u8]) -> Result<Vec<FetchedKey>, &'static str> {
    let set = serde_json::from_slice::<Set>(json).map_err(|_| "is no set of keys in JSON")?;
    let keys = set.keys.into_iter().filter_map(key).collect::<Vec<_>>();
    if keys.is_empty() { Err("has no key that can be used") } else { Ok(keys) }
}

/// The key in the member `key`.
pub(super) fn read_one(json: &[u8]) -> Result<FetchedKey, &'static str> {
    let one = serde_json::from_slice::<One>(json).map_err(|_| "is no key in JSON")?;
    key(one.key).ok_or("has no key that can be used")
}

/// The key; none if it is for another algorithm or another use.
fn key(jwk: Value) -> Option<FetchedKey> {
    let jwk = serde_json::from_value::<Jwk>(jwk).ok()?;
    if jwk.usage.is_some_and(|usage| usage != "sig") {
        return None;
    }
    let (key, algorithm) = match jwk.kty.as_str() {
        "RSA" => {
            let (n, e) = (number(&jwk.n?)?, number(&jwk.e?)?);
            (PublicKey::Rsa(RsaPublicKeyComponents { n, e }), "RS256")
        }
        "EC" if jwk.crv.as_deref() == Some("P-256") => {
            let (x, y) = (bytes(&jwk.x?)?, bytes(&jwk.y?)?);
            if [x.len(), y.len()] != [COORDINATE_BYTES; 2] {
                return None;
            }
            // 4 says that both coordinates are there (SEC 1, section 2.3.3).
            (PublicKey::P256([vec![4], x, y].concat()), "ES256")
        }
        "OKP" if jwk.crv.as_deref() == Some("Ed25519") => {
            let x = bytes(&jwk.x?)?;
            if x.len() != ED25519_BYTES {
                return None;
            }
            (PublicKey::Ed25519(x), "EdDSA")
        }
        _ => return None,
    };
    if jwk.alg.is_some_and(|alg| alg != algorithm) {
        return None;
    }
    let last = jwk.expired_at.map_or(Some(Timestamp::MAX), |second| Timestamp::from_second(second).ok())?;
    Some(FetchedKey { id: Some(jwk.kid), key, valid: (Timestamp::MIN, last) })
}

/// A big-endian number without leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let mut bytes = bytes(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes.split_off(zeros))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
