//! Sources whose keys are fetched, from a server of the test that takes the place of those of the senders.

use std::collections::BTreeSet;

use hookbox::internals::grpc::proto;
use hookbox::internals::keys::Network;
use jiff::SignedDuration;

use super::vectors::{Vector, all};
use super::{header, metric, requests, stored};
use crate::api::harness::home::Home;
use crate::api::harness::{Hookbox, Sqlite, eventually};
use crate::keys::server::{Does, KeyServer};

/// The requests of a preset that are verified.
fn verified(preset: &str) -> impl Iterator<Item = Vector> {
    all().vectors.into_iter().filter(move |vector| vector.preset == preset && vector.expect == "verified")
}

/// The first of them.
fn genuine(preset: &str) -> Vector {
    verified(preset).next().expect(preset)
}

/// The same webhook with other bytes, as a retry can have them: one that the sender has signed, or, where it does not sign
/// all of them, one with another member.
fn with_other_bytes(vector: &Vector) -> Vector {
    let is_like = |other: &Vector| other.source() == vector.source() && other.body() != vector.body();
    if ["paypal", "plaid"].contains(&vector.preset.as_str()) {
        return verified(&vector.preset).find(is_like).expect("a retry");
    }
    let body = vector.body();
    // Of a batch, in the item.
    let item = body.find("{\"id\":").unwrap_or_default();
    let (before, rest) = body.split_at(item);
    let with_member = rest.replacen('{', "{\"of_the_tests\":1,", 1);
    vector.with_body(&format!("{before}{with_member}"))
}

/// A hookbox with the source of a vector, and these members of it besides, at the time of the vector.
fn hookbox(vector: &Vector, members: &str, server: &KeyServer) -> Hookbox {
    let home = Home::new(Sqlite, &format!("{}{members}", vector.source()));
    let network = Network::new(server.resolver(), server.authority());
    Hookbox::at_in(home, &vector.time(), &[], network)
}

#[tokio::test]
async fn requests_that_repeat_are_one_webhook_and_their_key_is_fetched_once() {
    let presets = all().vectors.into_iter().filter(|vector| vector.is_fetched()).map(|vector| vector.preset);
    let presets = presets.collect::<BTreeSet<_>>();
    assert!(presets.len() >= 6, "{presets:?}");
    for preset in &presets {
        let vector = genuine(preset);
        let server = KeyServer::start(Does::answer(&vector.key())).await;
        let hookbox = hookbox(&vector, "", &server);
        let rest = &hookbox.rest;
        let (one, other) = tokio::join!(vector.send(rest), vector.send(rest));
        let again = vector.send(rest).await;
        for answer in [one, other, again] {
            assert!((200..300).contains(&answer.status), "{preset}: {} {}", answer.status, answer.text);
        }
        let webhooks = stored(rest, preset).await;
        let [webhook] = webhooks.as_slice() else { panic!("{preset}: {webhooks:?}") };
        let first = rest.webhook(webhook["id"].as_str().unwrap()).await;
        assert_eq!(first["verdict"], "verified", "{preset}");

        let retry = with_other_bytes(&vector);
        let answer = retry.send(rest).await;
        assert!((200..300).contains(&answer.status), "{preset}: {} {}", answer.status, answer.text);
        // Of Plaid, the body is the key.
        let expected = if preset == "plaid" { 2 } else { 1 };
        assert_eq!(stored(rest, preset).await.len(), expected, "{preset}");
        let kept = rest.webhook(webhook["id"].as_str().unwrap()).await;
        for member in ["payload", "payload_text"] {
            assert_eq!(kept[member], first[member], "{preset}: the first is kept");
        }
        assert_eq!(server.requests().len(), 1, "{preset}");
    }
}

#[tokio::test]
async fn without_the_key_the_sender_is_told_to_come_again_and_nothing_is_stored() {
    let vector = genuine("aws-sns");
    let server = KeyServer::start(Does::answer_status("500 Internal Server Error")).await;
    let hookbox = hookbox(&vector, "unverified = \"quarantine\"\n", &server);
    let answer = vector.send(&hookbox.rest).await;
    assert_eq!(answer.header("retry-after"), "10");
    let problem = answer.problem(503, "NOT_VERIFIED");
    assert_eq!(problem["cause"], "key_unavailable");
    assert!(stored(&hookbox.rest, "aws-sns").await.is_empty(), "not even in quarantine");
    let counted = requests("aws-sns", "unverified", "key_unavailable");
    assert_eq!(metric(&hookbox.rest, &counted).await, Some(1.0));

    server.does(Does::answer(&vector.key()));
    hookbox.advance(SignedDuration::from_secs(10));
    let answer = vector.send(&hookbox.rest).await;
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text);
}

#[tokio::test]
async fn the_sender_is_answered_in_time_while_its_key_is_fetched() {
    let vector = genuine("aws-sns");
    let server = KeyServer::start(Does::Hang).await;
    let hookbox = hookbox(&vector, "deadline = \"2s\"\n", &server);
    let (answer, ()) = tokio::join!(vector.send(&hookbox.rest), async {
        eventually("a fetch", || async { (!server.requests().is_empty()).then_some(()) }).await;
        hookbox.advance(SignedDuration::from_secs(2));
    });
    assert_eq!(answer.problem(503, "NOT_VERIFIED")["cause"], "key_unavailable");
}

#[tokio::test]
async fn a_message_of_amazon_sns_is_json_though_its_header_says_that_it_is_a_text() {
    const ROUTE: &str = r#"
        [[routes]]
        name = "notifications"
        where = 'body.Type == "Notification"'
        order_by = "/TopicArn"
        handler = "pull"
    "#;
    let vector = genuine("aws-sns");
    let server = KeyServer::start(Does::answer(&vector.key())).await;
    let hookbox = hookbox(&vector, ROUTE, &server);
    let id = vector.send(&hookbox.rest).await.text_of("id");
    let webhook = hookbox.rest.webhook(&id).await;
    assert_eq!(webhook["jobs"][0]["route"], "notifications", "{webhook}");
    assert_eq!(webhook["content_type"], "application/json");
    assert_eq!(webhook["payload"]["Subject"], "An order");
    assert_eq!(header(&webhook, "content-type"), ["text/plain; charset=UTF-8"]);
    let request = proto::GetWebhookRequest { id: id.clone(), ..Default::default() };
    let by_grpc = hookbox.grpc().get_webhook(request).await.unwrap().into_inner();
    assert_eq!(by_grpc.payload_json, Some(vector.body()), "byte for byte");
    let found = hookbox.rest.get("/v1/webhooks?body_pointer=/Subject&body_equals=An%20order").await.json();
    assert_eq!(found["webhooks"][0]["id"], id.as_str(), "{found}");
}

#[tokio::test]
async fn a_subscription_is_confirmed_by_a_visit_and_again_if_that_failed() {
    let vector = all().handshakes.into_iter().find(|vector| vector.preset == "aws-sns").unwrap();
    let server = KeyServer::start(Does::answer(&vector.key())).await;
    let hookbox = hookbox(&vector, "", &server);
    let answer = vector.send(&hookbox.rest).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    let lines = server.requests().into_iter().map(|request| request.line).collect::<Vec<_>>();
    assert_eq!(lines.len(), 2, "the key, and the visit: {lines:?}");
    assert!(lines[1].starts_with("GET /?Action=ConfirmSubscription"), "{lines:?}");

    server.does(Does::answer_status("503 Service Unavailable"));
    let answer = vector.send(&hookbox.rest).await;
    assert_eq!(answer.header("retry-after"), "10");
    let problem = answer.problem(503, "NOT_VERIFIED");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("cannot be visited") && !detail.contains("Token"), "{detail}");
    assert!(stored(&hookbox.rest, "aws-sns").await.is_empty());
    assert_eq!(metric(&hookbox.rest, &requests("aws-sns", "handshake", "")).await, Some(1.0));
}
