//! Forms of the page that do not arrive, and answers to forms that are not taken.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::closed_window::ClosedWindow;
use super::{FORM, SOON, connect};
use crate::support::client::{client, eventually, get, within};
use crate::support::server::{Place, Server};

/// Forms that do not arrive.
const FORMS: usize = 40;

/// How many answers that may be large a connection gets before it has taken one.
const ANSWERS: usize = 16;

const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = { header = "X-Id" }
    event_type = { text = "order.paid" }
    sensitive = true
"#;

/// Begins a form of which nothing but the first byte comes, once the server reads it.
async fn begin(server: &Server, path: &str) -> TcpStream {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut stream = connect(server.http_address(), head.as_bytes()).await;
    let mut answer = [0; 25];
    let goes_on = within(SOON, stream.read_exact(&mut answer)).await;
    goes_on.expect("in time").expect("answers");
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"r").await.expect("sends");
    stream
}

#[tokio::test]
async fn forms_that_do_not_arrive_keep_no_other_form_out_and_are_refused() {
    let server = Place::new(&["--simulate-min=0s", "--simulate-max=0s"]).start();
    let mut left = Vec::new();
    for number in 0..FORMS {
        left.push(begin(&server, if number % 2 == 0 { "/pause" } else { "/login" }).await);
    }
    let form = client().post(server.url("/pause")).header(CONTENT_TYPE, FORM).body("reason=beside");
    let answer = within(SOON, form.send()).await.expect("in time").expect("answers");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "it is read, and lacks the token of forms");
    for stream in left.iter_mut().take(2) {
        let mut answer = [0; 12];
        let refused = within(SOON * 3, stream.read_exact(&mut answer)).await;
        refused.expect("in time").expect("answers");
        assert_eq!(&answer, b"HTTP/1.1 400");
    }
}

/// Sends a webhook of the source `shop`; answers the path of its view.
async fn accept(client: &Client, server: &Server, key: &str) -> String {
    let request = client.post(server.url("/v1/sources/shop/webhooks")).header("x-id", key);
    let request = request.header("x-token", "the-token-of-the-shop").json(&Value::from("secret"));
    let answer = request.send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let accepted: Value = answer.json().await.expect("is JSON");
    format!("/webhooks/{}", accepted["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_hidden_payload_is_recorded_as_shown_and_then_not_read_while_earlier_answers_are_not_taken() {
    let place = Place::new(&["--simulate-min=0s", "--simulate-max=0s"]);
    std::fs::write(place.file("").with_file_name("hookbox.toml"), SHOP).expect("is written");
    let server = place.start();
    let client = client();
    let (first, second) = (accept(&client, &server, "evt-1").await, accept(&client, &server, "evt-2").await);
    let page = client.get(server.url(&first)).send().await.expect("answers");
    let page = page.text().await.expect("is text");
    let (_, token) = page.split_once("name=\"form_token\" value=\"").expect("a form");
    let form = format!("form_token={}", token.split('"').next().expect("a token"));

    let mut stranger = ClosedWindow::connect(server.http_address()).await;
    for _ in 0..ANSWERS {
        stranger.post(&format!("{first}/body"), &form).await;
    }
    stranger.answered(ANSWERS).await;
    stranger.post(&format!("{second}/body"), &form).await;
    let id = second.trim_start_matches("/webhooks/");
    eventually("the showing is recorded", async || {
        let answer = get(&client, &server.url(&format!("/v1/actions?webhook_id={id}"))).await;
        (answer["actions"][0]["action"] == "show_payload").then_some(())
    })
    .await;
    stranger.get("/healthz").await;
    assert_eq!(stranger.next_answer().await, stranger.last_request(), "the other one waits");
}
