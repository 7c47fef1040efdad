//! The page: HTML for the browsers of operators, rendered on the server. Knows the service, and neither the APIs nor the
//! settings nor the inside of a store.
//!
//! A file is a view. It lists what it serves in [`Paths`]. Its handlers take a [`Context`], which lets the request in and
//! makes the document of the answer, or an [`Action`](action::Action), which besides checks the form. Everything works
//! without JavaScript; `assets/page.js` only makes it live, and `assets/search.js` goes on with searches.

mod action;
mod actions;
mod assets;
mod because;
mod chart;
mod context;
mod dead_letters;
mod document;
mod filter;
mod live;
mod login;
mod overview;
mod parts;
mod pauses;
mod refresh;
mod replays;
mod route;
mod routes;
mod session;
mod settings;
mod source;
mod sources;
mod verdict;
mod webhook;
mod webhooks;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use ring::hmac;
use tokio_util::sync::CancellationToken;

use self::context::Context;
use self::live::Live;
pub use self::login::login_fields;
use self::refresh::Refreshes;
pub use self::session::cookie_token;
pub use self::webhook::body_as_tree;
use crate::connections::Bodies;
use crate::domain::clock::Clock;
use crate::domain::error::Reason;
use crate::domain::trace::TraceUrl;
use crate::service::Service;
use crate::service::alerts::BacklogLevels;

/// The path of the overview. `GET /` answers it too, if the client prefers HTML.
pub const OVERVIEW: &str = "/overview";

/// What a browser may do with a page: run the script and use the style sheet of this server, send forms to it, and
/// nothing else. Nothing of either is written into a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the page is made of.
#[derive(Clone)]
pub struct Pages {
    /// The use cases.
    pub service: Service,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The memory for forms.
    pub bodies: Bodies,
    /// The path under which a proxy serves the page, such as `/hooks`; empty if that is the root.
    pub base_path: Arc<str>,
    /// The URL of a trace in the tool that shows traces; none if none is known.
    pub trace_url: Option<TraceUrl>,
    /// The HTTP status of each reason.
    pub status_of: fn(Reason) -> StatusCode,
    /// The URL at which clients reach REST, without a slash at its end; none if it is the one that requests name.
    pub public_url: Option<Arc<str>>,
    /// Whether browsers reach the page by `https` alone.
    pub is_secure: bool,
    /// Random, for the tokens of forms where no token is configured.
    pub form_key: [u8; 32],
    /// When the backlog is high.
    pub backlog: BacklogLevels,
    /// Cancelled when the process begins to stop.
    pub stopping: CancellationToken,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("base_path", &self.base_path).finish_non_exhaustive()
    }
}

/// What the handlers share.
#[derive(Debug)]
struct State {
    pages: Pages,
    /// The key of the tokens of forms where no token is configured.
    form_key: hmac::Key,
    live: Live,
    refreshes: Refreshes,
}

type Shared = Arc<State>;

/// What a view serves.
#[derive(Debug, Default)]
struct Paths(Vec<Served>);

#[derive(Debug)]
struct Served {
    method: &'static str,
    path: &'static str,
    handler: MethodRouter<Shared>,
}

impl Paths {
    /// Serves a path by GET, and so by HEAD.
    fn get<H: Handler<T, Shared>, T: 'static>(mut self, path: &'static str, handler: H) -> Self {
        self.0.push(Served { method: "GET", path, handler: get(handler) });
        self
    }

    /// Serves a path by POST. The handler takes an [`Action`](action::Action), which checks the form.
    fn post<H: Handler<T, Shared>, T: 'static>(mut self, path: &'static str, handler: H) -> Self {
        self.0.push(Served { method: "POST", path, handler: post(handler) });
        self
    }

    /// Adds what another view serves.
    fn with(mut self, view: Self) -> Self {
        self.0.extend(view.0);
        self
    }
}

/// What all views serve.
fn all() -> Paths {
    Paths::default()
        .with(assets::routes())
        .with(login::routes())
        .with(live::routes())
        .with(overview::routes())
        .with(webhooks::routes())
        .with(webhook::routes())
        .with(dead_letters::routes())
        .with(routes::routes())
        .with(route::routes())
        .with(sources::routes())
        .with(source::routes())
        .with(replays::routes())
        .with(actions::routes())
        .with(settings::routes())
}

/// The method and path of everything that the page serves, without the prefix of a proxy.
pub fn paths() -> Vec<(&'static str, &'static str)> {
    all().0.iter().map(|served| (served.method, served.path)).collect()
}

/// The paths that take a form and have no view.
static ONLY_FORMS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let paths = paths();
    let views =
        paths.iter().filter(|(method, _)| *method == "GET").map(|(_, path)| *path).collect::<HashSet<_>>();
    let forms = paths.iter().filter(|(method, _)| *method == "POST").map(|(_, path)| *path);
    forms.filter(|path| !views.contains(path)).collect()
});

/// Whether a path, without the prefix of a proxy, takes a form and has no view.
fn is_only_a_form(path: &str) -> bool {
    ONLY_FORMS.iter().any(|served| {
        let (served, asked) = (served.split('/'), path.split('/'));
        served.clone().count() == asked.clone().count()
            && served.zip(asked).all(|(served, asked)| served == asked || served.starts_with('{'))
    })
}

/// Serves all paths of the page, also with the prefix `base_path`, and says of any other path that nothing is there.
pub fn router(pages: Pages) -> Router {
    let form_key = hmac::Key::new(hmac::HMAC_SHA256, &pages.form_key);
    let base_path = Arc::clone(&pages.base_path);
    let mut router = Router::<Shared>::new();
    let views = ONLY_FORMS.iter().copied().fold(all(), |views, form| views.get(form, only_a_form));
    for Served { path, handler, .. } in views.0 {
        if !base_path.is_empty() {
            router = router.route(&format!("{base_path}{path}"), handler.clone());
            if path == OVERVIEW {
                router = router.route(&base_path, handler.clone());
                router = router.route(&format!("{base_path}/"), handler.clone());
            }
        }
        router = router.route(path, handler);
    }
    let router = router.fallback(nothing_there);
    let (live, refreshes) = (Live::default(), Refreshes::default());
    let state = Arc::new(State { pages, form_key, live, refreshes });
    let router = router.layer(middleware::from_fn_with_state(Arc::clone(&state), refresh::share));
    router.layer(middleware::from_fn(with_policy)).with_state(state)
}

/// Answers a path that no view has.
async fn nothing_there(context: Context) -> Response {
    context.nothing_there()
}

/// Answers a request for the path of a form.
async fn only_a_form(context: Context) -> Response {
    context.only_a_form()
}

/// Tells the browser what it may do with a page, and to keep none unless the page says so.
async fn with_policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
