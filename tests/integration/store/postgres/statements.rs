//! How much one statement stores: PostgreSQL holds it in memory, and a slow connection has to carry it within the time of
//! a statement.

use futures::future::join_all;
use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::headers::KeptHeaders;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::webhook::NewWebhook;
use hookbox::internals::store::Submission;

use super::PostgresHarness;
use crate::store::inbox::{Inbox, webhook};
use crate::store::routes::default_job;
use crate::support::postgres::Session;

const KIB: usize = 1024;

/// The most bytes of payloads and headers in a statement.
const MOST_BYTES: usize = 8 * 1024 * KIB;

/// The most in a statement for large webhooks.
const MOST_LARGE_BYTES: usize = 2 * 1024 * KIB;

/// Notes how many bytes of payloads and headers each statement stores.
const NOTE: &str = "
    CREATE TABLE noted (bytes bigint);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO noted SELECT sum(octet_length(payload) + coalesce(octet_length(headers), 0)) FROM added;
        RETURN NULL;
    END $$;
    CREATE TRIGGER note AFTER INSERT ON webhooks REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION note()";

/// `many` webhooks whose payloads have `bytes` bytes each.
fn webhooks(many: usize, bytes: usize) -> Vec<NewWebhook> {
    let payload = Payload::new(format!("\"{}\"", "x".repeat(bytes - 2))).expect("JSON");
    let new = |number: usize| NewWebhook { payload: payload.clone(), ..webhook(&number.to_string()) };
    (0..many).map(new).collect()
}

/// Small webhooks of one request whose headers have 60 KiB.
fn with_large_headers(many: usize) -> Vec<NewWebhook> {
    let filler = "x".repeat(60 * KIB);
    let headers = KeptHeaders::keep([("x-filler", filler.as_bytes())], |_| false);
    let new = |number: usize| NewWebhook { headers: headers.clone(), ..webhook(&number.to_string()) };
    (0..many).map(new).collect()
}

fn bytes_of(webhooks: &[NewWebhook]) -> usize {
    webhooks.iter().map(NewWebhook::bytes).sum()
}

/// A store, and a session that has what its statements store noted.
async fn noted() -> (Inbox<PostgresHarness>, Session) {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    session.ask(NOTE).expect("notes");
    (inbox, session)
}

/// Checks that statements have stored this many bytes, and each at most `most`.
fn check(session: &Session, bytes: usize, most: usize) {
    let noted = session.ask("SELECT bytes FROM noted WHERE bytes > 0").expect("asks");
    let noted = noted.iter().map(|bytes| bytes.parse().expect("a number")).collect::<Vec<usize>>();
    assert_eq!(noted.iter().sum::<usize>(), bytes);
    assert!(noted.iter().all(|bytes| *bytes <= most), "{noted:?}");
}

// The runtime has one thread, so that all webhooks of a test wait before the first one is stored.

#[tokio::test]
async fn a_statement_for_waiting_webhooks_has_a_limited_number_of_bytes() {
    for (many, of_each, most) in [(200, 60 * KIB, MOST_BYTES), (20, 300 * KIB, MOST_LARGE_BYTES)] {
        let (inbox, session) = noted().await;
        let new = webhooks(many, of_each);
        let bytes = bytes_of(&new);
        for accepted in join_all(new.into_iter().map(|new| inbox.submit(new))).await {
            assert!(!accepted.expect("is stored").duplicate);
        }
        check(&session, bytes, most);
    }
}

#[tokio::test]
async fn a_statement_for_the_webhooks_of_a_request_has_a_limited_number_of_bytes() {
    let (inbox, session) = noted().await;
    let new = webhooks(200, 60 * KIB);
    let bytes = bytes_of(&new);
    let batch = new.into_iter().map(|webhook| Submission { webhook, jobs: default_job() }).collect();
    inbox.accept_batch(batch, OnConflict::Reject).await.expect("is stored");
    check(&session, bytes, MOST_BYTES);
}

#[tokio::test]
async fn a_statement_for_quarantined_webhooks_has_a_limited_number_of_bytes() {
    let (inbox, session) = noted().await;
    let new = with_large_headers(300);
    let bytes = bytes_of(&new);
    let kept = inbox.quarantine(new).await.expect("is stored").expect("has room");
    assert!(kept.is_sorted_by_key(|webhook| webhook.id), "in the order of the request");
    check(&session, bytes, MOST_BYTES);
    assert_eq!(inbox.counts().await.of(Status::Quarantined), 300);
    assert_eq!(inbox.everything().await.len(), 300);
}

#[tokio::test]
async fn several_statements_quarantine_all_webhooks_of_a_request_or_none() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let session = Session::open(&inbox.harness().url()).expect("connects");
    // Room is left for the webhooks of the first statement alone.
    let fill = "INSERT INTO webhooks (id, source, idempotency_key, event_type, content_type, verdict, payload_digest,
                                      traceparent, accepted_at, quarantined)
                SELECT gen_random_uuid(), 'default', number::text, 'test', 'text/plain', 2, '', '', now(), true
                FROM generate_series(1, 9800) AS number";
    session.ask(fill).expect("fills");
    assert_eq!(inbox.quarantine(with_large_headers(300)).await.expect("is answered"), None);
    assert_eq!(session.ask("SELECT count(*) FROM webhooks").expect("asks"), ["9800"]);
    inbox.quarantine(with_large_headers(200)).await.expect("is stored").expect("has room");
    assert_eq!(session.ask("SELECT count(*) FROM webhooks").expect("asks"), ["10000"]);
}
