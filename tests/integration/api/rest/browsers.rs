//! What a page of another server can do through a browser that can reach hookbox: nothing.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::harness::client::{Answer, Rest, body};
use crate::api::harness::{Hookbox, Sqlite};

/// A submission that names `host`.
fn submission(rest: &Rest, key: &str, host: &str) -> RequestBuilder {
    rest.submission(body(key, "order.created", "{}")).header("host", host)
}

fn get(rest: &Rest, path: &str, host: &str) -> RequestBuilder {
    rest.request(Method::GET, path).header("host", host)
}

async fn nothing_is_stored(hookbox: &Hookbox) {
    assert_eq!(hookbox.rest.get("/v1/webhooks").await.json()["webhooks"], json!([]));
}

#[tokio::test]
async fn a_request_for_a_foreign_host_is_refused_with_what_to_set() {
    let hookbox = Hookbox::start(Sqlite);
    for host in
        ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.7:8080", "[2001:db8::1]"]
    {
        for path in ["/", "/v1/webhooks", "/v1/nothing", "/metrics", "/docs/", "/openapi.json"] {
            Answer::of(get(&hookbox.rest, path, host)).await.problem(403, "HOST_NOT_ALLOWED");
        }
        Answer::of(submission(&hookbox.rest, "evt-001", host)).await.problem(403, "HOST_NOT_ALLOWED");
    }
    let told = Answer::of(get(&hookbox.rest, "/", "inbox.internal:8080")).await.text_of("detail");
    assert!(told.contains("HOOKBOX_HOSTS=inbox.internal "), "{told}");
    nothing_is_stored(&hookbox).await;
}

#[tokio::test]
async fn loopback_is_answered_by_name_and_address_with_and_without_a_port() {
    let hookbox = Hookbox::start(Sqlite);
    for (number, host) in
        ["localhost", "localhost:8080", "inbox.localhost", "127.0.0.1", "127.0.0.1:1", "[::1]:8080"]
            .into_iter()
            .enumerate()
    {
        assert_eq!(Answer::of(get(&hookbox.rest, "/v1/webhooks", host)).await.status, 200, "{host}");
        let submitted = Answer::of(submission(&hookbox.rest, &format!("evt-{number}"), host)).await;
        assert_eq!(submitted.status, 202, "{host}: {}", submitted.text);
    }
}

#[tokio::test]
async fn the_hosts_of_the_settings_are_answered() {
    let settings = [
        ("hosts", "inbox.internal, 10.0.0.7:8080,[2001:db8::1]"),
        ("public_url", "https://hooks.example/in"),
    ];
    let hookbox = Hookbox::with(Sqlite, &settings);
    for host in ["inbox.internal", "INBOX.internal.:80", "10.0.0.7", "[2001:db8::1]:8080", "hooks.example"] {
        assert_eq!(Answer::of(get(&hookbox.rest, "/v1/webhooks", host)).await.status, 200, "{host}");
    }
    Answer::of(get(&hookbox.rest, "/", "other.internal")).await.problem(403, "HOST_NOT_ALLOWED");

    let of_proxy = submission(&hookbox.rest, "evt-001", "inbox.internal");
    assert_eq!(Answer::of(of_proxy.header("origin", "https://hooks.example")).await.status, 202);
    let plain = submission(&hookbox.rest, "evt-002", "inbox.internal");
    let plain = Answer::of(plain.header("origin", "http://hooks.example")).await;
    plain.problem(403, "ORIGIN_NOT_ALLOWED");
}

#[tokio::test]
async fn any_host_is_answered_if_the_settings_say_so_but_no_foreign_page() {
    let hookbox = Hookbox::with(Sqlite, &[("allow_anonymous", "true")]);
    assert_eq!(Answer::of(get(&hookbox.rest, "/v1/webhooks", "inbox.internal")).await.status, 200);
    let foreign =
        submission(&hookbox.rest, "evt-001", "inbox.internal").header("origin", "http://evil.example");
    Answer::of(foreign).await.problem(403, "ORIGIN_NOT_ALLOWED");
    nothing_is_stored(&hookbox).await;
}

#[tokio::test]
async fn probes_are_answered_for_any_host() {
    let hookbox = Hookbox::start(Sqlite);
    for path in ["/healthz", "/readyz"] {
        for host in ["evil.example", "hookbox:8080", "10.0.0.7"] {
            assert_eq!(Answer::of(get(&hookbox.rest, path, host)).await.status, 200, "{path} of {host}");
        }
    }
}

#[tokio::test]
async fn only_http_1_0_may_leave_out_the_host() {
    let hookbox = Hookbox::start(Sqlite);
    for (head, expected) in [
        ("GET / HTTP/1.0\r\n", "200"),
        ("GET / HTTP/1.1\r\nConnection: close\r\n", "400"),
        ("GET / HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\nHost: localhost\r\n", "400"),
        ("GET / HTTP/1.1\r\nConnection: close\r\nHost: a b\r\n", "400"),
        ("GET http://localhost/ HTTP/1.1\r\nConnection: close\r\nHost: evil.example\r\n", "200"),
        ("GET http://evil.example/ HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n", "403"),
    ] {
        let mut stream = TcpStream::connect(hookbox.rest.address()).await.unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{head}: {answer}");
        assert_eq!(answer.contains("INVALID_HOST"), expected == "400", "{head}: {answer}");
    }
}

#[tokio::test]
async fn a_page_of_another_server_can_neither_submit_nor_cancel() {
    let hookbox = Hookbox::start(Sqlite);
    assert_eq!(hookbox.rest.post("/v1/pause").await.status, 200);
    let id = hookbox.rest.accept("evt-001").await;
    let own = format!("http://{}", hookbox.rest.address());
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "http://localhost:3000"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
    ] {
        // As a form of a page sends it, without asking first.
        for path in [format!("/v1/webhooks/{id}/cancel"), "/v1/resume".to_owned(), "/v1/webhooks".to_owned()]
        {
            let request = hookbox.rest.request(Method::POST, &path).header("content-type", "text/plain");
            let request = request.body(body("evt-002", "order.created", "{}")).header(name, value);
            Answer::of(request).await.problem(403, "ORIGIN_NOT_ALLOWED");
        }
        let request = hookbox.rest.submission(body("evt-002", "order.created", "{}")).header(name, value);
        Answer::of(request).await.problem(403, "ORIGIN_NOT_ALLOWED");
    }
    let page = hookbox.rest.get("/v1/webhooks").await.json();
    assert_eq!(page["webhooks"].as_array().unwrap().len(), 1, "{page}");
    assert_eq!(page["webhooks"][0]["status"], "pending");
    assert_eq!(hookbox.rest.get("/v1/pauses").await.json()["pauses"].as_array().unwrap().len(), 1);

    let cancel = hookbox.rest.request(Method::POST, &format!("/v1/webhooks/{id}/cancel"));
    assert_eq!(Answer::of(cancel.header("origin", own)).await.status, 200);
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "cancelled");
}

#[tokio::test]
async fn pages_of_this_server_and_programs_can_submit() {
    let hookbox = Hookbox::start(Sqlite);
    let address = hookbox.rest.address();
    for (number, headers) in [
        &[("origin", format!("http://{address}"))][..],
        &[],
        &[("origin", format!("http://{address}")), ("sec-fetch-site", "same-origin".to_owned())],
        &[("sec-fetch-site", "same-origin".to_owned())],
    ]
    .into_iter()
    .enumerate()
    {
        let request = hookbox.rest.submission(body(&format!("evt-{number}"), "order.created", "{}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        assert_eq!(Answer::of(request).await.status, 202, "{headers:?}");
    }
}

#[tokio::test]
async fn a_page_of_another_server_cannot_read_an_answer_either() {
    let hookbox = Hookbox::start(Sqlite);
    // A browser gives an answer to a foreign page only if the answer names the page in such a header.
    for method in [Method::GET, Method::OPTIONS] {
        let request = hookbox.rest.request(method.clone(), "/v1/webhooks");
        let answer = Answer::of(request.header("origin", "http://evil.example")).await;
        assert!(
            !answer.headers.contains_key("access-control-allow-origin"),
            "{method}: {:?}",
            answer.headers
        );
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_to_neither_guess_nor_frame_nor_load() {
    let hookbox = Hookbox::start(Sqlite);
    let mut answers = Vec::new();
    for path in
        ["/", "/v1/webhooks", "/v1/nothing", "/v1/webhooks/7", "/metrics", "/healthz", "/openapi.json"]
    {
        answers.push((path, hookbox.rest.get(path).await));
    }
    answers.push(("405", hookbox.rest.post("/").await));
    answers.push(("403", Answer::of(get(&hookbox.rest, "/", "evil.example")).await));
    answers.push(("202", hookbox.rest.submit("evt-001", "order.created", "{}").await));
    for (what, answer) in &answers {
        has_headers(what, answer);
        let policy = answer.header("content-security-policy");
        assert_eq!(policy, "default-src 'none'; frame-ancestors 'none'", "{what}");
    }
    for path in ["/docs", "/docs/", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/nothing"] {
        let answer = hookbox.rest.get(path).await;
        has_headers(path, &answer);
        let policy = answer.header("content-security-policy");
        for directive in ["default-src 'none'; script-src 'self'; ", "frame-ancestors 'none'"] {
            assert!(policy.contains(directive), "{path}: {policy}");
        }
    }
}

#[track_caller]
fn has_headers(what: &str, answer: &Answer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(answer.header(name), value, "{name} of {what}");
    }
}

#[tokio::test]
async fn the_documentation_page_works_within_its_policy() {
    let hookbox = Hookbox::start(Sqlite);
    let page = hookbox.rest.get("/docs/").await.text;
    // The policy lets it run scripts of this server, and none that are written into the page.
    for script in page.split("<script").skip(1) {
        let (attributes, text) = script.split_once('>').unwrap();
        let text = text.split("</script>").next().unwrap();
        assert!(attributes.contains("src=\"./") && text.trim().is_empty(), "{script}");
    }
    assert!(!page.contains(" on") && !page.contains("<base"), "{page}");
}
