//! What was sent and answered is kept with the attempt, and shown with the webhook.

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::error_of;
use super::target::{Does, OK, Target, route};
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store};

/// The value of a header that was sent.
fn sent<'a>(delivery: &'a Value, name: &str) -> &'a Value {
    let headers = delivery["request_headers"].as_array().unwrap();
    let header = headers.iter().find(|header| header["name"] == name);
    &header.unwrap_or_else(|| panic!("{name} in {delivery}"))["value"]
}

#[rstest]
#[tokio::test]
async fn what_was_sent_and_answered_is_shown_with_each_attempt(#[values(Sqlite, Postgres)] store: Store) {
    let busy = "HTTP/1.1 503 Busy\r\nx-request-id: 7\r\ncontent-length: 5\r\n\r\nlater";
    let target = Target::start([Does::Answer(busy.into()), OK]).await;
    let url = format!("http://me:s3cret@{}/hooks?token=s3cret", target.address());
    let hookbox = Hookbox::with_routes(store, &route(&url, "headers = { X-Api-Key = \"s3cret\" }"));
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    hookbox.advance(HOUR);
    let webhook = hookbox.wait_for(&id, "completed").await;
    assert_eq!(webhook["attempts"], webhook["jobs"][0]["attempts"]);

    let deliveries = [0_usize, 1].map(|at| &webhook["attempts"][at]["delivery"]);
    for (delivery, number) in deliveries.into_iter().zip(["1", "2"]) {
        assert_eq!(delivery["method"], "POST");
        assert_eq!(delivery["url"], format!("http://{}/hooks", target.address()));
        assert_eq!(*sent(delivery, "webhook-id"), format!("{id}_out"));
        assert_eq!(*sent(delivery, "hookbox-attempt"), number);
        assert_eq!(*sent(delivery, "x-api-key"), "***");
        assert_eq!(*sent(delivery, "authorization"), "***");
        let [first, total] = ["first_byte_ms", "total_ms"].map(|name| delivery[name].as_f64().unwrap());
        assert!(0.0 < first && first <= total, "{delivery}");
    }
    assert!(deliveries[0]["connect_ms"].as_f64().is_some_and(|time| time > 0.0), "{webhook}");
    assert_eq!(deliveries[1]["connect_ms"], Value::Null, "the connection is used again");
    let headers =
        json!([{ "name": "x-request-id", "value": "7" }, { "name": "content-length", "value": "5" }]);
    let answer = json!({ "status": 503, "headers": headers, "body_text": "later", "body_cut": false });
    assert_eq!(deliveries[0]["answer"], answer);
    assert_eq!(deliveries[1]["answer"]["body_text"], "ok");
    assert!(!webhook.to_string().contains("s3cret"), "{webhook}");
}

#[tokio::test]
async fn of_a_long_answer_the_first_16_kib_are_shown() {
    let body = format!("{}{}", "x".repeat(16 * 1024), "y".repeat(1024));
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let target = Target::start([Does::Answer(answer.into())]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "completed").await;
    let answer = &webhook["attempts"][0]["delivery"]["answer"];
    assert_eq!((&answer["body_text"], &answer["body_cut"]), (&json!("x".repeat(16 * 1024)), &json!(true)));
}

#[tokio::test]
async fn of_a_url_that_is_a_secret_only_scheme_host_and_port_are_shown() {
    let body = r"nothing at /T000/s3cret/0123 here, \/T000\/s3cret\/0123?token=s3cret\u0026a=b";
    let moved = format!(
        "HTTP/1.1 307 x\r\nlocation: http://other.example/T000/s3cret/0123\r\nx-from: %2FT000%2Fs3cret%2F0123\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let target = Target::start([Does::Answer(moved.into())]).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, format!("http://{}/T000/s3cret/0123?token=s3cret&a=b\n", target.address()))
        .unwrap();
    let hookbox = Hookbox::with_routes(Sqlite, &route(&format!("file:{}", file.display()), ""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "retrying").await;
    assert_eq!(target.received()[0].line, "POST /T000/s3cret/0123?token=s3cret&a=b HTTP/1.1");

    let shown = format!("http://{}/", target.address());
    let delivery = &webhook["attempts"][0]["delivery"];
    assert_eq!(
        (&delivery["url"], &delivery["answer"]["body_text"]),
        (&json!(shown), &json!("nothing at *** here, ***?***"))
    );
    let error = "the target answered 307 Temporary Redirect, a redirect to http://other.example***;";
    assert!(error_of(&webhook).starts_with(error), "{webhook}");
    let routes = hookbox.rest.get("/v1/routes").await.json();
    assert_eq!(routes["routes"][0]["target"], shown);
    let webhook = format!("/webhooks/{id}");
    for path in ["/v1/routes", &format!("/v1{webhook}"), &webhook, "/routes", "/routes/out", "/settings"] {
        let answer = hookbox.rest.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains("s3cret"), "{path}: {}", answer.text);
    }
}
