//! What is told of a breaker that has opened.

use hookbox::internals::domain::alert::Alert;
use hookbox::internals::domain::breaker::Health;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::webhook::Source;
use hookbox::internals::store::Finish;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, milliseconds, seconds, source};
use crate::store::routes::{breaking, job, route};

/// The last attempt of the batch finds the breaker open, so it is not the one that opened it.
pub(crate) async fn an_opened_breaker_is_told_with_the_attempt_of_a_batch_that_opened_it<H: Harness>() {
    for (opener, later) in [("shop", Source::OWN), (Source::OWN, "shop")] {
        let inbox = Inbox::<H>::with_routes([breaking("out", 2)]).await;
        let alerts = inbox.harness().metrics().alerts();
        alerts.want(true);
        for (key, from) in [("k 1", opener), ("k 2", opener), ("k 3", later)] {
            inbox.accept_from(from, key, [job("out")]).await;
        }
        let mut jobs = inbox.claimed(10).await;
        jobs.sort_by(|one, other| one.idempotency_key.as_str().cmp(other.idempotency_key.as_str()));
        let finishes = jobs.iter().map(|job| {
            inbox.advance(milliseconds(1));
            let error = Some(format!("failed for {}", job.idempotency_key.as_str()));
            Finish { error, health: Some(Health::Down), ..inbox.ended(job, Status::Retrying) }
        });
        let finishes = finishes.collect::<Vec<_>>();
        assert_eq!(inbox.finish("process 1", finishes).await.expect("finishes"), [true; 3]);

        let told = alerts.take(|_| true).into_iter().map(|waiting| waiting.alert).collect::<Vec<_>>();
        let until = inbox.now() + seconds(10);
        let opened = Alert::breaker_opened(&route("out"), &source(opener), 2, "failed for k 2", until);
        // The failed delivery of an alert raises no alert.
        let expected = if opener == Source::OWN { vec![] } else { vec![opened] };
        assert_eq!(told, expected, "opened by {opener}");
    }
}
