//! A reload takes sources in and away, while their senders send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rstest::rstest;

use super::{PULLED, SHOP, metric, requests, send, signed_with};
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
