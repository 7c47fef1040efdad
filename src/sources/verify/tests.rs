//! Tests of each shape, and of what the pages of senders document. Other signatures are made here by the same library.

mod changes;
mod headers;
mod once;
mod public_keys;
mod settings;
mod unless;

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::sources::fixture::{NOW, request, rules};
use crate::sources::{handshake, read};

const GITHUB: &str =
    "verify = { hmac = \"sha256\", header = \"X-Hub-Signature-256\", prefix = \"sha256=\" }\nkey = \"body\"";

const STRIPE: &str = "verify = { hmac = \"sha256\", header = \"Stripe-Signature\", separator = \",\", prefix = \"v1=\", signed = \"{timestamp}.{body}\", timestamp = { item = \"t=\" } }\nkey = \"body\"";

const STANDARD_WEBHOOKS: &str = "verify = { hmac = \"sha256\", header = \"webhook-signature\", separator = \" \", prefix = \"v1,\", encoding = \"base64\", key_encoding = \"whsec\", signed = \"{header:webhook-id}.{timestamp}.{body}\", timestamp = { header = \"webhook-timestamp\" } }\nkey = \"body\"";

fn hmac_hex(algorithm: hmac::Algorithm, key: &str, text: &[u8]) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), text).as_ref())
}

fn sha256(key: &str, text: &str) -> String {
    hmac_hex(hmac::HMAC_SHA256, key, text.as_bytes())
}

/// The verdict about a request with one header.
fn of_header(rules: &Rules, name: &str, value: &str, body: &str) -> Verdict {
    verify(&request(&[(name, value.as_bytes())], body.as_bytes()), rules)
}

fn unverified(cause: Cause) -> Verdict {
    Verdict::Unverified(cause)
}

/// The example of <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>.
#[test]
fn the_example_of_github_is_verified() {
    let rules = rules(GITHUB, &["It's a Secret to Everybody"]);
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let of = |value: &str, body: &str| of_header(&rules, "x-hub-signature-256", value, body);
    assert_eq!(of(signature, "Hello, World!"), Verdict::Verified);
    assert_eq!(of(signature, "Hello, World?"), unverified(Cause::SignatureMismatch));
    assert_eq!(of("", "Hello, World!"), unverified(Cause::SignatureMissing));
    for malformed in ["sha256=", "sha1=757107ea", "sha256=xyz", "sha256=757", "\u{e9}"] {
        assert_eq!(of(malformed, "Hello, World!"), unverified(Cause::SignatureMalformed), "{malformed}");
    }
    assert_eq!(verify(&request(&[], b""), &rules), unverified(Cause::SignatureMissing));
}

#[test]
fn a_change_of_any_byte_of_the_body_or_the_signature_is_refused() {
    let rules = rules(GITHUB, &["It's a Secret to Everybody"]);
    let signature = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let body = b"Hello, World!";
    for bit in 0..8 {
        for at in 0..signature.len() {
            let mut changed = signature.to_vec();
            changed[at] ^= 1 << bit;
            let verdict = verify(&request(&[("X-Hub-Signature-256", &changed)], body), &rules);
            assert_ne!(verdict, Verdict::Verified, "bit {bit} of byte {at} of the signature");
        }
        for at in 0..body.len() {
            let mut changed = body.to_vec();
            changed[at] ^= 1 << bit;
            let verdict = verify(&request(&[("X-Hub-Signature-256", signature)], &changed), &rules);
            assert_eq!(verdict, unverified(Cause::SignatureMismatch), "bit {bit} of byte {at} of the body");
        }
    }
}

/// The example of the reference libraries of Standard Webhooks.
#[test]
fn the_example_of_standard_webhooks_is_verified() {
    let rules = rules(STANDARD_WEBHOOKS, &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let of = |signature: &str, time: &str| {
        let headers = [
            ("webhook-id", &b"msg_p5jXN8AQM9LWM0D4loKWxJek"[..]),
            ("webhook-timestamp", time.as_bytes()),
            ("webhook-signature", signature.as_bytes()),
        ];
        verify(&request(&headers, br#"{"test": 2432232314}"#), &rules)
    };
    assert_eq!(of(good, "1614265330"), Verdict::Verified);
    let several = format!("v1a,AAAA v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= {good}");
    assert_eq!(of(&several, "1614265330"), Verdict::Verified);
    assert_eq!(of("v1a,AAAA", "1614265330"), unverified(Cause::SignatureMalformed));
    assert_eq!(of(good, "1614265331"), unverified(Cause::SignatureMismatch));
    assert_eq!(of(good, ""), unverified(Cause::TimestampMissing));
    assert_eq!(of(good, "now"), unverified(Cause::TimestampMissing));
}

/// The example of <https://api.slack.com/authentication/verifying-requests-from-slack>.
#[test]
fn the_example_of_slack_is_verified() {
    let settings = "verify = { hmac = \"sha256\", header = \"X-Slack-Signature\", prefix = \"v0=\", signed = \"v0:{timestamp}:{body}\", timestamp = { header = \"X-Slack-Request-Timestamp\" } }\nkey = \"body\"";
    let rules = rules(settings, &["8f742231b10e8888abcd99yyyzzz85a5"]);
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let headers = [
        ("X-Slack-Request-Timestamp", &b"1531420618"[..]),
        ("X-Slack-Signature", b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    ];
    let at = |second| Request {
        received_at: Timestamp::from_second(second).expect("in range"),
        ..request(&headers, body.as_bytes())
    };
    assert_eq!(verify(&at(1_531_420_618), &rules), Verdict::Verified);
    assert_eq!(verify(&at(1_531_420_618 + 301), &rules), unverified(Cause::TimestampTooOld));
}

/// The example of <https://www.twilio.com/docs/usage/security>.
#[test]
fn the_example_of_twilio_is_verified_and_its_json_form_too() {
    let settings = "verify = [\n{ hmac = \"sha1\", header = \"X-Twilio-Signature\", encoding = \"base64\", signed = \"{url}{form_sorted}\" },\n{ hmac = \"sha1\", header = \"X-Twilio-Signature\", encoding = \"base64\", signed = \"{url}\", body_sha256 = { query = \"bodySHA256\" } },\n]\nkey = \"body\"";
    let rules = rules(settings, &["12345"]);
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
    let headers = [
        ("Content-Type", &b"application/x-www-form-urlencoded"[..]),
        ("X-Twilio-Signature", b"RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    ];
    let body =
        b"To=%2B18005551212&Digits=1234&CallSid=CA1234567890ABCDE&Caller=%2B14158675309&From=%2B14158675309";
    let form = Request { url: Some(url), ..request(&headers, body) };
    assert_eq!(verify(&form, &rules), Verdict::Verified);
    for port in ["443", "8443"] {
        let with_port = format!("https://mycompany.com:{port}/myapp.php?foo=1&bar=2");
        assert_eq!(verify(&Request { url: Some(&with_port), ..form }, &rules), Verdict::Verified, "{port}");
    }
    assert_eq!(verify(&Request { url: None, ..form }, &rules), unverified(Cause::KeyUnavailable));
    assert_eq!(verify(&Request { body: b"To=1", ..form }, &rules), unverified(Cause::SignatureMismatch));

    let json = br#"{"a":1}"#;
    let query = format!("bodySHA256={}", hex::encode(&Sha256::digest(json)));
    let url = format!("https://mycompany.com/myapp.php?{query}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
    let signature = STANDARD.encode(hmac::sign(&key, url.as_bytes()));
    let headers = [("Content-Type", &b"application/json"[..]), ("X-Twilio-Signature", signature.as_bytes())];
    let good = Request { url: Some(&url), query: &query, ..request(&headers, json) };
    assert_eq!(verify(&good, &rules), Verdict::Verified);
    assert_eq!(verify(&Request { body: b"{}", ..good }, &rules), unverified(Cause::SignatureMismatch));
    assert_eq!(verify(&Request { query: "", ..good }, &rules), unverified(Cause::SignatureMismatch));
}

#[test]
fn every_signature_of_a_header_and_every_secret_is_tried() {
    let rules = rules(STRIPE, &["new", "old"]);
    let of = |value: &str| of_header(&rules, "Stripe-Signature", value, "{}");
    let (new, old) = (sha256("new", &format!("{NOW}.{{}}")), sha256("old", &format!("{NOW}.{{}}")));
    let other = sha256("other", &format!("{NOW}.{{}}"));
    for value in [
        format!("t={NOW},v1={new}"),
        format!("t={NOW},v1={old}"),
        format!("t={NOW}, v1={other}, v0=abc, v1={old}"),
        format!("v1={new},t={NOW}"),
    ] {
        assert_eq!(of(&value), Verdict::Verified, "{value}");
    }
    assert_eq!(of(&format!("t={NOW},v1={other}")), unverified(Cause::SignatureMismatch));
    assert_eq!(of(&format!("t={NOW},v0={new}")), unverified(Cause::SignatureMalformed));
    assert_eq!(of(&format!("v1={new}")), unverified(Cause::TimestampMissing));
    assert_eq!(of(&format!("t={NOW},t=1,v1={new}")), unverified(Cause::TimestampMissing), "there are two");
}

#[test]
fn a_header_that_is_there_twice_is_verified_by_either() {
    let rules = rules(GITHUB, &["k"]);
    let good = format!("sha256={}", sha256("k", "{}"));
    let bad = format!("sha256={}", sha256("other", "{}"));
    let headers = [("X-Hub-Signature-256", bad.as_bytes()), ("x-hub-signature-256", good.as_bytes())];
    assert_eq!(verify(&request(&headers, b"{}"), &rules), Verdict::Verified);
}

#[test]
fn a_timestamp_is_refused_on_both_sides_of_the_tolerance() {
    let settings = STRIPE.replace("{ item = \"t=\" }", "{ item = \"t=\", unit = \"s\" }, tolerance = \"1m\"");
    let rules = rules(&settings, &["k"]);
    let of = |sent: i64| {
        let value = format!("t={sent},v1={}", sha256("k", &format!("{sent}.{{}}")));
        of_header(&rules, "Stripe-Signature", &value, "{}")
    };
    assert_eq!([of(NOW - 60), of(NOW), of(NOW + 60)], [Verdict::Verified; 3]);
    assert_eq!(of(NOW - 61), unverified(Cause::TimestampTooOld));
    assert_eq!(of(NOW + 61), unverified(Cause::TimestampInFuture));
    assert_eq!(of(i64::MAX), unverified(Cause::TimestampMissing), "there is no such time");
}

#[test]
fn a_timestamp_can_be_in_the_body_and_in_other_units() {
    let of = |unit: &str, sent: &str| {
        let settings = format!(
            "verify = {{ hmac = \"sha256\", header = \"X-Sig\", timestamp = {{ json = \"/t\", unit = \"{unit}\" }} }}\nkey = \"body\""
        );
        let body = format!("{{\"t\":{sent}}}");
        of_header(&rules(&settings, &["k"]), "X-Sig", &sha256("k", &body), &body)
    };
    assert_eq!(of("s", "1614265330"), Verdict::Verified);
    assert_eq!(of("ms", "1614265330000"), Verdict::Verified);
    assert_eq!(of("ms", "1614265630001"), unverified(Cause::TimestampInFuture));
    assert_eq!(of("rfc3339", "\"2021-02-25T15:02:10Z\""), Verdict::Verified);
    assert_eq!(of("rfc3339", "\"2021-02-25T14:02:10Z\""), unverified(Cause::TimestampTooOld));
    assert_eq!(of("rfc3339", "1614265330"), unverified(Cause::TimestampMissing));
}

#[test]
fn every_hash_and_encoding_of_hmac_is_verified() {
    for (name, algorithm) in [
        ("sha1", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        ("sha256", hmac::HMAC_SHA256),
        ("sha512", hmac::HMAC_SHA512),
    ] {
        let tag = hmac::sign(&hmac::Key::new(algorithm, b"k"), b"{}");
        for (encoding, value) in [
            ("hex", hex::encode(tag.as_ref())),
            ("base64", STANDARD.encode(tag)),
            ("base64url", URL_SAFE_PAD_INDIFFERENT.encode(tag)),
        ] {
            let settings = format!(
                "verify = {{ hmac = \"{name}\", query = \"sig\", encoding = \"{encoding}\" }}\nkey = \"body\""
            );
            let rules = rules(&settings, &["k"]);
            let query = format!("sig={}", value.replace('+', "%2B").replace('=', "%3D"));
            let good = Request { query: &query, ..request(&[], b"{}") };
            assert_eq!(verify(&good, &rules), Verdict::Verified, "{name} in {encoding}");
            assert_eq!(
                verify(&Request { body: b"{ }", ..good }, &rules),
                unverified(Cause::SignatureMismatch),
                "{name} in {encoding}"
            );
        }
    }
}

#[test]
fn a_signature_in_the_body_is_verified() {
    let settings = "verify = { hmac = \"sha256\", json = \"/signature/signature\", signed = \"{json:/signature/timestamp}{json:/signature/token}\", timestamp = { json = \"/signature/timestamp\" }, covers_body = false }\nkey = \"body\"";
    let signature = sha256("k", &format!("{NOW}t0k"));
    let body = |signature: &str| {
        format!(r#"{{"signature":{{"timestamp":"{NOW}","token":"t0k","signature":"{signature}"}}}}"#)
    };
    for settings in [settings.to_owned(), settings.replace("{json:/signature/timestamp}", "{timestamp}")] {
        let rules = rules(&settings, &["k"]);
        let of = |body: &str| verify(&request(&[], body.as_bytes()), &rules);
        assert_eq!(of(&body(&signature)), Verdict::Verified);
        assert_eq!(of(&body(&sha256("other", "x"))), unverified(Cause::SignatureMismatch));
        assert_eq!(of("{}"), unverified(Cause::SignatureMissing));
    }
}

#[test]
fn a_request_with_many_signatures_costs_no_more_than_sixteen_tries() {
    let rules = rules(STRIPE, &["k"]);
    let (good, bad) = (sha256("k", &format!("{NOW}.{{}}")), sha256("other", "{}"));
    let of = |count: usize| {
        let value = format!("t={NOW}{},v1={good}", format!(",v1={bad}").repeat(count));
        of_header(&rules, "Stripe-Signature", &value, "{}")
    };
    assert_eq!(of(MAX_SIGNATURES - 1), Verdict::Verified);
    assert_eq!(of(MAX_SIGNATURES), unverified(Cause::SignatureMismatch));
}

#[test]
fn tokens_and_passwords_are_compared_with_every_secret() {
    let rules_of =
        |verify: &str, secrets: &[&str]| rules(&format!("verify = {verify}\nkey = \"body\""), secrets);
    let token = rules_of("{ token = \"plain\", header = \"X-Gitlab-Token\" }", &["new", "old"]);
    for good in ["new", "old"] {
        assert_eq!(of_header(&token, "X-Gitlab-Token", good, ""), Verdict::Verified);
    }
    assert_eq!(of_header(&token, "X-Gitlab-Token", "ol", ""), unverified(Cause::CredentialsWrong));
    assert_eq!(of_header(&token, "X-Other", "new", ""), unverified(Cause::SignatureMissing));

    let basic = rules_of("{ token = \"basic\" }", &["me:s3cret"]);
    let encoded = STANDARD.encode("me:s3cret");
    assert_eq!(of_header(&basic, "authorization", &format!("basic {encoded}"), ""), Verdict::Verified);
    let wrong = format!("Basic {}", STANDARD.encode("me:other"));
    assert_eq!(of_header(&basic, "Authorization", &wrong, ""), unverified(Cause::CredentialsWrong));
    assert_eq!(of_header(&basic, "Authorization", "Bearer x", ""), unverified(Cause::SignatureMalformed));
    assert_eq!(verify(&request(&[], b""), &basic), unverified(Cause::SignatureMissing));
}

#[test]
fn a_token_in_each_item_has_to_be_in_every_one() {
    let settings =
        "verify = { token = \"plain\", json = \"/clientState\", each = \"/value\" }\nkey = \"body\"";
    let rules = rules(settings, &["s3cret"]);
    let of = |body: &str| verify(&request(&[], body.as_bytes()), &rules);
    assert_eq!(of(r#"{"value":[{"clientState":"s3cret"},{"clientState":"s3cret"}]}"#), Verdict::Verified);
    let other = r#"{"value":[{"clientState":"s3cret"},{"clientState":"other"}]}"#;
    assert_eq!(of(other), unverified(Cause::CredentialsWrong));
    let many = format!(r#"{{"value":[{{}}{}]}}"#, r#",{"clientState":"s3cret"}"#.repeat(MAX_BATCH_ITEMS));
    let many = many.replacen("{}", r#"{"clientState":"s3cret"}"#, 1);
    assert_eq!(of(&many), unverified(Cause::SignatureMalformed), "not every item is looked at");
    for missing in [r#"{"value":[{"clientState":"s3cret"},{}]}"#, r#"{"value":[]}"#, "{}", "x"] {
        assert_eq!(of(missing), unverified(Cause::SignatureMissing), "{missing}");
    }
}

#[test]
fn a_source_that_verifies_nothing_gives_no_verdict() {
    assert_eq!(verify(&request(&[], b""), &rules("verify = \"none\"\nkey = \"body\"", &[])), Verdict::None);
}

/// A secret in the form that the settings want.
fn secret_for(settings: &str) -> &'static str {
    if settings.contains("whsec") { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } else { "user:password" }
}

proptest! {
    #[test]
    fn no_request_makes_the_reading_of_it_panic(
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 5),
        text in "[tv10=,: .a-f0-9+/{}\\[\\]\"]{0,80}",
        query in ".{0,60}",
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}:,\" \\\\0-9a-f=&%]{0,200}".prop_map(String::into_bytes),
        ],
        method in "GET|POST|OPTIONS",
    ) {
        let settings = [
            GITHUB.to_owned(),
            STRIPE.to_owned(),
            STANDARD_WEBHOOKS.to_owned(),
            "verify = { token = \"basic\" }\nkey = [{ json = \"/a\" }, { form = \"a\" }]\nsplit = \"\"".to_owned(),
            "verify = { hmac = \"sha1\", query = \"a\", signed = \"{url}{form_sorted}{json:/a}\" }\nkey = { query = \"a\" }\nhandshakes = [{ method = \"GET\", value = { query = \"a\" } }]".to_owned(),
        ];
        let headers = [
            ("X-Hub-Signature-256", &values[0][..]),
            ("Stripe-Signature", text.as_bytes()),
            ("webhook-signature", &values[1][..]),
            ("webhook-id", &values[2][..]),
            ("webhook-timestamp", &values[3][..]),
            ("authorization", &values[4][..]),
            ("content-type", &b"application/x-www-form-urlencoded"[..]),
        ];
        let request = Request { method: &method, query: &query, ..request(&headers, &body) };
        for settings in settings {
            let rules = rules(&settings, &[secret_for(&settings)]);
            prop_assert_ne!(verify(&request, &rules), Verdict::Verified);
            let _ = read(&request, &rules);
            let _ = handshake(&request, Verdict::None, &rules);
        }
    }
}
