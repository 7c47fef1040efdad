//! Tokens that senders send in a handshake: only operators are shown them.

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::operation_service_client::OperationServiceClient;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Code;

use super::{post, sign, stored};
use crate::api::access::{EVERY_ROLE, bearer, rest, secret, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use crate::api::page::Browser;

/// A source that has no secret yet.
const NOTION: &str = "[sources.notion]\npreset = \"notion\"\n";

/// A hookbox with this source, and tokens of callers who see more or less of it.
fn hookbox(store: Store, source: &str) -> Hookbox {
    Hookbox::with_routes(store, &with_tokens(source))
}

fn with_tokens(source: &str) -> String {
    let tokens = [
        token("all", EVERY_ROLE),
        token("reader", "roles = [\"read\", \"submit\", \"work\"]"),
        token("orders", "roles = [\"operate\"]\nroutes = \"orders\""),
        token("elsewhere", "roles = [\"operate\"]\nsources = \"other\""),
    ];
    format!("{source}{}", tokens.concat())
}

/// Sends a token as Notion does.
async fn sent(hookbox: &Hookbox, token: &str) -> Answer {
    let body = json!({ "verification_token": token }).to_string();
    Answer::of(post(&hookbox.rest, "notion", &body)).await
}

/// Sends a webhook that is signed with this secret.
async fn signed(hookbox: &Hookbox, secret: &str) -> Answer {
    let body = r#"{"id":"1","type":"page.created"}"#;
    let signature = format!("sha256={}", sign(secret, body.as_bytes()));
    Answer::of(post(&hookbox.rest, "notion", body).header("X-Notion-Signature", signature)).await
}

async fn source(rest: &Rest) -> Value {
    let answer = rest.get("/v1/sources/notion").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// The tokens that a caller is shown.
async fn shown(rest: &Rest) -> Vec<String> {
    let source = source(rest).await;
    let tokens = source["handshake_tokens"].as_array().unwrap().iter();
    tokens.map(|shown| shown["token"].as_str().unwrap().to_owned()).collect()
}

#[rstest]
#[tokio::test]
async fn a_token_is_shown_to_operators_until_it_is_a_secret(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = hookbox(store, NOTION);
    let all = rest(&hookbox, "all");
    let answer = sent(&hookbox, "secret_abc").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert!(stored(&all, "notion").await.is_empty());

    let listed = all.get("/v1/sources").await;
    let detail = source(&all).await;
    assert_eq!(detail["source"], listed.json()["sources"][0]);
    assert_eq!(detail["source"]["counts"]["handshakes"], 1);
    let came = json!({ "token": "secret_abc", "at": "2026-03-01T12:00:00.000Z", "client": "127.0.0.1" });
    assert_eq!(detail["handshake_tokens"], json!([came]));
    let metrics = all.get("/metrics").await;
    assert!(!listed.text.contains("secret_abc") && !metrics.text.contains("secret_abc"));

    let mut client = OperationServiceClient::with_interceptor(hookbox.channel(), bearer(&secret("all")));
    let request = proto::GetSourceRequest { source: "notion".to_owned() };
    let told = client.get_source(request).await.unwrap().into_inner();
    assert_eq!(told.source.unwrap().counts.unwrap().handshakes, 1);
    let at = "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap();
    let [token] = &told.handshake_tokens[..] else { panic!("{:?}", told.handshake_tokens) };
    assert_eq!((token.token.as_str(), token.client.as_deref()), ("secret_abc", Some("127.0.0.1")));
    assert_eq!(token.at.unwrap().seconds, at.as_second());

    let page = Browser::logged_in(&hookbox, "all").await.get("/sources/notion").await;
    assert!(page.text.contains("<code>secret_abc</code>"), "{}", page.text);

    // Without a secret nothing is verified, and Notion tries again.
    assert_eq!(signed(&hookbox, "secret_abc").await.problem(503, "NOT_VERIFIED")["cause"], "key_unavailable");
    hookbox.set_routes(&with_tokens(&format!("{NOTION}secrets = [\"secret_abc\"]\n")));
    assert_eq!(all.post("/v1/settings/reload").await.status, 200);
    assert!(shown(&all).await.is_empty());
    let page = Browser::logged_in(&hookbox, "all").await.get("/sources/notion").await;
    assert!(!page.text.contains("secret_abc"), "{}", page.text);
    assert_eq!(signed(&hookbox, "secret_abc").await.status, 202);
}

#[tokio::test]
async fn a_token_is_hidden_from_callers_who_may_not_operate_or_see_a_part() {
    let hookbox = hookbox(Sqlite, NOTION);
    assert_eq!(sent(&hookbox, "secret_abc").await.status, 200);
    for name in ["reader", "orders"] {
        assert!(shown(&rest(&hookbox, name)).await.is_empty(), "{name}");
        let page = Browser::logged_in(&hookbox, name).await.get("/sources/notion").await;
        assert!(page.status == 200 && !page.text.contains("secret_abc"), "{name}: {}", page.text);
    }
    let elsewhere = rest(&hookbox, "elsewhere");
    let hidden = elsewhere.get("/v1/sources/notion").await.problem(404, "SOURCE_NOT_FOUND");
    let absent = elsewhere.get("/v1/sources/absent").await.problem(404, "SOURCE_NOT_FOUND");
    let detail = |problem: &Value| problem["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail(&hidden).replace("notion", "absent"), detail(&absent));
    rest(&hookbox, "all").get("/v1/sources/No").await.refused_field("source");
    let mut client =
        OperationServiceClient::with_interceptor(hookbox.channel(), bearer(&secret("elsewhere")));
    let request = proto::GetSourceRequest { source: "notion".to_owned() };
    assert_eq!(client.get_source(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn the_last_eight_tokens_are_kept_the_newest_first() {
    let hookbox = hookbox(Sqlite, NOTION);
    for number in 0..20 {
        assert_eq!(sent(&hookbox, &format!("token-{number}")).await.status, 200);
        hookbox.advance(SignedDuration::from_secs(1));
    }
    assert_eq!(sent(&hookbox, "token-15").await.status, 200);
    let kept = [15, 19, 18, 17, 16, 14, 13, 12].map(|number| format!("token-{number}"));
    assert_eq!(shown(&rest(&hookbox, "all")).await, kept);
}

#[tokio::test]
async fn what_has_another_shape_is_refused_and_not_shown() {
    let hookbox = hookbox(Sqlite, &format!("{NOTION}secrets = [\"s3cret\"]\n"));
    for body in [
        r#"{"verification_token":"secret_abc","id":"1"}"#,
        r#"{"verification_token":1}"#,
        r#"[{"verification_token":"secret_abc"}]"#,
        r#"{"token":"secret_abc"}"#,
        "{}",
    ] {
        Answer::of(post(&hookbox.rest, "notion", body)).await.problem(401, "NOT_VERIFIED");
    }
    let other_shape = post(&hookbox.rest, "notion", r#"{"verification_token":"<script>"}"#);
    let problem = Answer::of(other_shape).await.problem(400, "MALFORMED_WEBHOOK");
    assert!(problem["detail"].as_str().unwrap().contains("the shape `token`"), "{problem}");
    assert!(shown(&rest(&hookbox, "all")).await.is_empty());
    // A second subscription has a token of its own.
    assert_eq!(sent(&hookbox, "secret_abc").await.status, 200);
    assert_eq!(shown(&rest(&hookbox, "all")).await, ["secret_abc"]);
    assert_eq!(signed(&hookbox, "secret_abc").await.status, 401, "it is no secret yet");
}
