//! Tests of the algorithms with public keys.

use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair as CertificateKey, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};

use super::super::*;
use super::{of_header, unverified};
use crate::sources::fixture::{RSA_PUBLIC_KEY, RSA_SHA1_SIGNATURE, RSA_SHA256_SIGNATURE, with_keys};
use crate::sources::keys::Keys;

/// The rules of a scheme with this algorithm, whose signature is in base64 in the header `X-Sig`.
fn signed_by(algorithm: &str, public_key: String) -> Rules {
    let settings = format!(
        "verify = {{ signature = \"{algorithm}\", header = \"X-Sig\", encoding = \"base64\" }}\nkey = \"body\""
    );
    with_keys(&settings, Keys { public_keys: vec![public_key], ..Keys::default() })
}

fn assert_signed(algorithm: &str, public_key: String, signature: &str) {
    let rules = signed_by(algorithm, public_key);
    let of = |body: &str| of_header(&rules, "X-Sig", signature, body);
    assert_eq!(of("Hello, World!"), Verdict::Verified, "{algorithm}");
    assert_eq!(of("Hello, World?"), unverified(Cause::SignatureMismatch), "{algorithm}");
    assert_eq!(of_header(&rules, "X-Sig", "AAAA", ""), unverified(Cause::SignatureMismatch), "{algorithm}");
}

#[test]
fn signatures_with_public_keys_are_verified() {
    assert_signed("rsa-sha1", RSA_PUBLIC_KEY.to_owned(), RSA_SHA1_SIGNATURE);
    assert_signed("rsa-sha256", RSA_PUBLIC_KEY.to_owned(), RSA_SHA256_SIGNATURE);

    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let signature = STANDARD.encode(pair.sign(b"Hello, World!"));
    assert_signed("ed25519", STANDARD.encode(pair.public_key()), &signature);

    let random = SystemRandom::new();
    let pair = CertificateKey::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    for (name, algorithm) in [
        ("ecdsa-p256", &ECDSA_P256_SHA256_ASN1_SIGNING),
        ("ecdsa-p256-fixed", &ECDSA_P256_SHA256_FIXED_SIGNING),
    ] {
        let signer = EcdsaKeyPair::from_pkcs8(algorithm, &pair.serialize_der(), &random).expect("a key");
        let signature = signer.sign(&random, b"Hello, World!").expect("signs");
        assert_signed(name, STANDARD.encode(pair.subject_public_key_info()), &STANDARD.encode(signature));
    }
}
