//! The positions of streams of new webhooks that limited tokens are told.

use hookbox::internals::grpc::proto;
use jiff::SignedDuration;
use rstest::rstest;
use tonic::Streaming;

use super::{EVERY_ROLE, grpc, rest, token};
use crate::api::harness::client::Rest;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// A hookbox whose routes are named as the event types that they take, and a token that is limited to `orders`.
fn hookbox(store: Store) -> Hookbox {
    let route = |name: &str| {
        format!("[[routes]]\nname = \"{name}\"\nhandler = \"pull\"\nmatch = {{ event_type = \"{name}\" }}\n")
    };
    let limited = token("orders", "roles = [\"read\"]\nroutes = [\"ord*\"]");
    Hookbox::with_routes(
        store,
        &[route("orders"), route("audit"), token("all", EVERY_ROLE), limited].concat(),
    )
}

async fn submitted(all: &Rest, key: &str, event_type: &str) -> String {
    all.submit(key, event_type, "1").await.text_of("id")
}

/// A stream after a position; one from now on if that is empty.
async fn stream(hookbox: &Hookbox, after: &str) -> Streaming<proto::WatchWebhooksResponse> {
    let asked = proto::WatchWebhooksRequest { after: after.to_owned(), ..Default::default() };
    grpc(hookbox, "orders").watch_webhooks(asked).await.unwrap().into_inner()
}

/// The id of the webhook that is sent next, empty if it is a position alone, and the position after it.
async fn next(stream: &mut Streaming<proto::WatchWebhooksResponse>) -> (String, String) {
    let sent = stream.message().await.unwrap().expect("the stream goes on");
    (sent.webhook.map(|webhook| webhook.id).unwrap_or_default(), sent.resume_after)
}

/// The same of the next webhook. Positions alone come from time to time.
async fn webhook(stream: &mut Streaming<proto::WatchWebhooksResponse>) -> (String, String) {
    loop {
        let sent = next(stream).await;
        if !sent.0.is_empty() {
            return sent;
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_position_is_the_same_whatever_else_comes_in(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = hookbox(store);
    let all = rest(&hookbox, "all");
    let begin = next(&mut stream(&hookbox, "").await).await;
    assert_eq!(begin.0, "");
    submitted(&all, "hidden-1", "audit").await;
    let mut watching = stream(&hookbox, "").await;
    assert_eq!(next(&mut watching).await, begin, "the time stands still");

    submitted(&all, "hidden-2", "audit").await;
    let visible = submitted(&all, "visible", "orders").await;
    let (sent, position) = webhook(&mut watching).await;
    assert_eq!(sent, visible);
    // Where others may still become visible before it, it is no position yet.
    assert_eq!(position, if store == Sqlite { visible.clone() } else { begin.1 });

    submitted(&all, "hidden-3", "audit").await;
    let begin = next(&mut stream(&hookbox, "").await).await;
    assert_eq!(begin, (String::new(), visible), "the newest one that the token sees");
}

#[rstest]
#[tokio::test]
async fn a_limited_stream_that_goes_on_misses_nothing_and_repeats_only_what_is_after_its_position(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = hookbox(store);
    let all = rest(&hookbox, "all");
    submitted(&all, "before", "orders").await;
    submitted(&all, "hidden-1", "audit").await;
    let mut watching = stream(&hookbox, "").await;
    let (_, begin) = next(&mut watching).await;
    let mut ids = Vec::new();
    for key in ["1", "2", "3"] {
        submitted(&all, &format!("hidden-before-{key}"), "audit").await;
        ids.push(submitted(&all, key, "orders").await);
        hookbox.advance(SignedDuration::from_mins(1));
    }
    let mut position = String::new();
    for id in &ids {
        let sent = webhook(&mut watching).await;
        assert_eq!(sent.0, *id);
        position = sent.1;
    }
    assert!(position == begin || ids.contains(&position), "no other webhook: {position}");
    if store == Sqlite {
        assert_eq!(position, ids[2], "webhooks become visible in the order of their ids");
    }
    submitted(&all, "hidden-2", "audit").await;
    ids.push(submitted(&all, "4", "orders").await);
    for after in [begin, position] {
        let mut again = stream(&hookbox, &after).await;
        assert_eq!(next(&mut again).await, (String::new(), after.clone()));
        let mut sent = Vec::new();
        while sent.last() != ids.last() {
            sent.push(webhook(&mut again).await.0);
        }
        let expected = ids.iter().filter(|id| **id > after).cloned().collect::<Vec<_>>();
        assert_eq!(sent, expected, "after {after}");
    }
}
