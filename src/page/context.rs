//! What each view gets of a request: on whose behalf it acts, where it is, and how it answers.

mod answers;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{Markup, html};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::document::document;
use super::login::{away, to_login};
use super::session::{CookieScope, Session};
use super::{OVERVIEW, Shared, parts};
use crate::access::{Caller, Client, Need, Role};
use crate::connections::{Arrival, Exchange, Turn};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::host::{Host, Scheme, WebOrigin};
use crate::domain::trace::Traceparent;
use crate::service::Service;

/// The name of the field of a form that has its token.
pub(super) const FORM_TOKEN: &str = "form_token";

/// The parameter with the text of a notice, and the one with its seal.
const NOTICE: [&str; 2] = ["notice", "seal"];

/// The views in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nav {
    /// What is wrong, numbers and charts.
    Overview,
    /// All webhooks.
    Webhooks,
    /// Webhooks with a dead letter, in groups.
    DeadLetters,
    /// The routes.
    Routes,
    /// The sources.
    Sources,
    /// The replays.
    Replays,
    /// What operators did.
    Actions,
    /// The settings in force.
    Settings,
}

/// A request that was let in.
#[derive(Debug)]
pub(super) struct Context {
    /// The use cases, on behalf of the caller.
    pub(super) service: Service,
    /// The caller of the request.
    pub(super) caller: Arc<Caller>,
    /// The address of the client, or of the proxy in front of hookbox.
    pub(super) client: Option<IpAddr>,
    /// The time of the request.
    pub(super) now: Timestamp,
    /// What the views share.
    pub(super) shared: Shared,
    /// What forms and notices are sealed with.
    pub(super) session: Session,
    /// For the cookie of the login.
    pub(super) cookie_scope: CookieScope,
    /// The origin that the request names; none if it names no host.
    origin: Option<WebOrigin>,
    /// The path of the request without `base_path`.
    at: String,
    /// The parameters of the request, without those of a notice.
    parameters: Vec<(String, String)>,
    /// What the last action did, to be shown once.
    notice: Option<String>,
    trace_id: String,
    exchange: Option<Exchange>,
    /// The memory of the form of the request; none if it has none.
    _form: Option<Arrival>,
}

/// Why a request gets no page, or another one: the answer.
#[derive(Debug)]
pub(super) struct Turned(Box<Response>);

impl From<Response> for Turned {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl FromRequestParts<Shared> for Context {
    type Rejection = Turned;

    /// Lets callers with the role `Read` in, sends callers without a token to the login, and refuses others.
    async fn from_request_parts(head: &mut Parts, shared: &Shared) -> std::result::Result<Self, Turned> {
        Self::admit(head, shared)
    }
}

impl Context {
    fn admit(head: &Parts, shared: &Shared) -> std::result::Result<Self, Turned> {
        let session = reader(head, shared)?;
        let query = head.uri.query().unwrap_or_default();
        let all = form_urlencoded::parse(query.as_bytes()).into_owned();
        let (of_notice, parameters): (Vec<_>, Vec<_>) =
            all.partition(|(name, _)| NOTICE.contains(&name.as_str()));
        let notice = match of_notice.as_slice() {
            [(_, notice), (_, seal)] => session.is_sealed(notice, seal).then(|| notice.clone()),
            _ => None,
        };
        let traceparent = head.extensions.get::<Traceparent>();
        let trace_id = traceparent.map(|traceparent| traceparent.trace_id().to_owned());
        let context = Self {
            service: shared.pages.service.on_behalf_of(Arc::clone(&session.caller)),
            caller: Arc::clone(&session.caller),
            client: head.extensions.get::<Client>().map(|Client(address)| *address),
            now: shared.pages.clock.now(),
            shared: Arc::clone(shared),
            session,
            cookie_scope: CookieScope::of(head, shared),
            origin: origin(head),
            at: inner_path(head.uri.path(), &shared.pages.base_path).to_owned(),
            parameters,
            notice,
            trace_id: trace_id.unwrap_or_default(),
            exchange: head.extensions.get::<Exchange>().cloned(),
            _form: None,
        };
        // A filter would look for another text than the one that was meant.
        if percent_decode_str(query).decode_utf8().is_err() {
            let detail =
                "the address of this page is wrong: its query is not valid UTF-8; encode it as UTF-8";
            return Err(context.failed(&Error::new(Reason::InvalidField, detail)).into());
        }
        Ok(context)
    }

    /// Keeps the memory of the form of the request reserved until the request is answered.
    pub(super) fn keep(&mut self, form: Arrival) {
        self._form = Some(form);
    }

    /// Waits until an answer with a payload may be built, for a form that has arrived. Put the turn among the extensions
    /// of the answer, in an `Arc`. Errors: `StoreUnavailable` if there is no memory for answers.
    pub(super) async fn turn(&self) -> Result<Turn> {
        match &self.exchange {
            Some(exchange) => exchange.turn().await,
            None => Ok(Turn::default()),
        }
    }

    /// The whole document of a view that has no parameters: `body` is what `main` has.
    pub(super) fn page(&self, title: &str, at: Nav, body: Markup) -> Response {
        self.page_of(&[], title, at, body)
    }

    /// The whole document of a view that has these parameters. If the address has others, it says that they are ignored.
    pub(super) fn page_of(&self, parameters: &[&str], title: &str, at: Nav, body: Markup) -> Response {
        let body = html! { (parts::ignored(self, parameters)) (body) };
        self.page_with(StatusCode::OK, title, Some(at), body)
    }

    /// A document with any status. It says nothing of parameters.
    pub(super) fn page_with(
        &self,
        status: StatusCode,
        title: &str,
        at: Option<Nav>,
        body: Markup,
    ) -> Response {
        let document = document(self, title, at, self.notice.as_deref(), &body);
        html_response(status, document)
    }

    /// A path as the browser has to name it: with `base_path`. Every `href`, `action` and `src` goes through it.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.shared.pages.base_path)
    }

    /// The path of this view with its parameters, without `base_path`: where a form goes back to.
    pub(super) fn here(&self) -> String {
        let parameters = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        with_query(&self.at, parameters)
    }

    /// This view with another value of a parameter, or without it: for the links of pagers and filters. Goes through
    /// [`path`](Self::path) already.
    pub(super) fn here_with(&self, name: &str, value: Option<&str>) -> String {
        let kept = self.parameters.iter().filter(|(known, _)| known != name);
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        self.path(&with_query(&self.at, kept.chain(value.map(|value| (name, value)))))
    }

    /// The URL at which clients reach REST, without a slash at its end: that of the settings, or the one that the request
    /// names. None if it names no host.
    pub(super) fn server(&self) -> Option<String> {
        let public_url = self.shared.pages.public_url.as_ref().map(ToString::to_string);
        public_url.or_else(|| self.origin.as_ref().map(ToString::to_string))
    }

    /// The parameters of the request, in their order.
    pub(super) fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// The parameters of the request as a type whose members are optional. A parameter that is given twice, or cannot be
    /// read, is an error. Errors: `InvalidField`.
    pub(super) fn query<T: DeserializeOwned>(&self) -> Result<T> {
        let parameters = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let uri: Uri = with_query("/", parameters).parse().map_err(Error::internal)?;
        Query::try_from_uri(&uri).map(|Query(parameters)| parameters).map_err(|rejection| {
            let text = rejection.body_text();
            Error::new(Reason::InvalidField, format!("the address of this page is wrong: {text}"))
        })
    }

    /// The hidden field that a form needs to be taken.
    pub(super) fn form_token(&self) -> Markup {
        html! { input type="hidden" name=(FORM_TOKEN) value=(self.session.form_token()); }
    }

    /// Whether the caller may change something. Show no action otherwise. The server refuses them besides.
    pub(super) fn may_operate(&self) -> bool {
        self.caller.has(Role::Operate)
    }
}

/// The session of a caller with the role `Read`. A token that is refused counts as a failed one: call this once for each
/// request that is not let in.
pub(super) fn reader(head: &Parts, shared: &Shared) -> std::result::Result<Session, Turned> {
    Session::of(head, shared, Need::Role(Role::Read)).map_err(|error| match error.reason() {
        Reason::Unauthenticated => to_login(head, shared),
        _ => away(head, shared, &error),
    })
}

/// The origin that a request names.
fn origin(head: &Parts) -> Option<WebOrigin> {
    let named = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(header::HOST)?.to_str().ok()?,
    };
    let (host, port) = Host::parse(named)?;
    let scheme = head.extensions.get::<Scheme>().copied().unwrap_or(Scheme::Http);
    Some(WebOrigin::new(scheme, host, port))
}

/// A path with parameters added to it.
pub(super) fn with_query<'a>(path: &str, parameters: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    match (query.is_empty(), path.contains('?')) {
        (true, _) => path.to_owned(),
        (false, false) => format!("{path}?{query}"),
        (false, true) => format!("{path}&{query}"),
    }
}

/// The path of a request without `base_path`. The overview is `/`.
pub(super) fn inner_path<'a>(path: &'a str, base_path: &str) -> &'a str {
    let inner = path.strip_prefix(base_path).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match inner.unwrap_or(path) {
        "" | OVERVIEW => "/",
        inner => inner,
    }
}

/// An answer with a document.
pub(super) fn html_response(status: StatusCode, document: Markup) -> Response {
    let content_type = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(header::CONTENT_TYPE, content_type)], document.into_string()).into_response()
}

/// An answer that sends the browser elsewhere, by GET.
pub(super) fn see_other(path: &str) -> Response {
    match HeaderValue::try_from(path) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        // Paths are made of ASCII.
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}
