//! Calls that take their parameters in the query, and no body.

use reqwest::Method;
use serde_json::json;

use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Sqlite};

/// The paths of the calls by POST that are documented without a body, with names that nothing has.
async fn paths(rest: &Rest) -> Vec<String> {
    let document = rest.get("/openapi.json").await.json();
    let all = document["paths"].as_object().unwrap().iter();
    let taking_none =
        all.filter(|(_, item)| item["post"].is_object() && item["post"]["requestBody"].is_null());
    let id = "01934c3e-7b00-7000-8000-000000000000";
    let paths = taking_none.map(|(path, _)| path.replace("{id}", id).replace("{number}", "1"));
    paths.map(|path| path.replace("{route}", "none").replace("{from}", "none")).collect()
}

async fn post(rest: &Rest, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = rest.request(Method::POST, path).header("content-type", "application/json");
    Answer::of(request.body(body)).await
}

#[tokio::test]
async fn a_body_is_refused_at_every_call_that_takes_none() {
    let hookbox = Hookbox::start(Sqlite);
    let paths = paths(&hookbox.rest).await;
    assert!(paths.len() >= 14, "{paths:?}");
    let long = format!("{{{}}}", " ".repeat(100_000));
    for path in paths {
        for body in
            [r#"{"route":"orders","reason":"the shop moves"}"#, "route=orders", "[]", "null", "{", &long]
        {
            let problem = post(&hookbox.rest, &path, body.to_owned()).await.problem(400, "INVALID_FIELD");
            let detail = problem["detail"].as_str().unwrap();
            assert!(
                detail.starts_with("this call takes no body; nothing was done. Send "),
                "{path}: {detail}"
            );
            assert!(detail.contains("`reason`"), "{path}: {detail}");
        }
    }
}

#[tokio::test]
async fn a_call_with_a_refused_body_does_nothing() {
    let hookbox = Hookbox::start(Sqlite);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let body = r#"{"route":"other"}"#;
    let by_id = format!("/v1/webhooks/{id}/replay");
    for path in ["/v1/pause", &by_id, "/v1/replay?idempotency_key=evt-001"] {
        let problem = post(&hookbox.rest, path, body).await.problem(400, "INVALID_FIELD");
        assert!(problem["detail"].as_str().unwrap().contains("`route`"), "{problem}");
    }
    assert_eq!(hookbox.rest.get("/v1/pauses").await.json(), json!({ "pauses": [] }));
    assert_eq!(hookbox.rest.webhook(&id).await["jobs"][0]["run"], 1);
    assert_eq!(hookbox.rest.get("/v1/actions").await.json()["actions"], json!([]));
}

#[tokio::test]
async fn an_empty_body_or_object_is_no_body() {
    let hookbox = Hookbox::start(Sqlite);
    for body in ["", " ", "{}", " { } \n"] {
        let paused = post(&hookbox.rest, "/v1/pause?reason=the%20shop%20moves", body).await;
        assert_eq!((paused.status, paused.text_of("reason").as_str()), (200, "the shop moves"), "{body:?}");
    }
}
