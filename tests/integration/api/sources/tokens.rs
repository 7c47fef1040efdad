//! Where tokens are needed: the signature is the proof of a source that verifies; any other needs a token.

use hookbox::internals::access::Digest;
use reqwest::Method;
use serde_json::Value;

use super::{SHOP, keys, metric, post, request, requests, send};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Sqlite};

const OPEN: &str = r#"
[sources.open]
verify = "none"
key = { header = "X-Id" }
handshakes = [{ method = "GET", value = { query = "challenge" } }, { when = [{ json = "/type", equals = "ping" }] }]
"#;

/// The settings of a token with its own name.
fn token(name: &str, members: &str) -> String {
    let sha256 = Digest::of(format!("hbx_secret-of-{name}").as_bytes()).to_hex();
    format!("[tokens.{name}]\nsha256 = \"{sha256}\"\n{members}\n")
}

/// A hookbox with tokens: `all`, `reader`, and `elsewhere`, which may submit to another source only.
fn hookbox() -> Hookbox {
    let tokens = [
        token("all", "roles = [\"submit\", \"read\", \"work\", \"operate\"]"),
        token("reader", "roles = [\"read\"]"),
        token("elsewhere", "roles = [\"submit\"]\nsources = \"other-*\""),
    ];
    Hookbox::with_routes(Sqlite, &format!("{SHOP}{OPEN}{}", tokens.concat()))
}

#[tokio::test]
async fn a_source_that_verifies_needs_no_token() {
    let hookbox = hookbox();
    let accepted = send(&hookbox.rest, "evt-001", "{}").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    // A wrong token is no obstacle: `Authorization` is what the sender says, not what hookbox asks for.
    let wrong = hookbox.rest.with_token("hbx_wrong");
    assert_eq!(send(&wrong, "evt-002", "{}").await.status, 202);
    let unsigned = Answer::of(post(&hookbox.rest.with_token("hbx_secret-of-all"), "shop", "{}")).await;
    unsigned.problem(401, "NOT_VERIFIED");
    let all = hookbox.rest.with_token("hbx_secret-of-all");
    assert_eq!(keys(&all, "shop").await, ["evt-001", "evt-002"]);
}

#[tokio::test]
async fn a_source_that_verifies_nothing_needs_a_token_that_may_submit_to_it() {
    let hookbox = hookbox();
    let send = async |token: Option<&str>, key: &str| {
        let rest = token.map_or_else(|| hookbox.rest.clone(), |token| hookbox.rest.with_token(token));
        Answer::of(post(&rest, "open", "{}").header("X-Id", key)).await
    };
    for token in [None, Some("hbx_wrong")] {
        let refused = send(token, "evt-001").await;
        refused.problem(401, "UNAUTHENTICATED");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
    send(Some("hbx_secret-of-reader"), "evt-001").await.problem(403, "FORBIDDEN");
    // A source that the token does not see is as if it were not there.
    let hidden = send(Some("hbx_secret-of-elsewhere"), "evt-001").await.problem(404, "SOURCE_NOT_FOUND");
    let absent = Answer::of(post(&hookbox.rest.with_token("hbx_secret-of-elsewhere"), "absent", "{}")).await;
    let absent = absent.problem(404, "SOURCE_NOT_FOUND");
    let detail = |problem: &Value| problem["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail(&hidden).replace("open", "absent"), detail(&absent));
    let all = hookbox.rest.with_token("hbx_secret-of-all");
    assert!(keys(&all, "open").await.is_empty());

    // Operators see what was refused, the newest first.
    let list = all.get("/v1/sources/open/rejections").await.json();
    let refused = list["rejections"].as_array().unwrap();
    let reasons = refused.iter().map(|rejection| rejection["reason"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(reasons, ["SOURCE_NOT_FOUND", "FORBIDDEN", "UNAUTHENTICATED", "UNAUTHENTICATED"]);
    let unseen = detail(&refused[0]);
    assert!(unseen.contains("the token of the request does not see the source"), "{unseen}");
    for name in ["`elsewhere`", "`reader`"] {
        assert!(
            !list.to_string().contains(name),
            "a reader of the source does not learn names of tokens: {list}"
        );
    }
    assert_eq!((&refused[3]["body_bytes"], &refused[3]["cause"]), (&Value::from(2), &Value::Null));
    for (verdict, count) in [("unauthorized", 4.0), ("none", 0.0)] {
        assert_eq!(metric(&all, &requests("open", verdict, "")).await, Some(count), "{verdict}");
    }
    let open = all.get("/v1/sources/open").await.json();
    let counts = &open["source"]["counts"];
    assert_eq!((&counts["unauthorized"], &counts["verified"]), (&Value::from(4), &Value::from(0)));

    let accepted = send(Some("hbx_secret-of-all"), "evt-001").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let webhook = all.webhook(&accepted.text_of("id")).await;
    assert_eq!(webhook["verdict"], "none");
    assert_eq!(super::header(&webhook, "authorization"), ["***"]);
}

#[tokio::test]
async fn handshakes_need_no_token() {
    let hookbox = hookbox();
    let answer = hookbox.rest.get("/v1/sources/open/webhooks?challenge=abc").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "abc"));
    let ping = Answer::of(post(&hookbox.rest, "open", r#"{"type":"ping"}"#)).await;
    assert_eq!(ping.status, 200, "{}", ping.text);
    Answer::of(request(&hookbox.rest, Method::OPTIONS, "open")).await.problem(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn without_tokens_every_client_may_send() {
    let hookbox = Hookbox::with_routes(Sqlite, OPEN);
    let sent = Answer::of(post(&hookbox.rest, "open", "{}").header("X-Id", "evt-001")).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
}
