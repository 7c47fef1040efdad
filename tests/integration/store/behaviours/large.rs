//! Large webhooks: they are stored beside the others and do not delay them.

use futures::StreamExt as _;
use futures::future::{join, join_all};
use futures::stream::FuturesUnordered;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::webhook::NewWebhook;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, webhook};
use crate::store::routes::{ordered, policy};

const KIB: usize = 1024;

/// `many` webhooks whose payloads have `bytes` bytes each.
fn webhooks(prefix: &str, many: usize, bytes: usize) -> Vec<NewWebhook> {
    let payload = Payload::new(format!("\"{}\"", "x".repeat(bytes - 2))).expect("JSON");
    let new = |number| NewWebhook { payload: payload.clone(), ..webhook(&format!("{prefix} {number}")) };
    (0..many).map(new).collect()
}

pub(crate) async fn a_small_webhook_does_not_wait_for_the_large_ones_before_it<H: Harness>() {
    const LARGE: usize = 40;
    let inbox = Inbox::<H>::new().await;
    // A store that needs a connection for each opens them now.
    let first = webhooks("first", 1, 100 * KIB).into_iter().chain([webhook("first")]);
    for accepted in join_all(first.map(|new| inbox.submit(new))).await {
        assert!(!accepted.expect("is stored").duplicate);
    }
    let large = webhooks("large", LARGE, KIB * KIB);
    // They are enqueued in this order, the small one last, and yielded in the order of their answers.
    let sending = large.into_iter().chain([webhook("small")]).map(|new| {
        let inbox = &inbox;
        async move {
            let is_small = new.payload.as_bytes().len() < KIB;
            assert!(!inbox.submit(new).await.expect("is stored").duplicate);
            is_small
        }
    });
    let answers = sending.collect::<FuturesUnordered<_>>().collect::<Vec<_>>().await;
    assert_eq!(answers.len(), LARGE + 1);
    let before = answers.iter().take_while(|is_small| !**is_small).count();
    assert!(before < LARGE / 2, "{before} large webhooks were answered before the small one");
    assert_eq!(inbox.counts().await.of(Status::Pending), LARGE as u64 + 3);
}

pub(crate) async fn large_webhooks_that_wait_are_stored_before_the_store_closes<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let new = webhooks("large", 20, 200 * KIB);
    let (answers, ()) = join(join_all(new.into_iter().map(|new| inbox.submit(new))), inbox.close()).await;
    let mut stored = answers.into_iter().map(|answer| answer.expect("is stored").webhook).collect::<Vec<_>>();
    stored.sort_by_key(|webhook| std::cmp::Reverse(webhook.id));
    inbox.close_and_reopen().await;
    assert_eq!(inbox.everything().await, stored);
}

pub(crate) async fn ordered_jobs_of_large_and_small_webhooks_start_one_at_a_time<H: Harness>() {
    const OF_EACH: usize = 10;
    let inbox = Inbox::<H>::with_routes([policy("orders")]).await;
    let (large, small) = (webhooks("large", OF_EACH, 100 * KIB), webhooks("small", OF_EACH, 10));
    let new = large.into_iter().zip(small).flat_map(|(large, small)| [large, small]);
    let accepting = new.map(|new| inbox.accept(new, vec![ordered("orders", "x")]));
    for accepted in join_all(accepting).await {
        assert!(!accepted.expect("is stored").duplicate);
    }
    for _ in 0..2 * OF_EACH {
        let job = inbox.claim_one().await;
        inbox.claim_nothing().await;
        inbox.end(&job, Status::Completed).await;
    }
    inbox.claim_nothing().await;
    assert_eq!(inbox.counts().await.of(Status::Completed), 2 * OF_EACH as u64);
}
