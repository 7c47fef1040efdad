//! What senders are answered: exactly the status and the body that they want.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder};
use ring::hmac;
use rstest::rstest;
use serde_json::json;

use super::{SHOP, metric, request, requests, send, sign, stored};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

#[rstest]
#[tokio::test]
async fn a_source_can_set_the_status_and_the_body_of_what_is_accepted(
    #[values(Sqlite, Postgres)] store: Store,
) {
    for (answer, status, content_type, body) in [
        ("{ accepted = 200, body = \"\" }", 200, "", ""),
        ("{ accepted = 204, body = \"\" }", 204, "", ""),
        ("{ accepted = 204 }", 204, "", ""),
        ("{ body = \"[accepted]\" }", 202, "text/plain; charset=utf-8", "[accepted]"),
        (
            "{ accepted = 200, body = \"{}\", content_type = \"application/json\" }",
            200,
            "application/json",
            "{}",
        ),
    ] {
        let hookbox = Hookbox::with_routes(store, &format!("{SHOP}answer = {answer}\n"));
        let accepted = send(&hookbox.rest, "evt-001", "{}").await;
        assert_eq!((accepted.status, accepted.text.as_str()), (status, body), "{answer}");
        assert_eq!(accepted.header("content-type"), content_type, "{answer}");
        if status != 204 {
            assert_eq!(accepted.header("content-length"), body.len().to_string(), "{answer}");
        }
        let again = send(&hookbox.rest, "evt-001", "{}").await;
        let expected = if answer.contains("accepted =") { status } else { 200 };
        assert_eq!((again.status, again.text.as_str()), (expected, body), "{answer}");
        assert_eq!(accepted.header("set-cookie"), "");
        // What is refused is told all the same.
        let forged = super::signed_with(&hookbox.rest, "other", "evt-002", "{}");
        Answer::of(forged).await.problem(401, "NOT_VERIFIED");
    }
}

#[tokio::test]
async fn a_source_can_set_the_status_alone() {
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{SHOP}answer = {{ accepted = 200 }}\n"));
    let accepted = send(&hookbox.rest, "evt-001", "{}").await;
    assert_eq!((accepted.status, accepted.text_of("idempotency_key")), (200, "evt-001".to_owned()));
}

/// A request to the source `xero` with this signature.
fn to_xero(rest: &Rest, signature: &str) -> RequestBuilder {
    request(rest, Method::POST, "xero").header("x-xero-signature", signature).body(r#"{"events":[]}"#)
}

#[tokio::test]
async fn a_sender_that_wants_no_body_is_refused_without_one_and_operators_are_told_the_cause() {
    let hookbox = Hookbox::with_routes(Sqlite, "[sources.xero]\npreset = \"xero\"\nsecrets = [\"s3cret\"]\n");
    // Xero sends wrong signatures as a test.
    let refused = Answer::of(to_xero(&hookbox.rest, &STANDARD.encode([7_u8; 32]))).await;
    assert_eq!((refused.status, refused.text.as_str()), (401, ""));
    assert_eq!((refused.header("content-type"), refused.header("content-length")), ("", "0"));
    assert!(stored(&hookbox.rest, "xero").await.is_empty());
    let list = hookbox.rest.get("/v1/sources/xero/rejections").await.json();
    let told = (&list["rejections"][0]["cause"], &list["rejections"][0]["reason"]);
    assert_eq!(told, (&json!("signature_mismatch"), &json!("NOT_VERIFIED")));
    let counted = requests("xero", "unverified", "signature_mismatch");
    assert_eq!(metric(&hookbox.rest, &counted).await, Some(1.0));
    let by_get = Answer::of(request(&hookbox.rest, Method::GET, "xero")).await;
    assert_eq!((by_get.status, by_get.text.as_str(), by_get.header("allow")), (405, "", "POST"));
    // No source has set a body for this.
    hookbox.rest.post("/v1/sources/unknown/webhooks").await.problem(404, "SOURCE_NOT_FOUND");
}

#[tokio::test]
async fn a_source_can_set_the_body_of_what_is_refused() {
    let answer = "rate_limit = \"1/h\"\nanswer = { refused_body = \"no\", content_type = \"text/x-no\" }\n";
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{SHOP}{answer}"));
    let accepted = send(&hookbox.rest, "evt-001", "{}").await;
    assert_eq!((accepted.status, accepted.text_of("idempotency_key")), (202, "evt-001".to_owned()));
    let forged = Answer::of(super::signed_with(&hookbox.rest, "other", "evt-002", "{}")).await;
    let over_limit = send(&hookbox.rest, "evt-003", "{}").await;
    for (refused, status) in [(&forged, 401), (&over_limit, 503)] {
        assert_eq!((refused.status, refused.text.as_str()), (status, "no"));
        assert_eq!(refused.header("content-type"), "text/x-no");
    }
    assert!(forged.header("retry-after").is_empty() && !over_limit.header("retry-after").is_empty());
}

/// `src/sources/presets/expected.rs` has all presets.
#[tokio::test]
async fn presets_answer_what_their_senders_want() {
    for (preset, header, prefix, body, status, text) in [
        ("xero", "x-xero-signature", "", r#"{"events":[]}"#, 200, Some("")),
        ("lemonsqueezy", "X-Signature", "", "{}", 200, None),
        ("github", "X-Hub-Signature-256", "sha256=", "{}", 202, None),
        ("whatsapp", "X-Hub-Signature-256", "sha256=", r#"{"entry":[{"id":1},{"id":2}]}"#, 200, None),
    ] {
        let token = if preset == "whatsapp" { "verify_token = \"t\"\n" } else { "" };
        let source = format!("[sources.{preset}]\npreset = \"{preset}\"\nsecrets = [\"s3cret\"]\n{token}");
        let hookbox = Hookbox::with_routes(Sqlite, &source);
        let signature = if preset == "xero" {
            STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"s3cret"), body.as_bytes()))
        } else {
            sign("s3cret", body.as_bytes())
        };
        let request = request(&hookbox.rest, Method::POST, preset)
            .header("X-GitHub-Delivery", "d-1")
            .header(header, format!("{prefix}{signature}"))
            .header("content-type", "application/json")
            .body(body);
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, status, "{preset}: {}", answer.text);
        if let Some(text) = text {
            assert_eq!((answer.text.as_str(), answer.header("content-type")), (text, ""), "{preset}");
        }
    }
}
