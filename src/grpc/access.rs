//! Lets a call in by its bearer token, or refuses it.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response, StatusCode};
use tower::{Layer, Service};

use super::Api;
use super::answer::{count, counted_method};
use super::status::{status, trace_id_of};
use crate::access::{Caller, need_of_call};
use crate::connections::Connection;
use crate::domain::error::Result;
use crate::domain::trace::Traceparent;

/// Makes [`Guard`]s of a service.
#[derive(Clone, Debug)]
pub(super) struct AccessLayer(pub(super) Api);

impl<S> Layer<S> for AccessLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, api: self.0.clone() }
    }
}

/// Refuses calls without the token that they need. Puts the caller into the extensions of the others.
#[derive(Clone, Debug)]
pub(super) struct Guard<S> {
    inner: S,
    api: Api,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<std::result::Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // A page of another server cannot send this type without asking first. The protocol wants 415 for any other.
        let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        if !request.headers().get("content-type").is_some_and(is_grpc) {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Either::Right(ready(Ok(refused)));
        }
        match admit(&self.api, &request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(error) => {
                let status = status(&error, &trace_id_of(traceparent(&request).as_ref()));
                if let Some(method) = counted_method(request.uri().path()) {
                    count(&self.api.service, method, status.code());
                }
                Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

fn admit(api: &Api, request: &Request<Body>) -> Result<Arc<Caller>> {
    let authorization = request.headers().get_all("authorization").iter().map(HeaderValue::as_bytes);
    let client = request.extensions().get::<Connection>().map(Connection::client);
    api.service.access().admit(need_of_call(request.uri().path()), authorization, client)
}

/// The caller's trace, from the header `traceparent`; none if it is absent or not valid.
pub(super) fn traceparent(request: &Request<Body>) -> Option<Traceparent> {
    Traceparent::parse(request.headers().get("traceparent")?.to_str().ok()?)
}

impl Api {
    /// This, on behalf of the caller of a request.
    pub(super) fn on_behalf_of_caller<T>(&self, request: &tonic::Request<T>) -> Self {
        let caller = request.extensions().get::<Arc<Caller>>().cloned().unwrap_or_else(Caller::unknown);
        Self { service: self.service.on_behalf_of(caller), ..self.clone() }
    }
}
