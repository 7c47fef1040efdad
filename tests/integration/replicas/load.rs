//! Senders that produce load. Each sender posts one webhook at a time, to the replicas in turn, and repeats it with the
//! same key until it is acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::client::{eventually, post};
use crate::support::ledger::Ledger;

/// The number of senders.
pub(crate) const SENDERS: usize = 12;

/// The pause of a sender between two webhooks and before a retry. All senders together send about a hundred webhooks a
/// second: enough to meet any moment of a failure, and each webhook is asked for and sent again at the end.
const PAUSE: Duration = Duration::from_millis(100);

/// The time within which all unacknowledged webhooks must be acknowledged at the end.
const STOP_TIME: Duration = Duration::from_secs(30);

/// The number of new acknowledgements after which a replica counts as working.
const AT_WORK: usize = 25;

/// Senders that run until stopped.
pub(crate) struct Load {
    sending: Arc<Sending>,
    senders: Vec<JoinHandle<()>>,
}

/// The state that all senders share.
struct Sending {
    client: Client,
    replicas: Vec<Replica>,
    ledger: Ledger,
    refused: AtomicUsize,
    /// The errors of requests that got no response.
    silence: Mutex<Vec<String>>,
    over: CancellationToken,
}

#[derive(Default)]
struct Replica {
    /// `None` while the replica is down.
    url: Mutex<Option<String>>,
    acknowledged: AtomicUsize,
}

impl Load {
    /// Starts to send webhooks to these replicas. Each request has the timeout `patience`.
    pub(crate) fn start(urls: &[String], patience: Duration) -> Self {
        let client = crate::support::client::client_builder().timeout(patience).build().expect("builds");
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

    /// Changes the URL of a replica; `None` means that it is down.
    pub(crate) fn set(&self, replica: usize, url: Option<String>) {
        *self.sending.replicas[replica].url() = url;
    }

    /// Waits until every replica that is up has acknowledged [`AT_WORK`] more webhooks.
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

    /// Waits until this number of further requests has been refused with 503.
    pub(crate) async fn is_refused(&self, times: usize) {
        let enough = self.sending.refused.load(Ordering::SeqCst) + times;
        eventually("webhooks are refused", async || {
            (self.sending.refused.load(Ordering::SeqCst) >= enough).then_some(())
        })
        .await;
    }

    /// Stops after every sender's last webhook is acknowledged. Returns the ledger of all acknowledged webhooks.
    pub(crate) async fn stop(self) -> Ledger {
        self.sending.over.cancel();
        let stopped = tokio::time::timeout(STOP_TIME, futures::future::join_all(self.senders)).await;
        for sender in stopped.expect("all webhooks are acknowledged in time") {
            sender.expect("every response is as expected");
        }
        self.sending.ledger.clone()
    }

    /// Stops immediately, without waiting for acknowledgements.
    pub(crate) fn abandon(self) {
        self.senders.iter().for_each(JoinHandle::abort);
    }

    /// Like [`stop`](Self::stop), but panics if any request got no response.
    pub(crate) async fn stop_answered(self) -> Ledger {
        let sending = Arc::clone(&self.sending);
        let ledger = self.stop().await;
        let silence = sending.silence.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(silence.is_empty(), "some requests got no response: {silence:?}");
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

    /// Posts a webhook once and returns whether it was acknowledged. A refusal must have a `Retry-After` header.
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
