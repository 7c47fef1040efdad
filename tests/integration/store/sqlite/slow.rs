//! Lists on a clock on which everything takes long.

use std::sync::Arc;

use hookbox::internals::domain::body_filter::BodyFilter;
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::webhook::NewWebhook;
use hookbox::internals::store::sqlite::{self, SqliteStore};
use hookbox::internals::store::{Inbox as _, ListQuery, Store as _, Submission};
use hookbox::internals::telemetry::metrics::Metrics;
use jiff::Timestamp;

use crate::store::generate::within_limit;
use crate::store::inbox::{event_type, webhook_with};
use crate::store::routes::{default_job, in_force, policy};
use crate::support::slow_clock::SlowClock;

/// The number of webhooks. One page of a list has no time to look at all of them.
const WEBHOOKS: usize = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_ends_when_its_time_is_over_and_the_next_one_goes_on_from_there() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Timestamp::from_second(1_700_000_000).expect("in range");
        let clock = Arc::new(SlowClock::new(Arc::new(ManualClock::new(now))));
        clock.slow_down(30);
        let options = sqlite::Options {
            path: folder.path().join("inbox.db"),
            max_backlog: 1_000_000,
            policies: in_force([policy("default")]),
            seed: 1,
        };
        let store = SqliteStore::open(options, clock, Arc::new(Metrics::default())).await.expect("opens");
        let submission = |number: usize| {
            let webhook = webhook_with(&number.to_string(), &format!("{{\"n\":{number}}}"));
            let event_type = event_type(if number == 0 { "first" } else { "other" });
            Submission { webhook: NewWebhook { event_type, ..webhook }, jobs: default_job() }
        };
        let stored = store.accept_batch((0..WEBHOOKS).map(submission).collect(), OnConflict::Reject).await;
        let first = stored.expect("stored").swap_remove(0).webhook;

        let body = BodyFilter::from_fields("/n", "0", "").expect("valid");
        let list = ListQuery { event_type: Some(event_type("first")), limit: 50, ..ListQuery::default() };
        for mut query in [ListQuery { body, event_type: None, ..list.clone() }, list] {
            let (mut found, mut pages) = (Vec::new(), 0);
            loop {
                let page = store.list(query.clone()).await.expect("lists");
                assert_eq!(page.next.is_some(), page.searched_to().is_some());
                found.extend(page.webhooks);
                pages += 1;
                query.before = page.next;
                if query.before.is_none() {
                    break;
                }
            }
            assert_eq!(found, std::slice::from_ref(&first));
            assert!(pages > 2, "{pages} pages looked at {WEBHOOKS} webhooks: {query:?}");
        }
        store.close().await;
    })
    .await;
}
