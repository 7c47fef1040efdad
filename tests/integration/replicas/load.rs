//! Senders: each posts one webhook after the other, to one replica after the other, under the same
//! key until it is acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::client::{eventually, post};
use crate::support::ledger::Ledger;

/// Who sends.
pub(crate) const SENDERS: usize = 12;

/// The pause of a sender between two webhooks, and before it tries one again.
const PAUSE: Duration = Duration::from_millis(40);

/// How long it may take until what is under way is acknowledged.
const STOP_TIME: Duration = Duration::from_secs(30);

/// Acknowledgements of one replica that show that it is at work.
const AT_WORK: usize = 25;

/// Senders at work until they are stopped.
pub(crate) struct Load {
    sending: Arc<Sending>,
    senders: Vec<JoinHandle<()>>,
}

/// What senders share.
struct Sending {
    client: Client,
    replicas: Vec<Replica>,
    ledger: Ledger,
    refused: AtomicUsize,
    /// Why requests were not answered at all.
    silence: Mutex<Vec<String>>,
    over: CancellationToken,
}

#[derive(Default)]
struct Replica {
    /// None while it is down.
    url: Mutex<Option<String>>,
    acknowledged: AtomicUsize,
}

impl Load {
    /// Begins to send to replicas. Each request is given up after `patience`.
    pub(crate) fn start(urls: &[String], patience: Duration) -> Self {
        let client = Client::builder().no_proxy().timeout(patience).build().expect("builds");
        let replica = |url: &String| Replica { url: Mutex::new(Some(url.clone())), ..Replica::default() };
        let sending = Arc::new(Sending {
            client,
            replicas: urls.iter().map(replica).collect(),
            ledger: Ledger::default(),
            refused: AtomicUsize::new(0),
            silence: Mutex::default(),
            over: CancellationToken::new(),
        });
        let send = |sender| tokio::spawn(Arc::clone(&sending).send(sender));
        let senders = (0..SENDERS).map(send).collect();
        Self { sending, senders }
    }

    /// A replica went down, or came back, perhaps elsewhere.
    pub(crate) fn set(&self, replica: usize, url: Option<String>) {
        *self.sending.replicas[replica].url() = url;
    }

    /// Waits until every replica that is up acknowledges again and again.
    pub(crate) async fn goes_on(&self, when: &str) {
        let counts =
            || self.sending.replicas.iter().map(|replica| replica.acknowledged.load(Ordering::SeqCst));
        let before = counts().collect::<Vec<_>>();
        eventually(&format!("webhooks are acknowledged {when}"), async || {
            let mut replicas = self.sending.replicas.iter().zip(counts()).zip(&before);
            let at_work =
                replicas.all(|((replica, now), before)| now >= before + AT_WORK || replica.url().is_none());
            at_work.then_some(())
        })
        .await;
    }

    /// Waits until so many more submissions have been refused, each with 503.
    pub(crate) async fn is_refused(&self, times: usize) {
        let enough = self.sending.refused.load(Ordering::SeqCst) + times;
        eventually("webhooks are refused", async || {
            (self.sending.refused.load(Ordering::SeqCst) >= enough).then_some(())
        })
        .await;
    }

    /// Stops; what is under way is acknowledged first. Answers what was acknowledged.
    pub(crate) async fn stop(self) -> Ledger {
        self.sending.over.cancel();
        let stopped = tokio::time::timeout(STOP_TIME, futures::future::join_all(self.senders)).await;
        for sender in stopped.expect("what is under way is acknowledged in the end") {
            sender.expect("every answer is as it should be");
        }
        self.sending.ledger.clone()
    }

    /// Stops at once, whatever is under way.
    pub(crate) fn abandon(self) {
        self.senders.iter().for_each(JoinHandle::abort);
    }

    /// Stops as usual, where every request has to have had an answer.
    pub(crate) async fn stop_answered(self) -> Ledger {
        let sending = Arc::clone(&self.sending);
        let ledger = self.stop().await;
        let silence = sending.silence.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(silence.is_empty(), "requests were not answered: {silence:?}");
        ledger
    }
}

impl Sending {
    async fn send(self: Arc<Self>, sender: usize) {
        let mut turn = sender;
        for number in 0.. {
            let key = format!("{sender}-{number}");
            while !self.is_acknowledged(&self.replicas[turn % self.replicas.len()], &key).await {
                turn += 1;
                tokio::time::sleep(PAUSE).await;
            }
            turn += 1;
            if self.over.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
        }
    }

    /// Posts a webhook once. A refusal has to say when to come again.
    async fn is_acknowledged(&self, replica: &Replica, key: &str) -> bool {
        let Some(url) = replica.url().clone() else { return false };
        let answer = async {
            let response = post(&self.client, &url, key).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            reqwest::Result::Ok((status, headers, response.bytes().await?))
        };
        let (status, headers, body) = match answer.await {
            Ok(answer) => answer,
            Err(error) => {
                let problem = format!("{key}: {error:?}");
                self.silence.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
                return false;
            }
        };
        let said = String::from_utf8_lossy(&body);
        let body: Value = serde_json::from_slice(&body).expect("is JSON");
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(body["reason"], "STORE_UNAVAILABLE", "{key}: {said}");
            assert!(headers.contains_key("retry-after"), "{key}: {said}");
            self.refused.fetch_add(1, Ordering::SeqCst);
            return false;
        }
        assert!(matches!(status, StatusCode::ACCEPTED | StatusCode::OK), "{key}: {status} {said}");
        self.ledger.note(key, &body);
        replica.acknowledged.fetch_add(1, Ordering::SeqCst);
        true
    }
}

impl Replica {
    fn url(&self) -> MutexGuard<'_, Option<String>> {
        self.url.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
