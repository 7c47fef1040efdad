//! Tests of what servers answer. Good certificates and keys are among the vectors.

use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use super::*;

/// What reading this answer for a certificate of `sns.example` says.
fn certificate(pem: &str) -> Result<FetchedKeys, &'static str> {
    let url = Url::parse("https://sns.example/a.pem").expect("a URL");
    KeyAddress::certificate(KeyServer::AwsSns, url, |name| name == "sns.example").read(pem.as_bytes())
}

/// A certificate with a common name and DNS names; its key is one of an elliptic curve.
fn issued(common_name: &str, names: &[&str]) -> String {
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.self_signed(&KeyPair::generate().expect("a key")).expect("is signed").pem()
}

#[test]
fn a_certificate_counts_only_for_the_name_and_with_a_key_of_rsa() {
    let other = "has a certificate for another name";
    let no_rsa = "has a certificate whose key is not one of RSA";
    for (common_name, names, told) in [
        ("sns.example", &[][..], no_rsa),
        ("other", &["sns.example"], no_rsa),
        ("other", &["other.example", "sns.example"], no_rsa),
        ("other", &[], other),
        // The common name counts only for certificates without other names.
        ("sns.example", &["other.example"], other),
    ] {
        let read = certificate(&issued(common_name, names));
        assert_eq!(read.err(), Some(told), "{common_name}, {names:?}");
    }
}

#[test]
fn what_is_no_certificate_is_refused() {
    let pem = issued("sns.example", &[]);
    let half = pem.split_at(pem.len() / 2).0;
    let der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (answer, told) in [
        (String::new(), "is no certificate in PEM"),
        ("<html></html>".to_owned(), "is no certificate in PEM"),
        (format!("<html>{pem}</html>"), "is no certificate in PEM"),
        (format!("{{\"a\":\"{pem}\"}}"), "is no certificate in PEM"),
        (pem.replace("CERTIFICATE", "PRIVATE KEY"), "is no certificate in PEM"),
        (half.to_owned(), "is no certificate in PEM"),
        (der.to_owned(), "has a certificate that cannot be read"),
    ] {
        assert_eq!(certificate(&answer).err(), Some(told), "{answer}");
    }
}

/// The address of the key `k` in a set.
fn in_set() -> KeyAddress {
    let url = Url::parse("https://keys.example/").expect("a URL");
    KeyAddress::in_set(KeyServer::Google, url, "k")
}

/// A key of RSA with changed members.
fn rsa(changes: &Value) -> Value {
    let jwk = json!({ "kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig", "n": "AAEC", "e": "AQAB" });
    changed(jwk, changes)
}

/// A key of P-256 with changed members.
fn p256(changes: &Value) -> Value {
    let jwk = json!({ "kty": "EC", "kid": "k", "alg": "ES256", "use": "sig", "crv": "P-256" });
    let coordinate = "A".repeat(43);
    changed(changed(jwk, &json!({ "x": coordinate, "y": coordinate })), changes)
}

/// A key of Ed25519 with changed members.
fn ed25519(changes: &Value) -> Value {
    let jwk = json!({ "kty": "OKP", "kid": "k", "alg": "EdDSA", "use": "sig", "crv": "Ed25519" });
    changed(changed(jwk, &json!({ "x": "A".repeat(43) })), changes)
}

fn changed(mut jwk: Value, changes: &Value) -> Value {
    let members = jwk.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        members.insert(name.clone(), value.clone());
    }
    jwk
}

#[test]
fn keys_of_a_set_that_cannot_be_used_are_left_out() {
    let none = json!({});
    for (jwk, is_usable) in [
        (rsa(&none), true),
        (rsa(&json!({ "alg": null, "use": null })), true),
        (rsa(&json!({ "alg": "RS512" })), false),
        (rsa(&json!({ "alg": "ES256" })), false),
        (rsa(&json!({ "use": "enc" })), false),
        (rsa(&json!({ "kty": "oct" })), false),
        (rsa(&json!({ "kid": null })), false),
        (rsa(&json!({ "n": null })), false),
        (rsa(&json!({ "n": "+/" })), false),
        (p256(&none), true),
        (p256(&json!({ "crv": "P-384" })), false),
        (p256(&json!({ "alg": "RS256" })), false),
        (p256(&json!({ "x": "AAAA" })), false),
        (p256(&json!({ "y": null })), false),
        (ed25519(&none), true),
        (ed25519(&json!({ "crv": "X25519" })), false),
        (ed25519(&json!({ "alg": "ES256" })), false),
        (ed25519(&json!({ "x": "AAAA" })), false),
        (json!("a text"), false),
    ] {
        let set = json!({ "keys": [jwk] }).to_string();
        assert_eq!(in_set().read(set.as_bytes()).is_ok(), is_usable, "{set}");
        let mixed = json!({ "keys": [{ "kty": "OKP" }, jwk, rsa(&json!({ "kid": "other" }))] }).to_string();
        let keys = in_set().read(mixed.as_bytes()).expect("has a usable key");
        assert_eq!(in_set().is_in(&keys), is_usable, "{mixed}");
    }
    for answer in ["", "{}", "[]", "{\"keys\":[]}", "{\"keys\":{}}", "<html></html>"] {
        assert!(in_set().read(answer.as_bytes()).is_err(), "{answer}");
    }
}

#[test]
fn a_number_of_a_key_has_no_leading_zeros() {
    let set = json!({ "keys": [rsa(&json!({}))] }).to_string();
    let keys = in_set().read(set.as_bytes()).expect("a set");
    let PublicKey::Rsa(key) = &keys.0[0].key else { panic!("{keys:?}") };
    assert_eq!(key.n, [1, 2]);
}

#[test]
fn addresses_with_another_question_have_another_name_which_has_no_secret() {
    let url = Url::parse("https://keys.example/").expect("a URL");
    let asked = |question: &str| {
        KeyAddress::asked(KeyServer::Plaid, url.clone(), Secret::from(question.to_owned()), "k")
    };
    assert_eq!(asked("one").name(), asked("one").name());
    assert_ne!(asked("one").name(), asked("two").name());
    assert!(!asked("s3cret").name().contains("s3cret"));
    assert!(!format!("{:?}", asked("s3cret")).contains("s3cret"));
    assert_eq!(asked("one").question(), Some("one"));
    assert_eq!((in_set().name(), in_set().question()), ("https://keys.example/", None));
}
