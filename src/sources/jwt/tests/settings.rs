//! Tests of what the settings of tokens need, and of what they must not have.

use crate::domain::secret::Secret;
use crate::sources::fixture::{self, RSA_PUBLIC_KEY};
use crate::sources::keys::Keys;
use crate::sources::rules::Rules;

/// The mistakes in a `verify` of these members, with a secret and a public key.
fn mistakes(verify: &str) -> Vec<String> {
    let keys = Keys {
        secrets: if verify.contains("HS256") { vec![Secret::from("k".to_owned())] } else { Vec::new() },
        public_keys: if verify.contains("RS256") && !verify.contains("keys_url") {
            vec![RSA_PUBLIC_KEY.to_owned()]
        } else {
            Vec::new()
        },
        ..Keys::default()
    };
    let settings = fixture::settings(&format!("verify = {{ {verify} }}\nkey = \"body\""));
    let mistakes = Rules::new(settings, keys, true).err().unwrap_or_default();
    mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.member, mistake.text)).collect()
}

const FETCHED: &str =
    "jwt = \"RS256\", header = \"X\", covers_body = false, keys_url = \"https://a.example/keys\"";

#[test]
fn members_of_tokens_that_do_not_fit_together_are_told_all_at_once() {
    for (verify, told) in [
        (
            "jwt = \"HS256\", encoding = \"hex\"",
            &[
                "verify: a token has its own form",
                "verify: the token says nothing about the body",
                "verify: the scheme does not say where",
            ][..],
        ),
        (
            "jwt = \"HS256\", hmac = \"sha256\", header = \"X\", covers_body = false",
            &["verify: a scheme has exactly one of"],
        ),
        ("jwt = \"HS256\", header = \"X\"", &["verify: the token says nothing about the body"]),
        ("jwt = \"HS256\", json = \"/t\", body_sha256_claim = \"h\"", &["verify: a token in the body"]),
        (
            "jwt = \"HS256\", header = \"X\", each = \"/t\", covers_body = false",
            &["verify: `each` belongs to `json`"],
        ),
        (
            "jwt = \"HS256\", header = \"X\", email = \"e\", covers_body = false",
            &["verify: `email` belongs to"],
        ),
        (
            "jwt = \"HS256\", header = \"X\", issuer = \"\", covers_body = false",
            &["verify: a text of `issuer`"],
        ),
        (
            "jwt = \"HS256\", header = \"X\", keys_url = \"https://a.example/\", issuer = \"i\", audience = \"a\", covers_body = false",
            &["verify: HS256 takes its keys from `secrets`"],
        ),
        (
            "jwt = \"HS256\", header = \"X\", unless = { header = \"Y\" }, covers_body = false",
            &["verify: a token has its own form"],
        ),
        (
            "jwt = \"HS256\", header = \"X\", once = { json = \"/id\" }, covers_body = false",
            &["verify: a token has its own form"],
        ),
        (
            "jwt = \"RS256\", header = \"X\", keys_url = \"https://a.example/\", issuer = \"i\", audience = \"a\", key_encoding = \"hex\", covers_body = false",
            &["verify: the keys of `keys_url` have a form of their own"],
        ),
        (FETCHED, &["verify: `issuer` is missing", "verify: `audience` is missing"]),
        ("hmac = \"sha256\", header = \"X\", claims = { a = \"b\" }", &["verify: `issuer`, `claims`"]),
        (
            "scheme = \"aws-sns\", topics = \"*\", keys_url = \"https://a.example/\"",
            &["verify: `scheme` says all"],
        ),
    ] {
        let found = mistakes(verify);
        let found = found.iter().filter(|found| !found.starts_with("secrets")).collect::<Vec<_>>();
        assert_eq!(found.len(), told.len(), "{verify}: {found:?}");
        assert!(found.iter().zip(told).all(|(found, told)| found.starts_with(told)), "{verify}: {found:?}");
    }
    for verify in [
        "jwt = \"HS256\", header = \"X\", covers_body = false".to_owned(),
        "jwt = \"HS256\", query = \"t\", body_sha256_claim = \"h\"".to_owned(),
        "jwt = \"RS256\", header = \"X\", covers_body = false".to_owned(),
        format!(
            "{FETCHED}, issuer = \"i\", audience = [\"a\", \"b\"], claims = {{ c = \"d\" }}, tolerance = \"1m\""
        ),
    ] {
        assert_eq!(mistakes(&verify), Vec::<String>::new(), "{verify}");
    }
}

#[test]
fn each_algorithm_takes_its_own_keys() {
    let needs = |verify: &str| fixture::settings(&format!("verify = {{ {verify} }}")).needs();
    assert_eq!(needs("jwt = \"HS256\", header = \"X\""), ["secrets"]);
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        assert_eq!(needs(&format!("jwt = \"{algorithm}\", header = \"X\"")), ["public_keys"]);
    }
    assert_eq!(needs(FETCHED), ["verify.issuer", "verify.audience"]);
    let both = format!("verify = [{{ {FETCHED} }}, {{ {FETCHED}, issuer = \"i\" }}]");
    assert_eq!(fixture::settings(&both).needs(), ["verify.issuer", "verify.audience"], "each once");

    let settings = |algorithm: &str| {
        fixture::settings(&format!(
            "verify = {{ jwt = \"{algorithm}\", header = \"X\", covers_body = false }}\nkey = \"body\""
        ))
    };
    let secret = Keys { secrets: vec![Secret::from(RSA_PUBLIC_KEY.to_owned())], ..Keys::default() };
    let mistakes = Rules::new(settings("RS256"), secret, true).expect_err("has no public key");
    assert!(mistakes.iter().any(|mistake| mistake.member == "public_keys"), "{mistakes:?}");
    let public = Keys { public_keys: vec![RSA_PUBLIC_KEY.to_owned()], ..Keys::default() };
    let mistakes = Rules::new(settings("HS256"), public, true).expect_err("has no secret");
    assert!(mistakes.iter().any(|mistake| mistake.member == "secrets"), "{mistakes:?}");
}

#[test]
fn the_url_of_keys_is_one_of_https_without_anything_that_could_be_read_in_two_ways() {
    let read = |url: &str| {
        let mut settings = crate::sources::Settings::default();
        let verify = serde_json::json!({ "jwt": "RS256", "header": "X", "keys_url": url });
        settings.set("verify", verify)
    };
    for url in ["https://login.example.com/keys", "https://login.example.com/discovery/keys?v=2"] {
        assert!(read(url).is_ok(), "{url}");
    }
    for url in [
        "",
        "http://login.example.com/keys",
        "https://login.example.com:8443/keys",
        "https://user@login.example.com/keys",
        "https://login.example.com",
        "https://127.0.0.1/keys",
        "file:///etc/passwd",
    ] {
        let error = read(url).expect_err(url).to_string();
        assert!(error.contains("is no URL of keys; write https"), "{error}");
    }
}
