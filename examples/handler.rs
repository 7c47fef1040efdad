//! A program that is hookbox with a handler of its own, `price-order`: it adds up the price of an order, by a price list
//! in a file that another program writes.
//!
//! ```sh
//! echo '{"apple": 25, "pear": 40}' > prices.json
//! cargo run --example handler -- config check --config examples/handler.toml
//! cargo run --example handler -- serve --config examples/handler.toml
//! ```
//!
//! In another terminal:
//!
//! ```sh
//! curl -s http://127.0.0.1:8080/v1/webhooks -H 'Content-Type: application/json' -d '{"idempotency_key": "evt-001",
//!   "event_type": "order.created", "payload": {"lines": [{"sku": "apple", "quantity": 3}]}}'
//! curl -s 'http://127.0.0.1:8080/v1/webhook?idempotency_key=evt-001'
//! ```

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use hookbox::{Attempt, Failure, Handler, Hookbox};
use serde::Deserialize;
use serde_json::{Value, json};

/// Adds up the price of an order.
struct PriceOrder {
    /// The price list: a JSON object with the price of each article, in cents.
    prices: PathBuf,
}

#[derive(Deserialize)]
struct Order {
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    sku: String,
    quantity: u64,
}

impl Handler for PriceOrder {
    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure> {
        // A payload of another shape is a failure for good.
        let order: Order = attempt.json()?;
        if order.lines.is_empty() {
            return Err(Failure::permanent("the order has no lines"));
        }
        // Other errors are retried: the next attempt may find the file, or a whole one.
        let prices: HashMap<String, u64> = serde_json::from_slice(&std::fs::read(&self.prices)?)?;
        let mut cents = 0;
        for line in &order.lines {
            // The timeout is over, or hookbox stops.
            if attempt.is_stopped() {
                return Err(Failure::Stopped);
            }
            let Some(price) = prices.get(&line.sku) else {
                return Err(Failure::retry(format!("`{}` has no price yet", line.sku)));
            };
            cents += price * line.quantity;
        }
        // The same in every attempt, so that an offer which is sent twice can be recognised.
        Ok(json!({ "offer": attempt.delivery_id(), "cents": cents }))
    }
}

fn main() -> ExitCode {
    Hookbox::builder().handler("price-order", PriceOrder { prices: "prices.json".into() }).run()
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::path::Path;
    use std::time::Duration;

    use reqwest::Client;

    use super::*;

    /// How long each part of the test may take.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// Between two looks.
    const PAUSE: Duration = Duration::from_millis(20);

    /// Two addresses that nothing listens on.
    fn free_addresses() -> [SocketAddr; 2] {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
        listeners.each_ref().map(|listener| listener.local_addr().expect("it has an address"))
    }

    /// The settings of the example, with addresses and a file of the test.
    fn settings(folder: &Path, [http, grpc]: [SocketAddr; 2]) -> String {
        let database = folder.join("hookbox.db");
        format!(
            "http_addr = \"{http}\"\ngrpc_addr = \"{grpc}\"\ndatabase_url = \"sqlite://{}\"\n{}",
            database.display(),
            include_str!("handler.toml")
        )
    }

    /// Sends an order, and waits until its job has one of two statuses. Answers the webhook.
    async fn process(client: &Client, http: SocketAddr, key: &str, order: &Value) -> Value {
        let webhook = json!({ "idempotency_key": key, "event_type": "order.created", "payload": order });
        loop {
            // Until hookbox listens. Under the same key it is the same webhook.
            let sending = client.post(format!("http://{http}/v1/webhooks")).json(&webhook);
            if sending.send().await.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            let asking = client.get(format!("http://{http}/v1/webhook?idempotency_key={key}"));
            let answer = asking.send().await.expect("answers");
            let webhook: Value = answer.json().await.expect("is JSON");
            if webhook["status"] == "completed" || webhook["status"] == "dead_lettered" {
                return webhook;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    #[tokio::test]
    async fn orders_are_priced_and_an_order_without_lines_is_a_dead_letter() {
        let folder = tempfile::tempdir().expect("a folder");
        let prices = folder.path().join("prices.json");
        std::fs::write(&prices, r#"{"apple": 25, "pear": 40}"#).expect("writes");
        let addresses = free_addresses();
        let file = folder.path().join("hookbox.toml");
        std::fs::write(&file, settings(folder.path(), addresses)).expect("writes");
        let hookbox = Hookbox::builder().handler("price-order", PriceOrder { prices });
        let hookbox = hookbox.build().expect("the name is allowed").settings_file(file);

        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut serving = tokio::spawn(hookbox.serve(async move {
            let _ = stopped.await;
        }));
        // The client needs one, even where no TLS is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().expect("builds");
        let processing = async {
            let order =
                json!({ "lines": [{ "sku": "apple", "quantity": 3 }, { "sku": "pear", "quantity": 1 }] });
            let priced = process(&client, addresses[0], "evt-001", &order).await;
            let refused = process(&client, addresses[0], "evt-002", &json!({ "lines": [] })).await;
            (priced, refused)
        };
        let (priced, refused) = tokio::select! {
            processed = tokio::time::timeout(DEADLINE, processing) => processed.expect("within the deadline"),
            ended = &mut serving => panic!("hookbox has ended: {ended:?}"),
        };

        let id = priced["id"].as_str().expect("an id");
        assert_eq!(priced["result"], json!({ "offer": format!("{id}_orders"), "cents": 115 }), "{priced}");
        assert_eq!(refused["status"], "dead_lettered");
        assert_eq!(refused["attempts"][0]["error"], "the order has no lines", "{refused}");

        drop(stop);
        let ended = tokio::time::timeout(DEADLINE, serving).await.expect("stops within the deadline");
        ended.expect("does not panic").expect("stops without an error");
    }
}
