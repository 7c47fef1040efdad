//! The login with a token, and the logout.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use url::form_urlencoded;

use super::action::{Action, MAX_SMALL_FORM_BYTES, read_form};
use super::context::{Turned, html_response, inner_path, see_other, with_query};
use super::document::bare;
use super::session::{CookieScope, Session, has_cookie};
use super::{Paths, Shared, is_only_a_form, parts};
use crate::access::{Need, Role};
use crate::domain::duration::whole_seconds;
use crate::domain::error::{Error, Reason};

/// The longest path to go on with after the login. The form that has it needs no memory of that for large answers then,
/// which clients without a token could use up.
const MAX_NEXT_CHARS: usize = 2_000;

/// By which browsers say whether a page of this site led to a request.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The parameter of the login after a page of another site led to it.
const ONCE_MORE: &str = "again";

/// What the views serve.
pub(super) fn routes() -> Paths {
    Paths::default().get("/login", show).post("/login", log_in).post("/logout", log_out)
}

/// The form, if there is a token to be asked for and the browser has none yet.
async fn show(State(shared): State<Shared>, request: Request) -> Response {
    if !shared.pages.service.access().needs_tokens() {
        return see_other(&format!("{}/", shared.pages.base_path));
    }
    let (head, _) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let next = field(query.as_bytes(), "next");
    // A token that is refused here counts as a failed one, so that this finds out no more than any other view.
    if has_cookie(&head) && Session::of(&head, &shared, Need::Role(Role::Read)).is_ok() {
        return see_other(&format!("{}{}", shared.pages.base_path, safe_next(&next).unwrap_or("/")));
    }
    let mut response = form(&shared, &next, None);
    if let Some(again) = once_more(&head, &shared, &next) {
        response.headers_mut().insert(header::REFRESH, again);
    }
    response
}

/// Where the browser goes on at once if a page of another site led here. The browser did not send the cookie then, as
/// it is strict, and does so in a request that comes from this page. Not twice, because it may have no cookie.
fn once_more(head: &Parts, shared: &Shared, next: &str) -> Option<HeaderValue> {
    let query = head.uri.query().unwrap_or_default();
    let site = head.headers.get(SEC_FETCH_SITE)?;
    let is_led_here = site == "cross-site" || site == "same-site";
    if !is_led_here || !field(query.as_bytes(), ONCE_MORE).is_empty() {
        return None;
    }
    let next = safe_next(next).map(|next| ("next", next));
    let login = with_query("/login", [(ONCE_MORE, "1")].into_iter().chain(next));
    HeaderValue::try_from(format!("0; url={}{login}", shared.pages.base_path)).ok()
}

/// Checks the token, and has the browser keep it.
async fn log_in(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body): (Parts, Body) = request.into_parts();
    let read = read_form(&head.headers, body, MAX_SMALL_FORM_BYTES, &shared.pages.bodies).await;
    let (sent, _arrival) = match read {
        Ok(sent) => sent,
        Err(error) => return form(&shared, "", Some(&error)),
    };
    let (token, next) = login_fields(&sent);
    let given = Some(token.as_bytes()).filter(|token| !token.is_empty());
    match Session::with_token(given, &head, &shared, Need::Role(Role::Read)) {
        Ok(_) => {
            let next = next.as_deref().unwrap_or("/");
            let mut response = see_other(&format!("{}{next}", shared.pages.base_path));
            let cookie = CookieScope::of(&head, &shared).with_token(token.as_bytes());
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(error) => form(&shared, next.as_deref().unwrap_or_default(), Some(&error)),
    }
}

/// The token of a login, and the path to go on with, if it is one of this page. A client without a token chooses both.
pub fn login_fields(form: &[u8]) -> (String, Option<String>) {
    let next = safe_next(&field(form, "next")).map(str::to_owned);
    (field(form, "token").trim().to_owned(), next)
}

/// A form without fields of its own.
#[derive(Debug, Deserialize)]
struct Nothing {}

/// Has the browser forget the token.
async fn log_out(Action(context, Nothing {}): Action<Nothing>) -> Response {
    let mut response = see_other(&context.path("/login"));
    response.headers_mut().insert(header::SET_COOKIE, context.cookie_scope.without_token());
    response
}

/// The answer to a request without a valid token: the login, which goes on where the request wanted to.
pub(super) fn to_login(head: &Parts, shared: &Shared) -> Turned {
    let base_path = &shared.pages.base_path;
    let path = inner_path(head.uri.path(), base_path);
    let wanted = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // The login does not repeat a form that was sent without a session.
    let next = Some(wanted.as_str()).filter(|_| head.method.is_safe()).and_then(safe_next);
    let login = with_query("/login", next.filter(|next| *next != "/").map(|next| ("next", next)).into_iter());
    let mut response = see_other(&format!("{base_path}{login}"));
    if has_cookie(head) {
        let forget = CookieScope::of(head, shared).without_token();
        response.headers_mut().insert(header::SET_COOKIE, forget);
    }
    response.into()
}

/// The answer to a request whose token does not suffice.
pub(super) fn away(head: &Parts, shared: &Shared, error: &Error) -> Turned {
    let login = format!("{}/login", shared.pages.base_path);
    let body = html! {
        section.problem {
            h1 { (error.reason().title()) }
            p.lead { (parts::lines(error.detail())) }
            p { a.button href=(login) { "Log in with another token" } }
        }
    };
    let status = (shared.pages.status_of)(error.reason());
    let mut response = html_response(status, bare(shared, error.reason().title(), &body));
    retry_after(error, &mut response);
    if error.reason() == Reason::TooManyFailedTokens {
        let forget = CookieScope::of(head, shared).without_token();
        response.headers_mut().insert(header::SET_COOKIE, forget);
    }
    response.into()
}

/// The form, and what was wrong with the last one.
fn form(shared: &Shared, next: &str, error: Option<&Error>) -> Response {
    let status = error.map_or(StatusCode::OK, |error| (shared.pages.status_of)(error.reason()));
    let body = html! {
        section.login {
            h1 { "Log in" }
            @if let Some(error) = error { (told(error)) }
            form.stack method="post" action=(format_args!("{}/login", shared.pages.base_path)) {
                @if let Some(next) = safe_next(next) { input type="hidden" name="next" value=(next); }
                label.field {
                    span { "Token" }
                    input type="password" name="token" required autofocus autocomplete="current-password"
                        spellcheck="false" autocapitalize="off";
                }
                button.primary type="submit" { "Log in" }
            }
            p.muted.small {
                "A token of this hookbox with the role " code { "read" } " or " code { "operate" } ". "
                code { "hookbox token" } " makes one; " code { "HOOKBOX_ADMIN_TOKEN" }
                " is one with every role."
            }
        }
    };
    let mut response = html_response(status, bare(shared, "Log in", &body));
    if let Some(error) = error {
        retry_after(error, &mut response);
    }
    response
}

/// Why the login failed. The text for programs names a header, which does not help here.
fn told(error: &Error) -> Markup {
    let text = match error.reason() {
        Reason::Unauthenticated => {
            "This is not a token of this hookbox. It may be mistyped, or was removed from the settings."
        }
        _ => error.detail(),
    };
    parts::notice(parts::Tone::Bad, html! { p { (parts::lines(text)) } })
}

fn retry_after(error: &Error, response: &mut Response) {
    if let Some(delay) = error.retry_delay() {
        let seconds = HeaderValue::from(whole_seconds(delay));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
}

/// The path to go on with, if it is one of this page and nothing else: neither another server, nor a file, nor a form.
fn safe_next(next: &str) -> Option<&str> {
    let is_path = next.starts_with('/') && !next.starts_with("//") && next.len() <= MAX_NEXT_CHARS;
    let has_only = |c: char| c.is_ascii_graphic() && c != '\\';
    // Browsers would leave `base_path` by such a segment.
    let is_dots =
        |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    let path = next.split(['?', '#']).next().unwrap_or_default();
    Some(next)
        .filter(|next| is_path && next.chars().all(has_only) && !path.split('/').any(is_dots))
        .filter(|_| !is_only_a_form(path))
}

/// A field of a form or of a query; empty if it is absent.
fn field(form: &[u8], name: &str) -> String {
    let found = form_urlencoded::parse(form).find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_goes_on_only_with_paths_of_this_page() {
        for next in ["/", "/webhooks?status=pending&q=%20", "/webhooks/1#top", "/webhooks?find=a/../b"] {
            assert_eq!(safe_next(next), Some(next));
        }
        let long = format!("/{}", "a".repeat(MAX_NEXT_CHARS));
        let foreign =
            ["//evil.example", "https://evil.example", "/\\evil.example", "/../a", "/a/.%2E/b", "/."];
        let forms = ["/logout", "/pause?a=b", "/webhooks/1/retry"];
        for next in foreign.into_iter().chain(forms).chain(["", "webhooks", "/a b", "/é", "/a\n", &long]) {
            assert_eq!(safe_next(next), None, "{next}");
        }
    }
}
