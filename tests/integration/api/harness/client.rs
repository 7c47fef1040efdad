//! A client of the REST API, and what it reads of an answer.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// Talks to one server.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    address: SocketAddr,
    client: reqwest::Client,
    token: Option<String>,
}

/// How long an answer may take, to its last byte. Watching is an answer, too.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// An answer that has arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Rest {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let client = crate::support::client::client_builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER_TIME)
            .build()
            .unwrap();
        Self { address, client, token: None }
    }

    /// The same, with a token in each request.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::POST, path)).await
    }

    /// A submission with any body, to be changed before it is sent.
    pub(crate) fn submission(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(Method::POST, "/v1/webhooks").header(CONTENT_TYPE, "application/json").body(body)
    }

    /// Sends any body as a submission.
    pub(crate) async fn submit_body(&self, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(self.submission(body)).await
    }

    /// Submits a webhook whose payload is this JSON text.
    pub(crate) async fn submit(&self, key: &str, event_type: &str, payload: &str) -> Answer {
        self.submit_body(body(key, event_type, payload)).await
    }

    /// Submits a webhook that has to be new; answers its id.
    pub(crate) async fn accept(&self, key: &str) -> String {
        let answer = self.submit(key, "order.created", "{}").await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.text_of("id")
    }

    /// All of a webhook.
    pub(crate) async fn webhook(&self, id: &str) -> Value {
        let answer = self.get(&format!("/v1/webhooks/{id}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}

/// The body of a submission.
pub(crate) fn body(key: &str, event_type: &str, payload: &str) -> String {
    let (key, event_type) = (Value::from(key), Value::from(event_type));
    format!(r#"{{"idempotency_key":{key},"event_type":{event_type},"payload":{payload}}}"#)
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("a body") }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in the answer {} {:?}", self.status, self.text))
    }

    /// A member of the body that is a string.
    pub(crate) fn text_of(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member} in {}", self.text)).to_owned()
    }

    /// A header; empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem document with a status and a reason; answers it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, reason: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["reason"], reason, "{problem}");
        let kind = format!("urn:hookbox:problem:{}", reason.to_lowercase().replace('_', "-"));
        assert_eq!(problem["type"], kind);
        for member in ["title", "detail", "instance"] {
            let text = problem[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{member} of {problem}");
        }
        let trace_id = problem["trace_id"].as_str().unwrap_or_default();
        assert!(trace_id.len() == 32 && trace_id.bytes().all(|b| b.is_ascii_hexdigit()), "{problem}");
        problem
    }

    /// Checks that a field was refused, by its name; answers the problem document.
    #[track_caller]
    pub(crate) fn refused_field(&self, field: &str) -> Value {
        let problem = self.problem(400, "INVALID_FIELD");
        assert_eq!(problem["field"], field, "{problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(&format!("`{field}`")), "the detail names the field: {problem}");
        problem
    }
}
