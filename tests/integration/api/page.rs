//! The page, as a browser without a script gets it.

mod base_path;
mod dead_letters;
mod forms;
mod frame;
mod live;
mod login;
mod operating;
mod overview;
mod webhook;
mod webhooks;

use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, ORIGIN};
use reqwest::{Method, RequestBuilder};
use url::form_urlencoded;

use crate::api::access::secret;
use crate::api::harness::Hookbox;
use crate::api::harness::client::{Answer, Rest};

/// What browsers accept.
const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

/// A browser.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    rest: Rest,
    cookie: Option<String>,
}

impl Browser {
    /// A browser that is not logged in.
    pub(crate) fn of(hookbox: &Hookbox) -> Self {
        Self { rest: hookbox.rest.clone(), cookie: None }
    }

    /// A browser that is logged in with the token of this name.
    pub(crate) async fn logged_in(hookbox: &Hookbox, name: &str) -> Self {
        let browser = Self::of(hookbox);
        let answer = browser.post("/login", &[("token", &secret(name))]).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        Self { cookie: Some(cookie_of(&answer)), ..browser }
    }

    /// The same browser with another cookie.
    pub(crate) fn with_cookie(&self, cookie: &str) -> Self {
        Self { cookie: Some(cookie.to_owned()), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.rest.request(method, path).header(ACCEPT, HTML);
        match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    /// Sends a form, as a page of this server does.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        Answer::of(self.form(path, fields)).await
    }

    /// A form, to be changed before it is sent.
    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.request(Method::POST, path)
            .header(CONTENT_TYPE, FORM)
            .header(ORIGIN, format!("http://{}", self.rest.address()))
            .body(body)
    }
}

/// The cookie that an answer sets, as browsers send it back.
fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
}

/// The token of the forms of a page.
#[track_caller]
pub(crate) fn form_token(page: &Answer) -> String {
    let (_, rest) = page.text.split_once("name=\"form_token\" value=\"").expect("a form");
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// The values of an attribute in a page.
fn values_of<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    page.split(&begin).skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect()
}

/// Checks that this is a page that says why a form is not taken.
#[track_caller]
fn refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.text.contains(&format!("<code>{reason}</code>")), "{}", answer.text);
}
