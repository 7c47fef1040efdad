//! The schemes by which senders prove who they are, compiled.

use std::sync::Arc;

use jiff::SignedDuration;
use ring::hmac;
use serde::Deserialize;

use super::json::Pointer;
use super::jwt::Jwt;
use super::keys::SignatureAlgorithm;
use super::place::{List, Place};
use super::senders::SenderScheme;
use super::template::Template;
use crate::domain::secret::Secret;

/// A compiled scheme.
#[derive(Clone, Debug)]
pub(super) enum Scheme {
    /// The settings describe it.
    Described(Box<Described>),
    /// The settings describe it, and the sender sends a JSON Web Token.
    Jwt(Box<Jwt>),
    /// It is that of one sender, in code.
    Sender(Arc<dyn SenderScheme>),
}

/// A compiled scheme that the settings describe.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) place: Place,
    /// Separates the items of the value; none if the value is one item.
    pub(super) separator: Option<String>,
    /// Begins each item that is a signature.
    pub(super) prefix: String,
    pub(super) proof: Proof,
    pub(super) signed: Template,
    pub(super) timestamp: Option<Time>,
    pub(super) tolerance: SignedDuration,
    /// Where a signed value is that comes with one idempotency key only; none if there is none.
    pub(super) once: Option<Place>,
    /// Where the SHA-256 of the body is besides, in hex.
    pub(super) body_sha256: Option<Place>,
    /// What requests of another scheme have; none if nothing tells them apart.
    pub(super) unless: Option<Place>,
}

/// What proves that a request is from its sender.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    Hmac(Vec<hmac::Key>, Encoding),
    Signature(SignatureAlgorithm, Vec<Vec<u8>>, Encoding),
    /// The value equals a secret; in each item of the array, if there is a pointer to one.
    Token(Vec<Secret>, Option<Pointer>),
    /// User and password, separated by a colon, equal a secret.
    Basic(Vec<Secret>),
}

/// Where the timestamp is.
#[derive(Clone, Debug)]
pub(super) struct Time {
    pub(super) from: TimeFrom,
    pub(super) unit: Unit,
}

#[derive(Clone, Debug)]
pub(super) enum TimeFrom {
    /// The item of the signature's value that begins with this.
    Item(String),
    Of(Place),
}

/// The unit of a timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    /// Seconds since 1970.
    #[default]
    S,
    /// Milliseconds since 1970.
    Ms,
    /// A date with a time, as RFC 3339 says.
    Rfc3339,
}

impl Scheme {
    /// Whether the scheme proves the whole body, and not only who sent it.
    pub(super) fn covers_body(&self) -> bool {
        match self {
            Self::Described(scheme) => {
                let is_token = matches!(scheme.proof, Proof::Token(..) | Proof::Basic(_));
                !is_token && (scheme.signed.covers_body() || scheme.body_sha256.is_some())
            }
            Self::Jwt(scheme) => scheme.body_sha256_claim.is_some(),
            Self::Sender(scheme) => scheme.covers_body(),
        }
    }

    /// The authentication scheme of HTTP by which a request can prove who sent it; none if it is not one of HTTP.
    pub(super) fn of_http(&self) -> Option<&'static str> {
        match self {
            Self::Described(scheme) if matches!(scheme.proof, Proof::Basic(_)) => Some("Basic"),
            Self::Jwt(scheme) => {
                let in_authorization = |name: &&str| name.eq_ignore_ascii_case("authorization");
                header_names(&scheme.place).iter().any(in_authorization).then_some("Bearer")
            }
            Self::Described(_) | Self::Sender(_) => None,
        }
    }

    /// The names of the headers that prove who sent a request.
    pub(super) fn proving_headers(&self) -> Vec<&str> {
        match self {
            Self::Described(scheme) => header_names(&scheme.place),
            Self::Jwt(scheme) => header_names(&scheme.place),
            Self::Sender(scheme) => scheme.proving_headers().to_vec(),
        }
    }
}

fn header_names(place: &Place) -> Vec<&str> {
    match place {
        Place::Header(List(names)) => names.iter().map(|name| name.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// A hash for HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl Hash {
    pub(super) fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    #[default]
    Hex,
    Base64,
    Base64Url,
}
