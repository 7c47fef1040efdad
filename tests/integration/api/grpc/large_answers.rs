//! Answers that together are larger than the memory for answers.

use futures::future::join_all;

use super::{named, submission};
use crate::api::harness::{Hookbox, Sqlite};

/// Together 72 MB; the memory for answers is 64 MiB.
const READS: usize = 80;
const PAYLOAD_BYTES: usize = 900_000;

#[tokio::test]
async fn many_large_webhooks_are_read_at_once_on_one_connection() {
    let hookbox = Hookbox::start(Sqlite);
    let client = hookbox.grpc();
    let payload = format!("{:?}", "x".repeat(PAYLOAD_BYTES));
    let accepted = client.clone().submit_webhook(submission("evt-001", &payload)).await.unwrap();
    let id = accepted.into_inner().id;
    let reads = (0..READS).map(|_| {
        let (mut client, request) = (client.clone(), named(&id));
        async move {
            let webhook = client.get_webhook(request).await.unwrap().into_inner();
            webhook.payload_json.map(|json| json.len())
        }
    });
    let lengths = join_all(reads).await;
    assert!(lengths.iter().all(|length| *length == Some(payload.len())), "{lengths:?}");
}
