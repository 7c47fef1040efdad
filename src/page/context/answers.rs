//! The answers of views other than a view: what went wrong, and where to go on after an action.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use maud::{Markup, html};

use super::{Context, NOTICE, Nav, see_other, with_query};
use crate::domain::duration::whole_seconds;
use crate::domain::error::Error;
use crate::page::parts;
use crate::service::log_unserved;

/// The most characters of a notice.
const MAX_NOTICE_CHARS: usize = 300;

impl Context {
    /// A page that says what went wrong, why, and what to do next.
    pub(in crate::page) fn failed(&self, error: &Error) -> Response {
        let status = (self.shared.pages.status_of)(error.reason());
        if status.is_server_error() {
            log_unserved(error, &self.trace_id);
        }
        let reason = error.reason();
        let mut response = self.problem(status, reason.title(), reason.as_str(), error.detail());
        if let Some(delay) = error.retry_delay() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
        }
        response
    }

    /// A view that keeps what was entered and says what is wrong with it. A fault of hookbox itself gets a page of its own.
    pub(in crate::page) fn refused(&self, error: &Error, title: &str, at: Nav, body: Markup) -> Response {
        let status = (self.shared.pages.status_of)(error.reason());
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            return self.failed(error);
        }
        self.page_with(status, title, Some(at), body)
    }

    /// The answer to a form without its token.
    pub(in crate::page) fn without_form_token(&self) -> Response {
        let detail = "Nothing was changed. The form does not have the token that this page gave it: hookbox \
            was restarted, or you logged in again, after the page was loaded; or another site sent the form. Go \
            back, load the page again, and repeat it.";
        self.problem(StatusCode::FORBIDDEN, "The form is out of date", "FORM_TOKEN", detail)
    }

    /// The answer to a path that no view has.
    pub(in crate::page) fn nothing_there(&self) -> Response {
        let detail =
            "The address may be mistyped, or the link to it out of date. The navigation above has all views.";
        self.problem(StatusCode::NOT_FOUND, "There is no such page", "PATH_NOT_FOUND", detail)
    }

    /// The answer to a request for the path of a form, such as a link to it or a reload after it.
    pub(in crate::page) fn only_a_form(&self) -> Response {
        let detail = "This address takes a form that a page sends, and has nothing to show. Nothing was changed. The \
            navigation above has all views.";
        let mut response = self.problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "There is nothing to see here",
            "METHOD_NOT_ALLOWED",
            detail,
        );
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        response
    }

    fn problem(&self, status: StatusCode, title: &str, reason: &str, detail: &str) -> Response {
        let body = html! {
            section.problem {
                h1 { (title) }
                p.lead { (parts::lines(detail)) }
                p.muted.small {
                    code { (reason) }
                    @if !self.trace_id.is_empty() { " · trace " code { (self.trace_id) } }
                }
                p { a.button href=(self.path("/")) { "Overview" } }
            }
        };
        self.page_with(status, title, None, body)
    }

    /// Sends the browser to a path of this page, without a fragment, after an action. It shows `notice` there, once.
    pub(in crate::page) fn done(&self, path: &str, notice: &str) -> Response {
        let notice: String = notice.chars().take(MAX_NOTICE_CHARS).collect();
        let seal = self.session.seal(&notice);
        let [name, name_of_seal] = NOTICE;
        let sealed = [(name, notice.as_str()), (name_of_seal, seal.as_str())];
        see_other(&self.path(&with_query(path, sealed.into_iter())))
    }
}
