//! Talks to a running hookbox over REST and its streams, for the commands. Knows neither the service nor a store: what
//! it knows of hookbox is the contract.

mod connect;
mod error;
mod events;
mod follow;
mod journal;
mod place;
mod target;
mod webhook;

use std::borrow::Cow;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use url::Url;

pub use self::connect::{Connection, Identity, SetupError, bearer};
pub use self::error::ClientError;
pub use self::events::{Event, EventReader, Malformed};
pub use self::follow::{Arrived, Filter, Following, Happened};
pub use self::journal::{Journal, JournalError};
pub use self::place::Place;
pub use self::target::{Delivered, Target};
pub use self::webhook::{Content, Shown, Webhook, content_of};

/// How long an answer may take, to its last byte. The answer of a stream begins in that time.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// The largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 512 * 1024 * 1024;

/// How long a stream may be silent. hookbox sends something every 15 seconds.
const SILENCE_TIME: Duration = Duration::from_secs(45);

/// What the status 431 means.
const TOO_MANY_HEADERS: &str = "the request has too many headers, or they are too long; send at most 100, of together 64 \
                                KiB, or over https of 16 KiB";

/// The media type of problem documents.
const PROBLEM: &str = "application/problem+json";

/// A hookbox, and how it is reached.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    http: reqwest::Client,
    headers: HeaderMap,
    answer_time: Duration,
    /// What is wrong with the certificates of authorities that it needs, if something is.
    problem_of_authorities: Option<&'static str>,
}

/// What a request is made of, besides its method.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    /// The parts of the path, below that of the URL of hookbox. They are encoded.
    pub path: &'a [&'a str],
    /// Names and values of the query. They are encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Other headers.
    pub headers: HeaderMap,
    /// The body; none to send none.
    pub body: Option<Vec<u8>>,
}

/// An answer that has arrived whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The media type; empty if there is none.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as a text. Invalid UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// The members of a problem document.
#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    reason: String,
    detail: String,
}

impl Client {
    /// A client of the hookbox at a URL: `http://` or `https://`, with or without a path.
    pub fn new(connection: Connection) -> Result<Self, SetupError> {
        let (http, headers) = connection.client()?;
        let answer_time = connection.answer_time.unwrap_or(ANSWER_TIME);
        let problem_of_authorities = connection.problem_of_authorities();
        Ok(Self { base: connection.url, http, headers, answer_time, problem_of_authorities })
    }

    /// The URL of hookbox, for people.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The URL of a call.
    pub fn url_of(&self, call: &Call<'_>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        url
    }

    /// Sends a GET. Errors: there is no answer, or it is not a success.
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<String, ClientError> {
        self.ask(Method::GET, Call { path, query, ..Call::default() }).await
    }

    /// Sends a GET, and returns the exact bytes of the answer. Errors: there is no answer, or it is not a success.
    pub async fn bytes(&self, path: &[&str]) -> Result<Vec<u8>, ClientError> {
        Ok(self.success(Method::GET, Call { path, ..Call::default() }).await?.body)
    }

    /// Sends a POST without a body. Errors: there is no answer, or it is not a success.
    pub async fn post(&self, path: &[&str], query: &[(&str, &str)]) -> Result<String, ClientError> {
        self.ask(Method::POST, Call { path, query, ..Call::default() }).await
    }

    /// Sends a request, and returns the body of the answer as a text. Errors: there is no answer, or it is not a success.
    pub async fn ask(&self, method: Method, call: Call<'_>) -> Result<String, ClientError> {
        let body = self.success(method, call).await?.body;
        Ok(String::from_utf8(body)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Sends a request, and returns the answer whatever its status. Errors: there is no answer.
    pub async fn send(&self, method: Method, call: Call<'_>) -> Result<Answer, ClientError> {
        let request = self.request(method, call)?.timeout(self.answer_time);
        self.whole(request.send().await.map_err(|error| self.unreachable(&error))?).await
    }

    /// Opens a stream. Errors: there is no answer, or it is not a success.
    pub async fn open(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response, ClientError> {
        let asking = self.request(Method::GET, Call { path, query, ..Call::default() })?.send();
        let response = tokio::time::timeout(self.answer_time, asking).await;
        let response = response.map_err(|_| self.unreachable_because("it does not answer"))?;
        let response = response.map_err(|error| self.unreachable(&error))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(refusal(&self.whole(response).await?))
    }

    /// The next bytes of a stream; none at its end. Errors: the connection has failed, or is silent for too long.
    pub async fn more(&self, stream: &mut Response) -> Result<Option<bytes::Bytes>, ClientError> {
        let more = tokio::time::timeout(SILENCE_TIME, stream.chunk()).await;
        let more = more.map_err(|_| self.unreachable_because("the connection is silent"))?;
        more.map_err(|error| self.unreachable(&error))
    }

    /// Sends a request, and returns the answer. Errors: there is no answer, or it is not a success.
    async fn success(&self, method: Method, call: Call<'_>) -> Result<Answer, ClientError> {
        let answer = self.send(method, call).await?;
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(refusal(&answer)) }
    }

    fn request(&self, method: Method, call: Call<'_>) -> Result<RequestBuilder, ClientError> {
        if let Some(part) = call.path.iter().find(|part| is_no_name(part)) {
            return Err(ClientError::NoName { name: (*part).to_owned() });
        }
        let is_empty = method == Method::POST && call.body.as_ref().is_none_or(Vec::is_empty);
        let mut request = self.http.request(method, self.url_of(&call)).headers(self.headers.clone());
        request = request.headers(call.headers);
        if is_empty {
            // Some servers wait for a body, or refuse, if it is left out.
            request = request.header(CONTENT_LENGTH, "0");
        }
        Ok(match call.body {
            Some(body) => request.body(body),
            None => request,
        })
    }

    async fn whole(&self, mut response: Response) -> Result<Answer, ClientError> {
        let status = response.status().as_u16();
        let text_of = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type = text_of(CONTENT_TYPE).unwrap_or_default().to_owned();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(self.unexpected(format!("the answer has more than {ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, content_type, body })
    }

    /// The error for an answer that hookbox does not give.
    pub fn unexpected(&self, cause: impl Into<String>) -> ClientError {
        ClientError::Unexpected { url: self.url().to_owned(), cause: cause.into() }
    }

    /// The error for a stream that has ended before its time.
    pub fn closed(&self) -> ClientError {
        self.unreachable_because("it has closed the connection")
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let (url, cause) = (self.url().to_owned(), error::cause_of(error, self.problem_of_authorities));
        let (advice, may_have_come) = (error::advice_for(error, &self.base), !error.is_connect());
        ClientError::Unreachable { url, cause, advice, may_have_come }
    }

    fn unreachable_because(&self, cause: &str) -> ClientError {
        let (url, cause) = (self.url().to_owned(), cause.to_owned());
        ClientError::Unreachable { url, cause, advice: error::IS_IT_RUNNING, may_have_come: true }
    }
}

/// Whether a part of a path names nothing: a URL leaves out `.` and `..`, and the call would be another one. Before that,
/// it loses tabs and line breaks (WHATWG URL, section 4.4).
fn is_no_name(part: &str) -> bool {
    matches!(part.replace(['\t', '\n', '\r'], "").as_str(), "" | "." | "..")
}

/// The error of an answer that is not a success.
pub fn refusal(answer: &Answer) -> ClientError {
    let status = answer.status;
    let problem = serde_json::from_slice::<Problem>(&answer.body);
    let is_problem = answer.content_type.starts_with(PROBLEM);
    match problem {
        Ok(Problem { reason, detail }) if is_problem => ClientError::Refused { status, reason, detail },
        _ => {
            let shown = answer.text().trim().chars().take(error::SHOWN_CHARS).collect::<String>();
            let text = match status {
                // The answer of hookbox has no body.
                431 if shown.is_empty() => format!(": {TOO_MANY_HEADERS}"),
                _ if shown.is_empty() => shown,
                _ => format!(": {shown}"),
            };
            let detail = format!("the answer has the status {status}{text}");
            ClientError::Refused { status, reason: String::new(), detail }
        }
    }
}
