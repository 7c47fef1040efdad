//! Sources whose keys are fetched, from a server of the test that takes the place of those of the senders.

use hookbox::internals::keys::Network;
use jiff::SignedDuration;

use super::vectors::{Vector, all};
use super::{metric, requests, stored};
use crate::api::harness::home::Home;
use crate::api::harness::{Hookbox, Sqlite, eventually};
use crate::keys::server::{Does, KeyServer};

/// The first request of a preset that is verified.
fn genuine(preset: &str) -> Vector {
    let is_it = |vector: &Vector| vector.preset == preset && vector.expect == "verified";
    all().vectors.into_iter().find(is_it).expect(preset)
}

/// A hookbox with the source of a vector, and these members of it besides, at the time of the vector.
fn hookbox(vector: &Vector, members: &str, server: &KeyServer) -> Hookbox {
    let home = Home::new(Sqlite, &format!("{}{members}", vector.source()));
    let network = Network::new(server.resolver(), server.authority());
    Hookbox::at_in(home, &vector.time(), &[], network)
}

#[tokio::test]
async fn requests_are_verified_with_a_key_that_is_fetched_once() {
    for preset in
        ["aws-sns", "paypal", "google-pubsub", "plaid", "azure-event-grid-entra", "microsoft-graph-rich"]
    {
        let vector = genuine(preset);
        let server = KeyServer::start(Does::answer(&vector.key())).await;
        let hookbox = hookbox(&vector, "", &server);
        for _ in 0..2 {
            let answer = vector.send(&hookbox.rest).await;
            assert!((200..300).contains(&answer.status), "{preset}: {} {}", answer.status, answer.text);
        }
        assert_eq!(server.requests().len(), 1, "{preset}");
        let webhooks = stored(&hookbox.rest, preset).await;
        assert_eq!(webhooks.len(), 1, "{preset}");
        let webhook = hookbox.rest.webhook(webhooks[0]["id"].as_str().unwrap()).await;
        assert_eq!(webhook["verdict"], "verified", "{preset}");
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
