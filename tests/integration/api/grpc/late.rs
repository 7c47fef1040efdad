//! Webhooks that become visible after others with greater ids, as those of several replicas can.

use std::time::Duration;

use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use hookbox::internals::grpc::proto::{WatchWebhooksRequest, WatchWebhooksResponse};
use jiff::SignedDuration;
use tokio::time::timeout;
use tonic::Streaming;

use crate::api::harness::{Hookbox, Postgres};
use crate::support::postgres::Session;

/// A route that no webhook of these tests matches.
const ROUTES: &str = "[[routes]]\nname = \"orders\"\nmatch = { event_type = \"order.*\" }\n";

/// How much of an answer the client takes before it reads. That is a small part of a page, so the stream does not read the
/// next page from the store before the client has read most of this one.
const WINDOW_BYTES: u32 = 65_535;

/// Longer than it takes until every webhook is visible.
const LATE: SignedDuration = SignedDuration::from_secs(20);

/// How long everything may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Stores copies of a webhook without jobs. Each has another number of these in its id and its key. Returns their ids.
fn copy(session: &Session, id: &str, numbers: &str) -> Vec<String> {
    let sql = format!(
        "WITH copied AS (
             INSERT INTO webhooks SELECT (jsonb_populate_record(w, jsonb_build_object(
                 'id', overlay(w.id::text PLACING lpad(to_hex(n), 3, '0') FROM 16 FOR 3),
                 'idempotency_key', rpad('copy ' || n || ' ', 250, 'x')
             ))).*
             FROM webhooks w, {numbers} n WHERE w.id = '{id}'
             RETURNING id
         )
         INSERT INTO finished_jobs SELECT (jsonb_populate_record(j, jsonb_build_object('webhook', copied.id))).*
         FROM finished_jobs j, copied WHERE j.webhook = '{id}'
         RETURNING webhook"
    );
    session.ask(&sql).unwrap()
}

async fn next(stream: &mut Streaming<WatchWebhooksResponse>) -> (String, String) {
    let sent = stream.message().await.unwrap().expect("the stream goes on");
    (sent.webhook.map(|webhook| webhook.id).unwrap_or_default(), sent.resume_after)
}

#[tokio::test]
async fn a_webhook_that_becomes_visible_behind_a_page_is_sent_however_slowly_the_page_is_read() {
    let hookbox = Hookbox::with_routes(Postgres, ROUTES);
    let first = hookbox.rest.submit("first", "other", "1").await.text_of("id");
    let session = hookbox.session();
    // A page has a thousand.
    assert_eq!(copy(&session, &first, "generate_series(2, 1998, 2)").len(), 999);
    hookbox.advance(SignedDuration::from_secs(1));

    let channel = hookbox.channel_with(|endpoint| endpoint.initial_stream_window_size(WINDOW_BYTES));
    let request = WatchWebhooksRequest { after: WebhookId::FIRST.to_string(), ..Default::default() };
    let mut stream = WebhookServiceClient::new(channel).watch_webhooks(request).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.0, "", "the position comes first");
    assert_eq!(next(&mut stream).await.0, first, "the page was found");
    let late = copy(&session, &first, "generate_series(999, 999)").pop().unwrap();
    hookbox.advance(LATE);
    let last = hookbox.rest.submit("last", "other", "1").await.text_of("id");

    let before = timeout(DEADLINE, async {
        let mut before = Vec::new();
        loop {
            let (id, resume_after) = next(&mut stream).await;
            if id == late {
                return before;
            }
            assert!(resume_after < late, "a stream that goes on after {resume_after} would miss {late}");
            before.push(id);
        }
    });
    let before = before.await.expect("the webhook is sent");
    assert!(before.contains(&last), "the next page was found before it");
}
