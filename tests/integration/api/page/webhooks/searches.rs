//! Searches in bodies, on a clock on which everything takes long.

use std::sync::Arc;

use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::keys::Network;
use rstest::rstest;

use super::{Browser, ids_of, next, values_of};
use crate::api::harness::home::Home;
use crate::api::harness::{Hookbox, Postgres, START, Sqlite, Store};
use crate::support::slow_clock::SlowClock;

/// Its jobs do not run, so that only the search looks at the clock.
const ROUTE: &str = "[[routes]]\nname = \"default\"\nhandler = \"pull\"\n";

/// More than half of the bytes that a search reads at once, so that it reads each body alone.
const BODY_BYTES: usize = 600 * 1024;

/// The milliseconds of each look at the clock. A search looks after each body: it has time for two bodies in 35 ms, and
/// for all of them in 150 ms.
const STEP: u64 = 20;

/// A hookbox with four webhooks, on a slow clock. The newest and the oldest have the text `needle`: their ids, the newest
/// first.
async fn searched(store: Store) -> (Hookbox, [String; 2]) {
    let clock = Arc::new(ManualClock::new(START.parse().unwrap()));
    let slow = Arc::new(SlowClock::new(Arc::clone(&clock)));
    let its_clock = Arc::clone(&slow);
    let hookbox = Hookbox::by(Home::new(store, ROUTE), clock, its_clock, &[], Network::system());
    let mut ids = Vec::new();
    for (key, word) in [("oldest", "needle"), ("second", "hay"), ("third", "hay"), ("newest", "needle")] {
        let payload = format!("{{\"text\":\"{word}\",\"more\":\"{}\"}}", "x".repeat(BODY_BYTES));
        ids.push(hookbox.rest.submit(key, "order.created", &payload).await.text_of("id"));
    }
    slow.slow_down(STEP);
    let (oldest, newest) = (ids.swap_remove(0), ids.swap_remove(0));
    (hookbox, [newest, oldest])
}

#[rstest]
#[tokio::test]
async fn a_view_looks_for_35_ms_and_a_request_of_the_api_for_150_ms(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let (hookbox, ids) = searched(store).await;
    let browser = Browser::of(&hookbox);
    let mut page = browser.get("/webhooks?body_contains=needle").await;
    assert_eq!(ids_of(&page), [ids[0].as_str()]);
    let mut found: Vec<String> = Vec::new();
    loop {
        found.extend(ids_of(&page).into_iter().map(ToOwned::to_owned));
        let Some(next) = next(&page) else { break };
        page = browser.get(&next).await;
    }
    assert_eq!(found, ids);

    let listed = hookbox.rest.get("/v1/webhooks?body_contains=needle").await.json();
    assert_eq!(listed["webhooks"].as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(listed["next_page_token"], "");
}

#[tokio::test]
async fn the_script_goes_on_with_a_search_that_has_not_filled_its_page_and_with_nothing_else() {
    let (hookbox, _) = searched(Sqlite).await;
    let browser = Browser::of(&hookbox);
    let page = browser.get("/webhooks?body_contains=needle&page_size=10").await;
    assert_eq!(values_of(&page.text, "data-room"), ["9"], "{}", page.text);
    let back = values_of(&page.text, "data-back");
    assert_eq!(back, ["/webhooks?body_contains=needle&amp;page_size=10"], "{}", page.text);
    let scripts = values_of(&page.text, "src");
    let script = scripts.iter().find(|path| path.starts_with("/assets/search-")).expect("its script");
    let script = browser.get(script).await;
    assert_eq!((script.status, script.header("content-type")), (200, "text/javascript; charset=utf-8"));

    for others in [
        // The page is full.
        "/webhooks?body_contains=needle&page_size=1",
        "/webhooks?page_size=1",
        "/webhooks?event_type=order.created&page_size=1",
    ] {
        let page = browser.get(others).await;
        assert!(page.text.contains("Older ones may match, too."), "{others}: {}", page.text);
        assert!(!page.text.contains("/assets/search-"), "{others}: {}", page.text);
    }
}
