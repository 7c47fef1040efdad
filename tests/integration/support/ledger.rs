//! Every acknowledged webhook, kept by its senders, and the reckoning at the end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::client::{client, eventually, get, post};
use crate::support::server::Server;

/// Webhooks compared at a time.
const AT_ONCE: usize = 16;

/// Keys and the ids they were acknowledged with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<String, String>>>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Notes an answer of 2xx.
    pub(crate) fn note(&self, key: &str, answer: &Value) {
        let id = answer["id"].as_str().expect("has an id").to_owned();
        let before = self.lock().insert(key.to_owned(), id.clone());
        assert!(before.is_none_or(|before| before == id), "{key} was acknowledged with another id");
    }

    /// Every acknowledged webhook is there and completes, each with one completed attempt; no key
    /// has two webhooks; and who sends them again is told so. Answers those that were acknowledged.
    pub(crate) async fn reckon(&self, server: &Server) -> Vec<Value> {
        all_complete(server).await;
        let acknowledged = self.lock().clone();
        let listed = list(server).await;
        let ids = listed.iter().map(|(_, id)| id).collect::<HashSet<_>>();
        let keys = listed.iter().map(|(key, _)| key).collect::<HashSet<_>>();
        assert_eq!(keys.len(), listed.len(), "no key has two webhooks");
        assert_eq!(ids.len(), listed.len());
        for (key, id) in &acknowledged {
            assert!(ids.contains(id), "{key} was acknowledged and is lost");
        }

        let acknowledged = Arc::new(Mutex::new(acknowledged.into_iter().collect::<Vec<_>>()));
        let tasks = (0..AT_ONCE).map(|_| {
            let left = Arc::clone(&acknowledged);
            let (webhook_url, post_url) = (server.url("/v1/webhooks/"), server.url("/v1/webhooks"));
            tokio::spawn(async move {
                let client = client();
                let mut webhooks = Vec::new();
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some((key, id)) = next else { return webhooks };
                    let webhook = get(&client, &format!("{webhook_url}{id}")).await;
                    completed_once(&webhook, &key);
                    let again = post(&client, &post_url, &key).await.expect("answers");
                    assert_eq!(again.status(), StatusCode::OK, "{key} again");
                    let again = again.json::<Value>().await.expect("is JSON");
                    assert_eq!((&again["duplicate"], &again["id"]), (&Value::Bool(true), &Value::String(id)));
                    webhooks.push(webhook);
                }
            })
        });
        let mut webhooks = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            webhooks.extend(task.await.expect("nothing is lost"));
        }
        webhooks
    }
}

fn completed_once(webhook: &Value, key: &str) {
    assert_eq!(webhook["idempotency_key"], key);
    assert_eq!(webhook["payload"]["key"], key);
    assert_eq!(webhook["status"], "completed", "{webhook}");
    let attempts = webhook["attempts"].as_array().expect("is a list");
    assert_eq!(webhook["attempt_count"], attempts.len(), "{webhook}");
    let (last, earlier) = attempts.split_last().expect("has one");
    assert_eq!(last["outcome"], "completed", "{webhook}");
    assert!(earlier.iter().all(|attempt| attempt["outcome"] == "interrupted"), "{webhook}");
    assert!((1..).zip(attempts).all(|(number, attempt)| attempt["number"] == number), "{webhook}");
}

async fn all_complete(server: &Server) {
    let client = client();
    eventually("every webhook completes", async || {
        let counts = get(&client, &server.url("/v1/stats")).await["counts"].clone();
        let waiting = ["pending", "processing", "retrying"].map(|status| counts[status].as_u64());
        assert_eq!((&counts["dead_lettered"], &counts["cancelled"]), (&Value::from(0), &Value::from(0)));
        (waiting == [Some(0); 3]).then_some(())
    })
    .await;
}

/// Keys and ids of all webhooks there are.
pub(crate) async fn list(server: &Server) -> Vec<(String, String)> {
    let client = client();
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let url = server.url(&format!("/v1/webhooks?page_size=500&page_token={token}"));
        let page = get(&client, &url).await;
        let text = |value: &Value| value.as_str().expect("is text").to_owned();
        for webhook in page["webhooks"].as_array().expect("is a list") {
            all.push((text(&webhook["idempotency_key"]), text(&webhook["id"])));
        }
        token = text(&page["next_page_token"]);
        if token.is_empty() {
            return all;
        }
    }
}
