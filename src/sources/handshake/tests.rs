//! Tests of handshakes.

mod wrong;

use super::shape::MAX_VALUE_CHARS;
use super::*;
use crate::domain::verdict::Cause;
use crate::sources::fixture::{self, request, rules, settings, with_keys};
use crate::sources::keys::Keys;
use crate::sources::vectors::vectors;
use crate::sources::verify;

fn answered(request: &Request<'_>, rules: &Rules) -> Option<HandshakeAnswer> {
    match handshake(request, verify(request, rules), rules)? {
        Handshake::Answered(answer) => Some(answer),
        Handshake::Wrong(_) => None,
    }
}

const UNSIGNED: &str = "verify = \"none\"\nkey = \"body\"\n";

fn post(settings: &str, body: &str) -> Option<HandshakeAnswer> {
    answered(&request(&[], body.as_bytes()), &rules(&format!("{UNSIGNED}{settings}"), &[]))
}

#[test]
fn a_field_is_echoed_as_text() {
    let settings = r#"handshakes = [{ when = [{ json = "/type", equals = "check" }], value = { json = "/challenge" } }]"#;
    let answer = post(settings, r#"{"type":"check","challenge":"3eZbrw1aB10="}"#).expect("a handshake");
    assert_eq!((answer.status, answer.body.as_str()), (200, "3eZbrw1aB10="));
    assert_eq!(answer.content_type.as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(post(settings, r#"{"type":"other","challenge":"a"}"#), None);
    assert_eq!(post(settings, r#"{"type":"check"}"#), None);
}

#[test]
fn a_value_with_a_wrong_shape_is_neither_echoed_nor_signed() {
    let settings = r#"handshakes = [{ value = { json = "/v" } }]"#;
    for value in ["<script>", "a:b", "a b", "é", ""] {
        assert_eq!(post(settings, &format!("{{\"v\":\"{value}\"}}")), None, "{value}");
    }
    assert_eq!(post(settings, &format!("{{\"v\":\"{}\"}}", "a".repeat(MAX_VALUE_CHARS + 1))), None);
    let settings = r#"handshakes = [{ value = { json = "/v" }, shape = "text" }]"#;
    assert_eq!(post(settings, r#"{"v":"a b: c"}"#).map(|answer| answer.body).as_deref(), Some("a b: c"));
    assert_eq!(post(settings, r#"{"v":"a&b"}"#), None);
}

#[test]
fn an_hmac_of_a_value_is_answered() {
    let settings = r#"
        verify = "none"
        key = "body"
        handshakes = [{
            value = { json = "/payload/plainToken" },
            hmac = { algorithm = "sha256" },
            answer = { body = '{"plainToken":"{value}","encryptedToken":"{hmac}"}', content_type = "application/json" },
        }]"#;
    let rules = rules(settings, &["key"]);
    let body = br#"{"payload":{"plainToken":"quick"}}"#;
    let answer = answered(&request(&[], body), &rules).expect("a handshake");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"quick");
    let expected = format!(r#"{{"plainToken":"quick","encryptedToken":"{}"}}"#, hex::encode(tag.as_ref()));
    assert_eq!(answer.body, expected);
    assert_eq!(answer.content_type.as_deref(), Some("application/json"));
}

#[test]
fn an_hmac_that_a_handshake_answers_to_every_client_verifies_no_body() {
    let by_get = r#"{ method = "GET", value = { query = "v" }, hmac = { algorithm = "sha256" }, answer = { body = "{hmac}" } }"#;
    let by_post =
        r#"{ value = { json = "/v" }, hmac = { algorithm = "sha256" }, answer = { body = "{hmac}" } }"#;
    let of = |handshake: &str| {
        let settings = format!(
            "verify = {{ hmac = \"sha256\", header = \"X-Sig\" }}\nkey = \"body\"\nhandshakes = [{handshake}]"
        );
        rules(&settings, &["key"])
    };
    let hmac_of = |body: &str| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), body.as_bytes());
        hex::encode(tag.as_ref())
    };
    let verdict = |rules: &Rules, body: &str| {
        let signature = hmac_of(body);
        verify(&request(&[("X-Sig", signature.as_bytes())], body.as_bytes()), rules)
    };
    let asked = Request { method: "GET", query: "v=1234", ..request(&[], b"") };
    assert_eq!(answered(&asked, &of(by_get)).map(|answer| answer.body), Some(hmac_of("1234")));
    assert_eq!(verdict(&of(by_get), "1234"), Verdict::Unverified(Cause::SignatureMismatch));
    assert_eq!(verdict(&of(by_get), r#"{"a":1}"#), Verdict::Verified, "no handshake signs it");
    assert_eq!(verdict(&of(by_post), "1234"), Verdict::Verified, "only a verified handshake signs it");
}

#[test]
fn a_query_parameter_is_echoed_only_with_the_right_token() {
    let settings = r#"
        verify = "none"
        key = "body"
        handshakes = [{
            method = "GET",
            when = [{ query = "hub.mode", equals = "subscribe" }, { query = "hub.verify_token", token = true }],
            value = { query = "hub.challenge" },
        }]"#;
    let token = Some(Secret::from("t0ken".to_owned()));
    let rules = with_keys(settings, Keys { verify_token: token, ..Keys::default() });
    let get = |query| answered(&Request { method: "GET", query, ..request(&[], b"") }, &rules);
    let good = "hub.mode=subscribe&hub.verify_token=t0ken&hub.challenge=1158201444";
    assert_eq!(get(good).map(|answer| answer.body).as_deref(), Some("1158201444"));
    assert_eq!(get("hub.mode=subscribe&hub.verify_token=other&hub.challenge=1"), None);
    assert_eq!(get("hub.mode=subscribe&hub.challenge=1"), None);
    assert_eq!(answered(&Request { query: good, ..request(&[], b"") }, &rules), None, "it is a POST");
}

#[test]
fn a_header_is_echoed_and_a_fixed_answer_has_no_body() {
    let settings = r#"
        verify = "none"
        key = "body"
        handshakes = [
            { value = { header = "X-Hook-Secret" }, answer = { status = 204, body = "", headers = { "X-Hook-Secret" = "{value}" } } },
            { method = "OPTIONS", when = [{ header = "WebHook-Request-Origin", present = true }] },
        ]"#;
    let rules = rules(settings, &[]);
    let answer = answered(&request(&[("x-hook-secret", b"abc")], b"{}"), &rules).expect("a handshake");
    assert_eq!((answer.status, answer.content_type), (204, None));
    assert_eq!(answer.headers, [("X-Hook-Secret".to_owned(), "abc".to_owned())]);
    let headers = [("WebHook-Request-Origin", &b"eventemitter.example.com"[..])];
    let options = Request { method: "OPTIONS", ..request(&headers, b"") };
    assert_eq!(answered(&options, &rules).map(|answer| answer.status), Some(200));
}

#[test]
fn what_is_an_object_or_an_array_or_there_twice_is_present() {
    let settings = |present: bool| {
        format!(
            "handshakes = [{{ when = [{{ json = \"/event\", present = {present} }}], answer = {{ body = \"pong\" }} }}]"
        )
    };
    for (body, is_there) in [
        (r#"{"event":{"type":"a"}}"#, true),
        (r#"{"event":[]}"#, true),
        (r#"{"event":false}"#, true),
        (r#"{"event":null}"#, false),
        (r#"{"event":""}"#, false),
        ("{}", false),
        ("no JSON", false),
    ] {
        assert_eq!(post(&settings(true), body).is_some(), is_there, "{body}");
        assert_eq!(post(&settings(false), body).is_some(), !is_there, "{body}");
    }

    let settings = "handshakes = [{ when = [{ header = \"X-Sig\", present = false }] }]";
    let unsigned = rules(&format!("{UNSIGNED}{settings}"), &[]);
    let of = |headers: &[(&str, &[u8])]| answered(&request(headers, b"{}"), &unsigned).is_some();
    assert!(of(&[]) && of(&[("x-sig", b" ")]));
    assert!(!of(&[("x-sig", b"a")]) && !of(&[("x-sig", b"a"), ("X-Sig", b"b")]));
}

#[test]
fn a_handshake_by_get_may_come_by_head() {
    let rules = rules(&format!("{UNSIGNED}handshakes = [{{ method = \"GET\" }}]"), &[]);
    let by = |method| answered(&Request { method, ..request(&[], b"") }, &rules).is_some();
    for (method, expected) in [("GET", true), ("HEAD", true), ("POST", false), ("OPTIONS", false)] {
        assert_eq!((by(method), rules.takes_handshake(method)), (expected, expected), "{method}");
    }
}

#[test]
fn an_answer_that_http_cannot_have_is_a_mistake() {
    for (answer, told) in [
        ("{ status = 204, body = \"a\" }", "has no body"),
        ("{ headers = { Content-Length = \"1\" } }", "a header that hookbox sets"),
    ] {
        let settings = self::settings(&format!("{UNSIGNED}handshakes = [{{ answer = {answer} }}]"));
        let mistakes = Rules::new(settings, Keys::default(), false).expect_err(answer);
        assert!(mistakes[0].text.contains(told), "{mistakes:?}");
    }
}

#[test]
fn a_handshake_by_post_has_to_be_signed_unless_the_settings_say_otherwise() {
    let settings = |verified: &str| {
        format!(
            "verify = {{ token = \"plain\", header = \"X-Token\" }}\nkey = \"body\"\nhandshakes = [{{ {verified} }}]"
        )
    };
    let signed = rules(&settings(""), &["t0ken"]);
    assert_eq!(answered(&request(&[], b"{}"), &signed), None);
    assert!(answered(&request(&[("X-Token", b"t0ken")], b"{}"), &signed).is_some());
    assert!(answered(&request(&[], b"{}"), &rules(&settings("verified = false"), &["t0ken"])).is_some());
}

#[test]
fn a_url_is_visited_only_for_a_verified_request() {
    let vector = vectors().handshakes.into_iter().rfind(|vector| vector.preset == "aws-sns");
    let vector = vector.expect("is there");
    let body = vector.body();
    let settings = "verify = \"none\"\nkey = \"body\"\nhandshakes = [{ visit = \"aws-sns\" }]";
    assert_eq!(answered(&request(&[], &body), &rules(settings, &[])), None, "the source verifies nothing");
    let rules = vector.rules();
    vector.with_request(&body, |request| {
        let answer = handshake(request, Verdict::Verified, &rules);
        assert!(matches!(answer, Some(Handshake::Answered(answer)) if answer.visit.is_some()));
        for verdict in [Verdict::None, Verdict::Unverified(Cause::SignatureMismatch)] {
            assert_eq!(handshake(request, verdict, &rules), None, "{verdict:?}");
        }
    });
}

#[test]
fn a_visit_needs_a_verified_post() {
    for handshake in
        ["{ visit = \"aws-sns\", verified = false }", "{ visit = \"aws-sns\", method = \"GET\" }"]
    {
        let settings = format!("{UNSIGNED}handshakes = [{handshake}]");
        let mistakes = Rules::new(fixture::settings(&settings), Keys::default(), true);
        let mistakes = mistakes.expect_err(handshake);
        assert!(mistakes.iter().any(|mistake| mistake.text.contains("has to be verified")), "{mistakes:?}");
    }
}

#[test]
fn a_token_is_shown_if_it_is_all_of_an_unsigned_body() {
    let settings = r#"
        verify = { hmac = "sha256", header = "X-Sig" }
        key = "body"
        handshakes = [{ verified = false, show = "token" }]"#;
    // The secret is the token that is shown.
    let rules = rules(settings, &[]);
    let shown = |body: &str| answered(&request(&[], body.as_bytes()), &rules);
    let answer = shown(" { \"token\" : \"secret_a-b\" }\n").expect("a handshake");
    assert_eq!(answer.token.as_ref().map(Secret::expose), Some("secret_a-b"));
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert!(!format!("{answer:?}").contains("secret_a-b"), "it is not logged");
    let padded = format!("{{\"token\":\"a\"{}}}", " ".repeat(MAX_SHOWN_BYTES));
    let long = format!("{{\"token\":\"{}\"}}", "a".repeat(MAX_VALUE_CHARS + 1));
    for body in [
        r#"{"token":"a","id":"1"}"#,
        r#"{"other":"a"}"#,
        r#"{"token":1}"#,
        r#"{"token":null}"#,
        r#"{"token":""}"#,
        r#"{"token":"a b"}"#,
        r#"{"token":"<script>"}"#,
        r#"{"token":{"token":"a"}}"#,
        r#"["token"]"#,
        r#"{"token":"a"} x"#,
        "{}",
        "",
        &padded,
        &long,
    ] {
        assert_eq!(shown(body), None, "{body}");
    }
    let put = Request { method: "PUT", ..request(&[], br#"{"token":"a"}"#) };
    assert_eq!(answered(&put, &rules), None);
}

#[test]
fn a_token_is_shown_only_of_an_unverified_post_and_alone() {
    for more in [
        "",
        "verified = true",
        "verified = false, method = \"GET\"",
        "verified = false, value = { json = \"/a\" }",
        "verified = false, visit = \"aws-sns\"",
    ] {
        let separator = if more.is_empty() { "" } else { ", " };
        let settings = format!("{UNSIGNED}handshakes = [{{ show = \"token\"{separator}{more} }}]");
        let mistakes = Rules::new(fixture::settings(&settings), Keys::default(), true);
        let mistakes = mistakes.expect_err(more);
        assert!(mistakes.iter().any(|mistake| mistake.text.contains("`show`")), "{more}: {mistakes:?}");
    }
}

#[test]
fn secrets_may_be_missing_only_if_the_sender_sends_one() {
    let missing = |handshakes: &str| {
        let settings = format!(
            "verify = {{ hmac = \"sha256\", header = \"X-Sig\" }}\nkey = \"body\"\nhandshakes = [{handshakes}]"
        );
        let mistakes =
            Rules::new(fixture::settings(&settings), Keys::default(), true).err().unwrap_or_default();
        mistakes.into_iter().map(|mistake| mistake.member).collect::<Vec<_>>()
    };
    assert!(missing("{ verified = false, show = \"token\" }").is_empty());
    assert_eq!(missing(""), ["secrets"]);
    let rules = rules(
        "verify = { hmac = \"sha256\", header = \"X-Sig\" }\nkey = \"body\"\nhandshakes = [{ verified = false, show = \"token\" }]",
        &[],
    );
    let verdict = verify(&request(&[("X-Sig", b"00")], b"{}"), &rules);
    assert_eq!(verdict, Verdict::Unverified(Cause::KeyUnavailable), "the sender tries again");
}
