//! Tests of schemes that contradict themselves, and of what a scheme needs.

use super::super::*;
use super::{GITHUB, STANDARD_WEBHOOKS};
use crate::sources::fixture;
use crate::sources::keys::Keys;

#[test]
fn a_contradictory_scheme_is_refused_with_what_to_write() {
    for (verify, told) in [
        ("{ header = \"X\" }", "exactly one of `hmac`"),
        ("{ hmac = \"sha1\", token = \"plain\", header = \"X\" }", "exactly one of `hmac`"),
        ("{ hmac = \"sha1\" }", "where the signature is"),
        ("{ hmac = \"sha1\", header = \"X\", json = \"/a\" }", "only one of `header`"),
        ("{ hmac = \"sha1\", header = \"X\", signed = \"{timestamp}{body}\" }", "add `timestamp`"),
        (
            "{ hmac = \"sha1\", header = \"X\", timestamp = { header = \"T\" } }",
            "the timestamp is not signed",
        ),
        ("{ hmac = \"sha1\", header = \"X\", signed = \"{method}\" }", "the body is not signed"),
        ("{ token = \"basic\", header = \"X\" }", "Authorization"),
        ("{ token = \"plain\", header = \"X\", encoding = \"hex\" }", "a token signs nothing"),
        ("{ token = \"plain\", header = \"X\", key_encoding = \"hex\" }", "a token signs nothing"),
        ("{ token = \"plain\", header = \"X\", tolerance = \"5m\" }", "a token signs nothing"),
        ("{ hmac = \"sha1\", header = \"X\", tolerance = \"5m\" }", "`tolerance` means nothing"),
        ("{ token = \"plain\", header = \"X\", once = { json = \"/id\" } }", "a token signs nothing"),
        ("{ hmac = \"sha1\", header = \"X\", once = { json = \"/id\" } }", "`once` needs"),
        (
            "{ hmac = \"sha1\", header = \"X\", signed = \"{timestamp}{body}\", timestamp = { header = \"T\" }, once = { header = \"I\" } }",
            "`once` needs",
        ),
        ("{ hmac = \"sha1\", query = \"\" }", "a name of `form` or `query` is empty"),
    ] {
        let settings = fixture::settings(&format!("verify = {verify}\nkey = \"body\""));
        let keys = Keys { secrets: vec![Secret::from("k".to_owned())], ..Keys::default() };
        let mistakes = Rules::new(settings, keys, true).expect_err(verify);
        assert!(mistakes.iter().any(|mistake| mistake.text.contains(told)), "{verify}: {mistakes:?}");
    }
}

#[test]
fn missing_keys_and_a_missing_public_url_are_told() {
    let mistakes = |settings: &str, keys: Keys| {
        let settings = fixture::settings(settings);
        let mistakes = Rules::new(settings, keys, false).expect_err("mistakes");
        mistakes.into_iter().map(|mistake| mistake.member).collect::<Vec<_>>()
    };
    assert_eq!(mistakes("", Keys::default()), ["verify", "key"]);
    assert_eq!(mistakes(GITHUB, Keys::default()), ["secrets"]);
    let square = GITHUB.replace("prefix = \"sha256=\"", "signed = \"{url}{body}\"");
    assert_eq!(mistakes(&square, Keys::default()), ["secrets", "verify"]);
    let key = || Keys { secrets: vec![Secret::from("not base64".to_owned())], ..Keys::default() };
    assert_eq!(mistakes(STANDARD_WEBHOOKS, key()), ["secrets"]);
    assert_eq!(mistakes("verify = \"none\"\nkey = \"body\"", key()), ["secrets"], "it is not used");
}

#[test]
fn headers_of_schemes_without_keys_can_prove_the_sender_too() {
    let settings = "verify = [\n{ hmac = \"sha256\", header = \"X-A\" },\n{ signature = \"ed25519\", header = [\"X-B\", \"X-C\"] },\n]\nkey = \"body\"";
    let rules = fixture::rules(settings, &["k"]);
    assert_eq!(rules.proving_headers().collect::<Vec<_>>(), ["X-A", "X-B", "X-C"]);
}
