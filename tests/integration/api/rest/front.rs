//! `GET /`: the first page for a user who has only the address.

use reqwest::Method;

use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Sqlite};

#[tokio::test]
async fn the_root_names_the_version_and_links_to_what_is_served() {
    let hookbox = Hookbox::start(Sqlite);
    let answer = hookbox.rest.get("/").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let front = answer.json();
    assert_eq!(front["name"], "hookbox");
    assert_eq!(front["version"], env!("CARGO_PKG_VERSION"));
    let links: Vec<_> =
        front["links"].as_object().unwrap().values().map(|link| link.as_str().unwrap()).collect();
    for path in ["/docs", "/openapi.json", "/v1/webhooks", "/healthz", "/readyz", "/metrics"] {
        assert!(links.contains(&path), "{path} in {links:?}");
    }
    for link in links {
        let status = hookbox.rest.get(link).await.status;
        assert!([200, 303].contains(&status), "{link}: {status}");
    }
}

#[tokio::test]
async fn head_of_the_root_has_the_same_head_and_no_body() {
    let hookbox = Hookbox::start(Sqlite);
    let head = Answer::of(hookbox.rest.request(Method::HEAD, "/")).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-type"), "application/json");
    let post = hookbox.rest.post("/").await;
    post.problem(405, "METHOD_NOT_ALLOWED");
    assert!(post.header("allow").contains("HEAD"), "{:?}", post.headers);
}
