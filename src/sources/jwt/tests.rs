//! Tests of tokens, signed here. Those of senders are among the vectors.

mod settings;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{KeyPair as CertificateKey, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::domain::verdict::Verdict;
use crate::sources::fixture::{NOW, RSA_PUBLIC_KEY, request, rules, with_keys};
use crate::sources::{Keys, verify};

const HS256: &str = "verify = { jwt = \"HS256\", header = \"X-Token\", prefix = \"Bearer \", covers_body = false }\nkey = \"body\"";

/// A token with these claims, which says that it has this algorithm.
fn token(algorithm: &str, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = json!({ "alg": algorithm, "typ": "JWT" });
    let signed = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(signed.as_bytes())))
}

fn hs256(key: &str, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    token("HS256", claims, |text| hmac::sign(&key, text).as_ref().to_vec())
}

/// The verdict about a request with this value of the header, and this body.
fn of(rules: &Rules, value: &str, body: &str) -> Verdict {
    verify(&request(&[("X-Token", value.as_bytes())], body.as_bytes()), rules)
}

/// The verdict about a genuine token with these claims, besides that of when it was issued.
fn of_claims(verify: &str, claims: &Value, body: &str) -> Verdict {
    let settings = format!("verify = {{ jwt = \"HS256\", header = \"X-Token\", {verify} }}\nkey = \"body\"");
    let mut all = json!({ "iat": NOW });
    for (name, value) in claims.as_object().expect("an object") {
        all[name] = value.clone();
    }
    of(&rules(&settings, &["k"]), &hs256("k", &all), body)
}

fn unverified(cause: Cause) -> Verdict {
    Verdict::Unverified(cause)
}

#[test]
fn a_token_that_any_secret_has_signed_is_verified() {
    let rules = rules(HS256, &["new", "old"]);
    let claims = json!({ "iat": NOW, "exp": NOW + 60 });
    for secret in ["new", "old"] {
        assert_eq!(of(&rules, &format!("Bearer {}", hs256(secret, &claims)), "{}"), Verdict::Verified);
    }
    let stranger = format!("Bearer {}", hs256("other", &claims));
    assert_eq!(of(&rules, &stranger, "{}"), unverified(Cause::SignatureMismatch));
    let genuine = hs256("new", &claims);
    for malformed in ["Bearer", "Bearer a.b.c", &genuine, &format!("bearer {genuine}"), "\u{e9}"] {
        assert_eq!(of(&rules, malformed, "{}"), unverified(Cause::SignatureMalformed), "{malformed}");
    }
    assert_eq!(of(&rules, "", "{}"), unverified(Cause::SignatureMissing));
    assert_eq!(verify(&request(&[], b"{}"), &rules), unverified(Cause::SignatureMissing));
    assert!(rules.proving_headers().eq(["X-Token"]) && !rules.covers_body());
}

#[test]
fn a_change_of_any_byte_of_a_token_is_refused() {
    let rules = rules(HS256, &["k"]);
    let value = format!("Bearer {}", hs256("k", &json!({ "iat": NOW })));
    for at in 0..value.len() {
        let mut changed = value.clone().into_bytes();
        changed[at] ^= 1;
        let changed = String::from_utf8(changed).expect("ASCII");
        assert_ne!(of(&rules, &changed, "{}"), Verdict::Verified, "byte {at}");
    }
}

#[test]
fn of_several_tokens_one_is_enough_but_not_more_than_sixteen_are_tried() {
    let rules = rules(HS256, &["k"]);
    let claims = json!({ "iat": NOW });
    let (genuine, forged) = (hs256("k", &claims), hs256("other", &claims));
    let of = |forgeries: usize| {
        let values = vec![format!("Bearer {forged}"); forgeries];
        let values = values.into_iter().chain([format!("Bearer {genuine}")]).collect::<Vec<_>>();
        let headers = values.iter().map(|value| ("X-Token", value.as_bytes())).collect::<Vec<_>>();
        verify(&request(&headers, b"{}"), &rules)
    };
    assert_eq!(of(MAX_SIGNATURES - 1), Verdict::Verified);
    assert_eq!(of(MAX_SIGNATURES), unverified(Cause::SignatureMismatch));
}

#[test]
fn tokens_with_public_keys_are_verified() {
    let claims = json!({ "iat": NOW });
    let with = |algorithm: &str, public_key: String| {
        let settings = HS256.replace("HS256", algorithm);
        with_keys(&settings, Keys { public_keys: vec![public_key], ..Keys::default() })
    };
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let rules = with("EdDSA", STANDARD.encode(pair.public_key()));
    let genuine = token("EdDSA", &claims, |text| pair.sign(text).as_ref().to_vec());
    assert_eq!(of(&rules, &format!("Bearer {genuine}"), "{}"), Verdict::Verified);

    let (random, pair) =
        (SystemRandom::new(), CertificateKey::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key"));
    let rules = with("ES256", pair.public_key_pem());
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der(), &random);
    let signer = signer.expect("a key");
    let sign = |text: &[u8]| signer.sign(&random, text).expect("signs").as_ref().to_vec();
    assert_eq!(of(&rules, &format!("Bearer {}", token("ES256", &claims, sign)), "{}"), Verdict::Verified);
    // The same signature under the name of another algorithm.
    for other in ["HS256", "RS256", "EdDSA", "none"] {
        let forged = format!("Bearer {}", token(other, &claims, sign));
        assert_eq!(of(&rules, &forged, "{}"), unverified(Cause::SignatureMalformed), "{other}");
    }
}

#[test]
fn no_public_key_is_taken_for_a_secret_and_no_token_chooses_its_algorithm() {
    let keys = Keys { public_keys: vec![RSA_PUBLIC_KEY.to_owned()], ..Keys::default() };
    let public = with_keys(&HS256.replace("HS256", "RS256"), keys);
    let secret = rules(HS256, &["k"]);
    let claims = json!({ "iat": NOW });
    for (rules, forged) in [
        (&public, hs256(RSA_PUBLIC_KEY, &claims)),
        (&public, token("none", &claims, |_| Vec::new())),
        (&secret, token("none", &claims, |_| Vec::new())),
        (&secret, token("HS512", &claims, |text| text.to_vec())),
        (&secret, token("RS256", &claims, |text| text.to_vec())),
    ] {
        let verdict = of(rules, &format!("Bearer {forged}"), "{}");
        assert_eq!(verdict, unverified(Cause::SignatureMalformed), "{forged}");
    }
    // RS256 in the header does not make the HMAC one of RSA.
    let key = hmac::Key::new(hmac::HMAC_SHA256, RSA_PUBLIC_KEY.as_bytes());
    let forged = token("RS256", &claims, |text| hmac::sign(&key, text).as_ref().to_vec());
    assert_eq!(of(&public, &format!("Bearer {forged}"), "{}"), unverified(Cause::SignatureMismatch));
}

#[test]
fn issuer_audience_and_other_claims_are_those_of_the_settings() {
    let verify =
        "issuer = [\"a\", \"b\"], audience = \"us\", claims = { azp = \"sender\" }, covers_body = false";
    let good = json!({ "iss": "b", "aud": "us", "azp": "sender" });
    assert_eq!(of_claims(verify, &good, "{}"), Verdict::Verified);
    let mut several = good.clone();
    several["aud"] = json!(["others", "us"]);
    assert_eq!(of_claims(verify, &several, "{}"), Verdict::Verified);
    for (name, wrong) in [
        ("iss", json!("c")),
        ("iss", json!(null)),
        ("iss", json!(["a"])),
        ("aud", json!("them")),
        ("aud", json!([])),
        ("aud", json!({ "us": true })),
        ("azp", json!("Sender")),
        ("azp", json!(1)),
    ] {
        let mut claims = good.clone();
        claims[name] = wrong;
        assert_eq!(of_claims(verify, &claims, "{}"), unverified(Cause::CredentialsWrong), "{claims}");
    }
    assert_eq!(of_claims("covers_body = false", &json!({ "iss": 1 }), "{}"), Verdict::Verified);
}

#[test]
fn a_claim_can_have_the_digest_of_the_body() {
    let verify = "body_sha256_claim = \"payload_hash\"";
    let body = r#"{"a":"1"}"#;
    let digest = hex::encode(&Sha256::digest(body));
    for digest in [digest.clone(), digest.to_uppercase()] {
        assert_eq!(of_claims(verify, &json!({ "payload_hash": digest }), body), Verdict::Verified);
    }
    let claims = json!({ "payload_hash": digest });
    assert_eq!(of_claims(verify, &claims, r#"{"a":"2"}"#), unverified(Cause::SignatureMismatch));
    for wrong in [json!({}), json!({ "payload_hash": null }), json!({ "payload_hash": &digest[1..] })] {
        assert_eq!(of_claims(verify, &wrong, body), unverified(Cause::SignatureMismatch), "{wrong}");
    }
    let settings = format!("verify = {{ jwt = \"HS256\", header = \"X-Token\", {verify} }}\nkey = \"body\"");
    assert!(rules(&settings, &["k"]).covers_body());
}

#[test]
fn a_token_counts_from_its_beginning_to_its_end_give_or_take_the_tolerance() {
    let with = |claims: &Value| of_claims("tolerance = \"1m\", covers_body = false", claims, "{}");
    let (old, future) = (unverified(Cause::TimestampTooOld), unverified(Cause::TimestampInFuture));
    for (claims, verdict) in [
        (json!({ "exp": NOW - 60 }), Verdict::Verified),
        (json!({ "exp": NOW - 61 }), old),
        (json!({ "exp": NOW + 3600, "iat": NOW - 3600 }), Verdict::Verified),
        (json!({ "iat": NOW - 60 }), Verdict::Verified),
        (json!({ "iat": NOW - 61 }), old),
        (json!({ "iat": NOW + 60 }), Verdict::Verified),
        (json!({ "iat": NOW + 61 }), future),
        (json!({ "exp": NOW + 90, "iat": NOW + 61 }), future),
        (json!({ "exp": NOW + 90, "nbf": NOW + 60 }), Verdict::Verified),
        (json!({ "exp": NOW + 90, "nbf": NOW + 61 }), future),
        (json!({ "exp": NOW as f64 + 0.5 }), Verdict::Verified),
        (json!({ "exp": null }), unverified(Cause::TimestampMissing)),
        (json!({ "exp": NOW.to_string() }), unverified(Cause::TimestampMissing)),
        (json!({ "exp": 1e300 }), unverified(Cause::TimestampMissing)),
        (json!({ "nbf": "now" }), unverified(Cause::TimestampMissing)),
    ] {
        assert_eq!(with(&claims), verdict, "{claims}");
    }
    let rules = rules(HS256, &["k"]);
    let endless = format!("Bearer {}", hs256("k", &json!({ "nbf": NOW })));
    assert_eq!(of(&rules, &endless, "{}"), unverified(Cause::TimestampMissing));
}

#[test]
fn every_item_of_an_array_can_have_to_be_a_token() {
    let settings =
        "verify = { jwt = \"HS256\", json = \"\", each = \"/tokens\", covers_body = false }\nkey = \"body\"";
    let rules = rules(settings, &["k"]);
    let (genuine, forged) = (hs256("k", &json!({ "iat": NOW })), hs256("other", &json!({ "iat": NOW })));
    let of =
        |tokens: &Value| verify(&request(&[], json!({ "tokens": tokens }).to_string().as_bytes()), &rules);
    assert_eq!(of(&json!([genuine])), Verdict::Verified);
    assert_eq!(of(&json!([genuine, genuine])), Verdict::Verified);
    assert_eq!(of(&json!([genuine, forged])), unverified(Cause::SignatureMismatch));
    assert_eq!(of(&json!(vec![&genuine; MAX_SIGNATURES + 1])), unverified(Cause::SignatureMalformed));
    for missing in [json!([]), json!(null), json!([genuine, null]), json!([genuine, ""]), json!(genuine)] {
        assert_eq!(of(&missing), unverified(Cause::SignatureMissing), "{missing}");
    }
}

#[test]
fn a_token_that_a_handshake_would_sign_for_every_client_is_refused() {
    let genuine = hs256("k", &json!({ "iat": NOW }));
    for (method, verdict) in [("GET", unverified(Cause::SignatureMismatch)), ("POST", Verdict::Verified)] {
        let handshake = format!(
            "handshakes = [{{ method = \"{method}\", value = {{ query = \"v\" }}, hmac = {{ algorithm = \"sha256\" }}, answer = {{ body = \"{{hmac}}\" }} }}]"
        );
        let rules = rules(&format!("{HS256}\n{handshake}"), &["k"]);
        assert_eq!(of(&rules, &format!("Bearer {genuine}"), "{}"), verdict, "{method}");
    }
}
