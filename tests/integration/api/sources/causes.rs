//! What is not verified is refused with its cause, and nothing of it is stored.

use reqwest::RequestBuilder;
use rstest::rstest;

use super::{SHOP, metric, post, requests, sign, signed_with, stored};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, START, Sqlite, Store};

const BODY: &str = r#"{"id":"evt-001"}"#;

const SOURCES: &str = r#"
[sources.shop]
verify = { hmac = "sha256", header = "X-Signature", separator = ",", prefix = "v1=", signed = "{timestamp}.{body}", timestamp = { header = "X-Time" }, tolerance = "1m" }
secrets = ["s3cret"]
key = { json = "/id" }
[sources.bank]
verify = { token = "basic" }
secrets = ["me:s3cret"]
key = { json = "/id" }
"#;

/// A request of the source `shop` that is signed at a time, in seconds after that of the tests.
fn at(rest: &Rest, after: i64, secret: &str) -> RequestBuilder {
    let time = START.parse::<jiff::Timestamp>().unwrap().as_second() + after;
    let signature = sign(secret, format!("{time}.{BODY}").as_bytes());
    post(rest, "shop", BODY).header("X-Time", time).header("X-Signature", format!("v1={signature}"))
}

#[rstest]
#[tokio::test]
async fn every_cause_is_told_and_nothing_is_stored(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SOURCES);
    let rest = &hookbox.rest;
    let signed = sign("s3cret", BODY.as_bytes());
    for (source, request, cause) in [
        ("shop", post(rest, "shop", BODY), "signature_missing"),
        ("shop", post(rest, "shop", BODY).header("X-Signature", signed), "signature_malformed"),
        ("shop", post(rest, "shop", BODY).header("X-Signature", "v1=00"), "timestamp_missing"),
        ("shop", at(rest, 0, "other"), "signature_mismatch"),
        ("shop", at(rest, 0, "s3cret").body("{\"id\":\"evt-002\"}"), "signature_mismatch"),
        ("shop", at(rest, -61, "s3cret"), "timestamp_too_old"),
        ("shop", at(rest, 61, "s3cret"), "timestamp_in_future"),
        ("bank", post(rest, "bank", BODY).basic_auth("me", Some("other")), "credentials_wrong"),
        ("bank", post(rest, "bank", BODY), "signature_missing"),
        ("bank", post(rest, "bank", BODY).bearer_auth("s3cret"), "signature_malformed"),
    ] {
        let sample = requests(source, "unverified", cause);
        let before = metric(rest, &sample).await.unwrap();
        let answer = Answer::of(request).await;
        let problem = answer.problem(401, "NOT_VERIFIED");
        assert_eq!(problem["cause"], cause, "{problem}");
        let scheme = if source == "bank" { "Basic" } else { "Signature" };
        assert_eq!(answer.header("www-authenticate"), format!("{scheme} realm=\"{source}\""));
        assert!(!answer.text.contains("s3cret"), "{}", answer.text);
        assert_eq!(metric(rest, &sample).await, Some(before + 1.0), "{sample}");
    }
    for source in ["shop", "bank"] {
        assert!(stored(rest, source).await.is_empty(), "{source}");
        let last_seen = format!(r#"hookbox_source_last_seen{{source="{source}"}}"#);
        assert_eq!(metric(rest, &last_seen).await, Some(0.0));
    }
    assert!(hookbox.handler.runs().is_empty());
    // The same request, with a good signature.
    assert_eq!(Answer::of(at(rest, -60, "s3cret")).await.status, 202);
    let last_seen = metric(rest, r#"hookbox_source_last_seen{source="shop"}"#).await;
    assert_eq!(last_seen, Some(1_772_366_400.0), "the time of the clock, not that of the signature");
}

#[rstest]
#[tokio::test]
async fn a_request_that_is_not_verified_is_refused_before_it_is_read(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let unsigned = post(&hookbox.rest, "shop", "not JSON");
    Answer::of(unsigned).await.problem(401, "NOT_VERIFIED");
    let without_key = post(&hookbox.rest, "shop", "{}").header("X-Signature", sign("s3cret", b"{}"));
    let problem = Answer::of(without_key).await.problem(400, "MALFORMED_WEBHOOK");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("the header `X-Id` is missing"), "{detail}");
    assert_eq!(metric(&hookbox.rest, &requests("shop", "malformed", "")).await, Some(1.0));
    assert!(stored(&hookbox.rest, "shop").await.is_empty());
}

#[rstest]
#[tokio::test]
async fn a_signature_for_which_the_settings_have_no_key_is_told_and_sent_again(
    #[values(Sqlite, Postgres)] store: Store,
) {
    const GITLAB: &str = "[sources.gitlab]\npreset = \"gitlab\"\nsecrets = [\"plain\"]\n";
    const NOTION: &str = "[sources.notion]\npreset = \"notion\"\n";
    let hookbox = Hookbox::with_routes(store, &[GITLAB, NOTION].concat());
    for (source, header, value, signatures) in [
        ("gitlab", "webhook-signature", "v1,AAAA", "the header `webhook-signature` (`v1,`)"),
        ("notion", "X-Notion-Signature", "sha256=00", "the header `X-Notion-Signature` (`sha256=`)"),
    ] {
        let answer = Answer::of(post(&hookbox.rest, source, BODY).header(header, value)).await;
        let problem = answer.problem(503, "NOT_VERIFIED");
        assert_eq!(problem["cause"], "key_unavailable", "{problem}");
        assert_eq!(answer.header("retry-after"), "10");
        let told =
            format!("has no key for a signature in {signatures}; add the key of the sender to `secrets`");
        assert!(problem["detail"].as_str().unwrap().contains(&told), "{problem}");
        assert!(stored(&hookbox.rest, source).await.is_empty(), "{source}");
    }
    let other = post(&hookbox.rest, "gitlab", BODY).header("X-Gitlab-Token", "other");
    assert_eq!(Answer::of(other).await.problem(401, "NOT_VERIFIED")["cause"], "credentials_wrong");
    let unsigned = Answer::of(post(&hookbox.rest, "gitlab", BODY)).await;
    assert_eq!(unsigned.problem(401, "NOT_VERIFIED")["cause"], "signature_missing");
}

#[tokio::test]
async fn a_forged_webhook_does_not_tell_whether_its_key_is_taken() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    assert_eq!(super::send(&hookbox.rest, "evt-001", "{}").await.status, 202);
    for key in ["evt-001", "evt-002"] {
        for body in ["{}", "[]"] {
            let forged = Answer::of(signed_with(&hookbox.rest, "other", key, body)).await;
            let problem = forged.problem(401, "NOT_VERIFIED");
            assert!(problem.get("webhook_id").is_none(), "{problem}");
        }
    }
}
