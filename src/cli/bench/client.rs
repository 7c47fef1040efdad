//! A small HTTP/1.1 client. It does little work of its own, so that it measures the server and not itself.

use std::str::FromStr;

use axum::http::Uri;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::cli::Failure;
use crate::client::{Answer, bearer, refusal};
use crate::domain::error::causes;
use crate::domain::secret::Secret;

/// The address of a hookbox, from `http://<host>:<port>`; the default port is 80. The error continues "it ...".
#[derive(Clone, Debug)]
pub(super) struct Target {
    authority: String,
    /// The token of the requests.
    pub(super) token: Option<Secret>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let wanted = || "must be http://<host>:<port>, without a path".to_owned();
        let uri = url.parse::<Uri>().map_err(|_| wanted())?;
        if uri.scheme_str() == Some("https") {
            return Err("must begin with http://, because bench measures hookbox itself, and speaks no TLS; give the \
                        address of a hookbox without TLS"
                .to_owned());
        }
        let is_plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
        let authority = uri.authority().filter(|_| is_plain).ok_or_else(wanted)?;
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: format!("{}:{port}", authority.host()), token: None })
    }
}

/// The numbers of jobs from `GET /v1/stats`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) completed: u64,
    pub(super) unfinished: u64,
}

#[derive(Deserialize)]
struct Stats {
    counts: StatusCounts,
}

#[derive(Deserialize)]
struct StatusCounts {
    pending: u64,
    processing: u64,
    retrying: u64,
    completed: u64,
}

impl Target {
    /// How many jobs are completed and unfinished.
    pub(super) async fn counts(&self) -> Result<Counts, Failure> {
        let mut connection = Connection::open(self).await?;
        let request = Request::get("/v1/stats").header("host", &self.authority).body(Full::default());
        let (status, body) = connection.send(request.map_err(Box::new)?).await?;
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            // What hookbox says of the token, if it is hookbox.
            let content_type = "application/problem+json".to_owned();
            let answer = Answer { status: status.as_u16(), content_type, body: body.into() };
            return Err(refusal(&answer).into());
        }
        if status != StatusCode::OK {
            return Err(Failure::Other(
                format!(
                    "GET http://{}/v1/stats answered {status}; is hookbox running there?",
                    self.authority
                )
                .into(),
            ));
        }
        let StatusCounts { pending, processing, retrying, completed } =
            serde_json::from_slice::<Stats>(&body).map_err(Box::new)?.counts;
        Ok(Counts { completed, unfinished: pending + processing + retrying })
    }
}

/// A connection that stays open for many requests.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    authorization: Option<HeaderValue>,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Failure> {
        let stream = TcpStream::connect(&target.authority).await.map_err(|error| {
            Failure::Other(
                format!(
                    "cannot connect to {}: {error}; start hookbox with `hookbox serve`",
                    target.authority
                )
                .into(),
            )
        })?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Box::new)?;
        // The task ends with the sender. An error of the connection is reported by the request that fails.
        tokio::spawn(connection);
        let authorization = target.token.as_ref().map(bearer).transpose()?;
        Ok(Self { sender, authority: target.authority.clone(), authorization })
    }

    /// Submits a webhook, reads the whole response, and returns its status.
    pub(super) async fn submit(&mut self, body: String) -> Result<StatusCode, Failure> {
        let request = Request::post("/v1/webhooks")
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(Box::new)?;
        Ok(self.send(request).await?.0)
    }

    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Failure> {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let (method, path) = (request.method().clone(), request.uri().clone());
        let lost = |error: hyper::Error| {
            let (authority, why) = (&self.authority, causes(&error));
            let text = format!(
                "the answer to {method} http://{authority}{path} is lost: {why}; look at the log of hookbox there"
            );
            Failure::Other(text.into())
        };
        let answer = self.sender.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(lost)?.to_bytes();
        Ok((status, body))
    }
}
