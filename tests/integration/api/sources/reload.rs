//! A reload takes sources in and away, while their senders send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hookbox::internals::access::Digest;
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;

use super::{PULLED, SHOP, answer_of, begin, metric, requests, send, sign, signed_with, stored};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

async fn reload(hookbox: &Hookbox, settings: &str) -> Answer {
    hookbox.set_routes(settings);
    hookbox.rest.post("/v1/settings/reload").await
}

/// The source `shop` with these secrets and this status for what is accepted.
fn shop(secrets: &str, status: u16) -> String {
    let shop = SHOP.replace("[\"s3cret\"]", secrets);
    format!("{PULLED}{shop}answer = {{ accepted = {status} }}\n")
}

/// The statuses of all answers to a sender.
type Sending = tokio::task::JoinHandle<Vec<u16>>;

/// Sends webhooks with this secret until it is told to stop.
fn keep_sending(
    rest: &Rest,
    secret: &'static str,
    stop: &Arc<AtomicBool>,
    sent: &Arc<AtomicUsize>,
) -> Sending {
    let (rest, stop, sent) = (rest.clone(), Arc::clone(stop), Arc::clone(sent));
    tokio::spawn(async move {
        let mut statuses = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let key = format!("{secret}-{}", sent.fetch_add(1, Ordering::SeqCst));
            statuses.push(Answer::of(signed_with(&rest, secret, &key, "{}")).await.status);
        }
        statuses
    })
}

#[rstest]
#[tokio::test]
async fn a_secret_is_rotated_without_refusing_a_request(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &shop("[\"old\"]", 200));
    let (stop, sent) = (Arc::default(), Arc::default());
    let sending = (0..4).map(|_| keep_sending(&hookbox.rest, "old", &stop, &sent)).collect::<Vec<_>>();
    for _ in 0..5 {
        assert_eq!(reload(&hookbox, &shop("[\"new\", \"old\"]", 200)).await.status, 200);
        let new = Answer::of(signed_with(&hookbox.rest, "new", "evt-001", "{}")).await;
        assert_eq!(new.status, 200, "the new secret is in force: {}", new.text);
        assert_eq!(reload(&hookbox, &shop("[\"old\"]", 200)).await.status, 200);
        let new = Answer::of(signed_with(&hookbox.rest, "new", "evt-001", "{}")).await;
        new.problem(401, "NOT_VERIFIED");
    }
    stop.store(true, Ordering::SeqCst);
    for sender in sending {
        let statuses = sender.await.unwrap();
        assert!(!statuses.is_empty() && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    }
}

#[rstest]
#[tokio::test]
async fn no_request_is_judged_by_two_versions_of_the_rules(#[values(Sqlite, Postgres)] store: Store) {
    let (one, two) = (shop("[\"one\"]", 200), shop("[\"two\"]", 201));
    let hookbox = Hookbox::with_routes(store, &one);
    let (stop, sent) = (Arc::default(), Arc::default());
    let ones = keep_sending(&hookbox.rest, "one", &stop, &sent);
    let twos = keep_sending(&hookbox.rest, "two", &stop, &sent);
    for settings in [&two, &one, &two, &one, &two, &one] {
        assert_eq!(reload(&hookbox, settings).await.status, 200);
        let seen = sent.load(Ordering::SeqCst);
        eventually("more requests", || async { (sent.load(Ordering::SeqCst) >= seen + 10).then_some(()) })
            .await;
    }
    stop.store(true, Ordering::SeqCst);
    for (sender, accepted) in [(ones, 200), (twos, 201)] {
        let statuses = sender.await.unwrap();
        assert!(statuses.contains(&accepted) && statuses.contains(&401), "both were in force: {statuses:?}");
        assert!(statuses.iter().all(|status| [accepted, 401].contains(status)), "{statuses:?}");
    }
}

#[rstest]
#[tokio::test]
async fn sources_are_added_and_removed_with_their_series(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    send(&hookbox.rest, "evt-001", "{}").await;
    assert_eq!(metric(&hookbox.rest, &requests("shop", "verified", "")).await, Some(1.0));
    let other = SHOP.replace("sources.shop", "sources.store");
    assert_eq!(reload(&hookbox, &other).await.status, 200);
    send(&hookbox.rest, "evt-002", "{}").await.problem(404, "SOURCE_NOT_FOUND");
    assert_eq!(metric(&hookbox.rest, &requests("store", "verified", "")).await, Some(0.0));
    let gone = hookbox.rest.get("/metrics").await.text;
    assert!(!gone.contains("source=\"shop\""), "{gone}");
    assert_eq!(reload(&hookbox, SHOP).await.status, 200);
    let again = send(&hookbox.rest, "evt-001", "{}").await;
    assert_eq!(again.status, 200, "its webhooks are still known: {}", again.text);
    assert_eq!(metric(&hookbox.rest, &requests("shop", "verified", "")).await, Some(1.0));
}

#[rstest]
#[tokio::test]
async fn a_mistake_in_a_source_keeps_all_settings_in_force(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[PULLED, SHOP].concat());
    let wrong = "[[routes]]\nname = \"other\"\n[sources.shop]\nverify = \"none\"\nkey = { jsn = \"/id\" }\n";
    let problem = reload(&hookbox, wrong).await.problem(422, "SETTINGS_INVALID");
    assert!(problem["detail"].as_str().unwrap().contains("sources.shop.key"), "{problem}");
    let routes = hookbox.rest.get("/v1/routes").await.json();
    assert_eq!(routes["routes"][0]["route"], "pulled");
    assert_eq!(send(&hookbox.rest, "evt-001", "{}").await.status, 202);
    let unsigned = super::post(&hookbox.rest, "shop", "{}").header("X-Id", "evt-002");
    Answer::of(unsigned).await.problem(401, "NOT_VERIFIED");
    assert_eq!(super::keys(&hookbox.rest, "shop").await, ["evt-001"]);
}

const BODY: &str = r#"{"idempotency_key":"evt-001","event_type":"order.created","payload":{}}"#;

/// A route that takes the webhooks of one source.
fn route(name: &str, source: &str) -> String {
    format!("[[routes]]\nname = \"{name}\"\nhandler = \"pull\"\nmatch = {{ source = \"{source}\" }}\n")
}

#[rstest]
#[tokio::test]
async fn a_request_that_has_begun_gets_the_jobs_of_the_routes_of_its_source(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[route("before", "shop").as_str(), SHOP].concat());
    let headers = format!("X-Id: evt-001\r\nX-Signature: {}\r\n", sign("s3cret", b"{}"));
    let mut begun = begin(&hookbox.rest, "/v1/sources/shop/webhooks", 2, &headers).await;
    let renamed = [route("after", "store"), SHOP.replace("sources.shop", "sources.store")].concat();
    assert_eq!(reload(&hookbox, &renamed).await.status, 200);
    begun.write_all(b"{}").await.unwrap();
    let answer = answer_of(begun).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let id = stored(&hookbox.rest, "shop").await[0]["id"].as_str().unwrap().to_owned();
    let webhook = hookbox.rest.get(&format!("/v1/webhooks/{id}")).await.json();
    assert_eq!(webhook["jobs"][0]["route"], "before", "{webhook}");
}

#[rstest]
#[tokio::test]
async fn a_submission_that_has_begun_gets_the_jobs_of_the_routes_of_its_beginning(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &route("before", "default"));
    let mut begun = begin(&hookbox.rest, "/v1/webhooks", BODY.len(), "").await;
    assert_eq!(reload(&hookbox, &route("after", "default")).await.status, 200);
    begun.write_all(BODY.as_bytes()).await.unwrap();
    let answer = answer_of(begun).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let id = stored(&hookbox.rest, "default").await[0]["id"].as_str().unwrap().to_owned();
    let webhook = hookbox.rest.get(&format!("/v1/webhooks/{id}")).await.json();
    assert_eq!(webhook["jobs"][0]["route"], "before", "{webhook}");
}

#[tokio::test]
async fn a_request_that_has_begun_is_let_in_by_the_tokens_of_its_beginning() {
    let open = "[sources.open]\nverify = \"none\"\nkey = \"body\"\n";
    let sha256 = Digest::of(b"hbx_one").to_hex();
    let roles = "roles = [\"submit\", \"read\", \"operate\"]\n";
    let with_token = format!("{open}[tokens.one]\nsha256 = \"{sha256}\"\n{roles}");
    let mut hookbox = Hookbox::with_routes(Sqlite, &with_token);
    let without = hookbox.rest.clone();
    hookbox.rest = hookbox.rest.with_token("hbx_one");
    let path = "/v1/sources/open/webhooks";
    for (settings, status) in [(open, "HTTP/1.1 401"), (with_token.as_str(), "HTTP/1.1 202")] {
        let mut begun = begin(&without, path, 2, "").await;
        assert_eq!(reload(&hookbox, settings).await.status, 200);
        begun.write_all(b"{}").await.unwrap();
        let answer = answer_of(begun).await;
        assert!(answer.starts_with(status), "{answer}");
    }
}
