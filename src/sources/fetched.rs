//! Keys that are fetched: where they are, and how the answers of the servers that have them are read.
//!
//! Nothing is fetched here. Verifying asks for a key that is not known ([`KeyAddress`]), and is repeated with what was
//! answered ([`KnownKeys`]).

mod certificate;
mod jwk;

use std::sync::Arc;

use jiff::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::hex;
use super::keys::SignatureAlgorithm;
use super::verify::Unproved;
use crate::domain::secret::Secret;
use crate::domain::verdict::Cause;

/// A server that has keys of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyServer {
    /// Amazon SNS.
    AwsSns,
    /// PayPal.
    PayPal,
    /// Google.
    Google,
    /// Plaid.
    Plaid,
    /// One that the settings name by `keys_url`.
    OfSettings,
}

impl KeyServer {
    /// Its name, for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwsSns => "aws-sns",
            Self::PayPal => "paypal",
            Self::Google => "google",
            Self::Plaid => "plaid",
            Self::OfSettings => "keys_url",
        }
    }
}

/// Where a key is. Only the schemes of senders make one, for hosts that they name, and those whose settings name the URL.
#[derive(Clone, Debug)]
pub struct KeyAddress {
    server: KeyServer,
    url: Url,
    /// What is posted; none for GET.
    question: Option<Secret>,
    form: Form,
    /// The id of the wanted key in a set.
    key_id: Option<String>,
    name: String,
}

/// What is answered.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// A certificate in PEM, for a name that is accepted here.
    Certificate(fn(&str) -> bool),
    /// JSON Web Keys (RFC 7517).
    KeySet,
    /// An object with one JSON Web Key, as Plaid answers it.
    Key,
}

/// The keys that were fetched before.
pub trait KnownKeys {
    /// What is known about the keys at an address.
    fn look(&self, address: &KeyAddress) -> Known;
}

/// What is known about the keys at an address.
#[derive(Clone, Debug)]
pub enum Known {
    /// Nothing yet: they have to be fetched.
    Nothing,
    /// They could not be fetched.
    Unavailable,
    /// The keys.
    Keys(Arc<FetchedKeys>),
}

/// Keys as a server answered them.
#[derive(Clone, Debug)]
pub struct FetchedKeys(Vec<FetchedKey>);

#[derive(Clone, Debug)]
struct FetchedKey {
    /// Its id in a set; none for a certificate.
    id: Option<String>,
    key: PublicKey,
    /// The first and the last moment at which it is valid.
    valid: (Timestamp, Timestamp),
}

#[derive(Clone, Debug)]
enum PublicKey {
    /// RSA, in DER as PKCS #1 says.
    RsaDer(Vec<u8>),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// A point of the elliptic curve P-256, not compressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl KeyAddress {
    /// The address of a certificate in PEM, for a name that is accepted by `is_name`.
    pub(super) fn certificate(server: KeyServer, url: Url, is_name: fn(&str) -> bool) -> Self {
        Self::new(server, url, None, Form::Certificate(is_name), None)
    }

    /// The address of a key in a set.
    pub(super) fn in_set(server: KeyServer, url: Url, key_id: &str) -> Self {
        Self::new(server, url, None, Form::KeySet, Some(key_id))
    }

    /// The address of a key that is answered to this JSON.
    pub(super) fn asked(server: KeyServer, url: Url, question: Secret, key_id: &str) -> Self {
        Self::new(server, url, Some(question), Form::Key, Some(key_id))
    }

    fn new(server: KeyServer, url: Url, question: Option<Secret>, form: Form, key_id: Option<&str>) -> Self {
        let asked = question.as_ref().map(|question| {
            let digest = Sha256::digest(question.expose().as_bytes());
            format!("#{}", hex::encode(&digest))
        });
        let name = format!("{url}{}", asked.unwrap_or_default());
        Self { server, url, question, form, key_id: key_id.map(ToOwned::to_owned), name }
    }

    /// The server.
    pub fn server(&self) -> KeyServer {
        self.server
    }

    /// The URL: https, without credentials, at the default port.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The JSON to post; none for GET. It may have secrets.
    pub fn question(&self) -> Option<&str> {
        self.question.as_ref().map(Secret::expose)
    }

    /// The same text for all addresses with the same answer. It has no secret.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the wanted key is among these.
    pub fn is_in(&self, keys: &FetchedKeys) -> bool {
        self.key_id.is_none() || keys.0.iter().any(|key| key.id == self.key_id)
    }

    /// Reads an answer. The error continues "the answer ...".
    pub fn read(&self, answer: &[u8]) -> Result<FetchedKeys, &'static str> {
        let keys = match self.form {
            Form::Certificate(is_name) => vec![certificate::read(answer, is_name)?],
            Form::KeySet => jwk::read_set(answer)?,
            Form::Key => vec![jwk::read_one(answer)?],
        };
        Ok(FetchedKeys(keys))
    }

    /// The keys at this address, if they are known.
    pub(super) fn look_up(self, keys: &dyn KnownKeys) -> Result<Arc<FetchedKeys>, Unproved> {
        match keys.look(&self) {
            Known::Keys(keys) => Ok(keys),
            Known::Unavailable => Err(Cause::KeyUnavailable.into()),
            Known::Nothing => Err(Unproved::Needs(Box::new(self))),
        }
    }
}

impl FetchedKeys {
    /// Whether the signature of a text is that of a key with this id, and valid at this moment.
    pub(super) fn verify(
        &self,
        id: Option<&str>,
        algorithm: SignatureAlgorithm,
        (text, signature): (&[u8], &[u8]),
        at: Timestamp,
    ) -> Result<(), Cause> {
        let mut cause = Cause::SignatureMismatch;
        for key in self.0.iter().filter(|key| key.id.as_deref() == id) {
            let (first, last) = key.valid;
            if at < first || at > last {
                cause = Cause::KeyUnavailable;
            } else if key.key.verifies(algorithm, text, signature) {
                return Ok(());
            }
        }
        Err(cause)
    }
}

impl PublicKey {
    fn verifies(&self, algorithm: SignatureAlgorithm, text: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa(key), SignatureAlgorithm::RsaSha256) => {
                key.verify(&RSA_PKCS1_2048_8192_SHA256, text, signature).is_ok()
            }
            (Self::RsaDer(key), SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::RsaSha256)
            | (Self::P256(key), SignatureAlgorithm::EcdsaP256Fixed)
            | (Self::Ed25519(key), SignatureAlgorithm::Ed25519) => {
                UnparsedPublicKey::new(algorithm.verification(), key).verify(text, signature).is_ok()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
