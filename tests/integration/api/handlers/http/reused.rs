//! Targets that close a connection when the next request comes over it, as servers do that take it for idle.

use rstest::rstest;

use super::error_of;
use super::target::{Does, OK, Target};
use crate::api::harness::{Hookbox, Sqlite};

const CLOSES: Does = Does::CloseAfter("");

/// One attempt for each webhook.
const ONCE: &str = "retry = { attempts = 1 }\nbreaker = { failures = 1 }";

/// Submits two webhooks, one after the other. The second one gets this status; answers all of it.
async fn two(hookbox: &Hookbox, status: &str) -> serde_json::Value {
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let id = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for(&id, status).await
}

#[rstest]
#[case::closes(CLOSES)]
#[case::resets(Does::ResetAfter(""))]
#[tokio::test]
async fn a_request_over_a_connection_that_the_target_closes_is_sent_again_at_once(#[case] does: Does) {
    let target = Target::start([OK, does, OK]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(ONCE));
    let webhook = two(&hookbox, "completed").await;
    assert_eq!(webhook["attempt_count"], 1);
    assert!(webhook["attempts"][0]["delivery"]["connect_ms"].is_number(), "{webhook}");
    let [_, first, second] = &target.received()[..] else { panic!("three requests") };
    assert_eq!((&first.headers, &first.body), (&second.headers, &second.body), "the same delivery");
    assert_eq!(target.connections(), 2);
    let routes = hookbox.rest.get("/v1/routes").await.json();
    assert_eq!(routes["routes"][0]["breaker"]["state"], "closed", "the target is up");
}

#[rstest]
#[case::the_second_connection_is_closed_too(CLOSES, "before its answer began", 3)]
#[case::the_answer_has_begun(
    Does::CloseAfter("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
    "before the end of its answer",
    2
)]
#[tokio::test]
async fn a_request_is_sent_again_once_and_only_if_no_answer_began(
    #[case] does: Does,
    #[case] expected: &str,
    #[case] requests: usize,
) {
    let target = Target::start([OK, does.clone(), does, OK]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(ONCE));
    let webhook = two(&hookbox, "dead_lettered").await;
    assert_eq!(error_of(&webhook), format!("the target closed the connection {expected}"));
    assert_eq!(target.received().len(), requests);
}

#[tokio::test]
async fn a_request_that_must_not_be_sent_twice_has_a_connection_of_its_own() {
    let target = Target::start([OK, OK, CLOSES, OK]).await;
    let routes = target.route(&format!("on_interrupt = \"dead_letter\"\n{ONCE}"));
    let hookbox = Hookbox::with_routes(Sqlite, &routes);
    two(&hookbox, "completed").await;
    assert_eq!(target.connections(), 2);
    let id = hookbox.rest.accept("evt-003").await;
    hookbox.wait_for(&id, "dead_lettered").await;
    assert_eq!(target.received().len(), 3);
}
