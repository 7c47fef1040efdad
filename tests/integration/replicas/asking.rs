//! Sends every kind of read and operator request to a replica, continuously. Each response must be the expected one or
//! 503, and must arrive in bounded time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::client::{eventually, post};
use crate::support::server::Server;

/// The maximum time of any response during failures of the server: 15 s, plus a reserve because other tests run at the
/// same time. A request that waits for two statements without a response takes 24 s.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(22);

/// The time within which everything works again after a failure. A statement without a response takes 12 s.
pub(crate) const GOES_ON_WITHIN: Duration = Duration::from_secs(10);

/// The pause between two requests of one kind.
const PAUSE: Duration = Duration::from_millis(100);

/// A kind of request: its name in messages, the method, the path, and the expected status.
type Question = (&'static str, Method, &'static str, StatusCode);

const QUESTIONS: [Question; 9] = [
    ("the webhook", Method::GET, "/v1/webhooks/{id}", StatusCode::OK),
    ("its status", Method::GET, "/v1/webhooks/{id}/status", StatusCode::OK),
    ("its status by key", Method::GET, "/v1/status?idempotency_key=asked", StatusCode::OK),
    ("a list", Method::GET, "/v1/webhooks?page_size=5", StatusCode::OK),
    // The webhook is completed, so both are refused. The replica must ask the database to know that.
    ("to cancel it", Method::POST, "/v1/webhooks/{id}/cancel", StatusCode::CONFLICT),
    ("to retry it", Method::POST, "/v1/webhooks/{id}/retry", StatusCode::CONFLICT),
    ("statistics", Method::GET, "/v1/stats", StatusCode::OK),
    (READY, Method::GET, "/readyz", StatusCode::OK),
    (METRICS, Method::GET, "/metrics", StatusCode::OK),
];

/// Metrics are most important during failures. They must arrive within 10 s, the default timeout of Prometheus.
const METRICS: &str = "metrics";
pub(crate) const METRICS_WITHIN: Duration = Duration::from_secs(10);

/// The readiness check of load balancers, and the number of load balancers.
pub(crate) const READY: &str = "whether it is ready";
const READY_ASKERS: usize = 8;

/// The requests that read the table of webhooks.
pub(crate) const OF_WEBHOOKS: [&str; 6] =
    ["the webhook", "its status", "its status by key", "a list", "to cancel it", "to retry it"];

/// Tasks that send requests until stopped.
pub(crate) struct Asking {
    over: CancellationToken,
    askers: Vec<(Arc<Asker>, JoinHandle<()>)>,
}

struct Asker {
    question: &'static str,
    method: Method,
    url: String,
    good: StatusCode,
    answered: AtomicUsize,
    refused: AtomicUsize,
}

impl Asking {
    /// Accepts one webhook and starts to send requests to the replica.
    pub(crate) async fn start(server: &Server) -> Self {
        let client = crate::support::client::client_builder().build().expect("builds");
        let accepted = post(&client, &server.url("/v1/webhooks"), "asked").await.expect("answers");
        let accepted = accepted.json::<Value>().await.expect("is JSON");
        let id = accepted["id"].as_str().expect("is accepted").to_owned();
        let over = CancellationToken::new();
        let asker = |(question, method, path, good): Question| {
            let url = server.url(&path.replace("{id}", &id));
            let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let asker = Arc::new(Asker { question, method, url, good, answered, refused });
            let asking = Arc::clone(&asker).ask(client.clone(), over.clone());
            (asker, tokio::spawn(asking))
        };
        eventually("the webhook is completed", async || {
            let status = client.get(server.url(&format!("/v1/webhooks/{id}/status"))).send().await.ok()?;
            (status.json::<Value>().await.ok()?["status"] == "completed").then_some(())
        })
        .await;
        let often = |question: Question| {
            let askers = if question.0 == READY { READY_ASKERS } else { 1 };
            std::iter::repeat_n(question, askers)
        };
        Self { askers: QUESTIONS.into_iter().flat_map(often).map(asker).collect(), over }
    }

    /// Waits until each of these requests gets another 503.
    pub(crate) async fn are_refused(&self, questions: &[&str]) {
        self.until("is refused", questions, |asker| &asker.refused).await;
    }

    /// Waits until every request gets another expected response.
    pub(crate) async fn are_answered(&self) {
        self.until("is answered", &QUESTIONS.map(|(question, ..)| question), |asker| &asker.answered).await;
    }

    async fn until(&self, what: &str, questions: &[&str], count: impl Fn(&Asker) -> &AtomicUsize) {
        let asked = self.askers.iter().filter(|(asker, _)| questions.contains(&asker.question));
        let before = asked.map(|(asker, _)| (asker, count(asker).load(Ordering::SeqCst)));
        for (asker, before) in before.collect::<Vec<_>>() {
            eventually(&format!("{} {what}", asker.question), async || {
                // A task has ended early if a response was wrong.
                let goes_on = self.askers.iter().all(|(_, asking)| !asking.is_finished());
                (count(asker).load(Ordering::SeqCst) > before || !goes_on).then_some(())
            })
            .await;
        }
    }

    /// Stops the tasks. Panics if any response was wrong or late.
    pub(crate) async fn stop(self) {
        self.over.cancel();
        for (_, asking) in self.askers {
            asking.await.expect("every response is as expected");
        }
    }
}

impl Asker {
    async fn ask(self: Arc<Self>, client: Client, over: CancellationToken) {
        while over.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
            let within = if self.question == METRICS { METRICS_WITHIN } else { ANSWERED_WITHIN };
            let asked = client.request(self.method.clone(), &self.url).timeout(within).send().await;
            let response = asked.unwrap_or_else(|error| panic!("asked for {}: {error:?}", self.question));
            if response.status() == self.good {
                self.answered.fetch_add(1, Ordering::SeqCst);
            } else {
                assert_ne!(self.question, METRICS, "metrics are always available");
                self.is_a_refusal(response).await;
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    async fn is_a_refusal(&self, response: Response) {
        let (status, headers) = (response.status(), response.headers().clone());
        let said = response.text().await.expect("has a body");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "asked for {}: {said}", self.question);
        let body: Value = serde_json::from_str(&said).expect("is JSON");
        if self.question == READY {
            assert_eq!(body["ready"], false, "{said}");
            return;
        }
        assert_eq!(body["reason"], "STORE_UNAVAILABLE", "asked for {}: {said}", self.question);
        let after = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
        assert!(after.is_some_and(|seconds| seconds >= 1), "asked for {}: {said}", self.question);
    }
}
