//! The session of a browser: the token in the cookie, checked exactly as a bearer token is, and the seals that are made
//! with it. Requests of pages of other servers have none of these seals.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::Shared;
use crate::access::{Caller, Client, Need};
use crate::domain::error::Result;
use crate::domain::host::Scheme;

/// The name of the cookie.
const COOKIE: &str = "hookbox";

/// What the token of a form is the seal of.
const OF_FORMS: &str = "hookbox form";

/// What the seal of a notice begins with.
const OF_NOTICES: &str = "hookbox notice ";

/// A caller who was let in.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) caller: Arc<Caller>,
    /// Made of the token of the caller; that of the process if none is needed.
    key: hmac::Key,
}

/// Where a cookie holds, and over which connections it is sent.
#[derive(Debug)]
pub(super) struct CookieScope {
    path: Arc<str>,
    is_secure: bool,
}

impl CookieScope {
    /// Of the page that a request is for.
    pub(super) fn of(head: &Parts, shared: &Shared) -> Self {
        let is_secure = shared.pages.is_secure || head.extensions.get::<Scheme>() == Some(&Scheme::Https);
        let base_path = &shared.pages.base_path;
        let path = if base_path.is_empty() { Arc::from("/") } else { Arc::clone(base_path) };
        Self { path, is_secure }
    }

    /// The cookie that keeps a token until the browser is closed.
    pub(super) fn with_token(&self, token: &[u8]) -> HeaderValue {
        self.cookie(&BASE64_URL_SAFE_NO_PAD.encode(token), "")
    }

    /// The cookie that makes the browser forget the token.
    pub(super) fn without_token(&self) -> HeaderValue {
        self.cookie("", "; Max-Age=0")
    }

    fn cookie(&self, value: &str, more: &str) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let path = &self.path;
        let cookie = format!("{COOKIE}={value}; Path={path}; HttpOnly; SameSite=Strict{secure}{more}");
        // Base64 and a path of the settings are ASCII.
        let mut cookie = HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""));
        cookie.set_sensitive(true);
        cookie
    }
}

impl Session {
    /// Lets a request in by the token in its cookie. Errors: those of [`Access::admit`](crate::access::Access::admit).
    pub(super) fn of(head: &Parts, shared: &Shared, need: Need) -> Result<Self> {
        Self::with_token(cookie_token(&head.headers).as_deref(), head, shared, need)
    }

    /// Lets a request in by a token. Errors: those of [`Access::admit`](crate::access::Access::admit).
    pub(super) fn with_token(
        token: Option<&[u8]>,
        head: &Parts,
        shared: &Shared,
        need: Need,
    ) -> Result<Self> {
        let access = shared.pages.service.access();
        let authorization = token.map(|token| [b"Bearer ".as_slice(), token].concat());
        let client = head.extensions.get::<Client>().map(|Client(address)| *address);
        let caller = access.admit(need, authorization.as_deref(), client)?;
        let key = match token.filter(|_| access.needs_tokens()) {
            Some(token) => hmac::Key::new(hmac::HMAC_SHA256, token),
            None => shared.form_key.clone(),
        };
        Ok(Self { caller, key })
    }

    /// What each form has to have as proof that it is one of this page, of this caller.
    pub(super) fn form_token(&self) -> String {
        self.sealed(OF_FORMS)
    }

    /// Whether this is the token of forms.
    pub(super) fn is_form_token(&self, token: &str) -> bool {
        is_same(&self.form_token(), token)
    }

    /// The seal of a notice, so that a link of a stranger cannot show a text as one of hookbox.
    pub(super) fn seal(&self, notice: &str) -> String {
        self.sealed(&format!("{OF_NOTICES}{notice}"))
    }

    /// Whether the seal is that of the notice.
    pub(super) fn is_sealed(&self, notice: &str, seal: &str) -> bool {
        is_same(&self.seal(notice), seal)
    }

    fn sealed(&self, text: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, text.as_bytes()))
    }
}

/// Takes the same time for any two texts of the same length.
fn is_same(expected: &str, given: &str) -> bool {
    expected.as_bytes().ct_eq(given.as_bytes()).into()
}

/// Whether a request has the cookie.
pub(super) fn has_cookie(head: &Parts) -> bool {
    cookie(&head.headers).is_some()
}

/// The token in the cookie of a request; none without a cookie. A cookie that is no token of this page counts as a wrong
/// token.
pub fn cookie_token(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = cookie(headers)?;
    Some(BASE64_URL_SAFE_NO_PAD.decode(value).unwrap_or_else(|_| value.as_bytes().to_vec()))
}

/// The value of the cookie; none if there is none, or an empty one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(token: &[u8]) -> Session {
        Session { caller: Caller::anonymous(), key: hmac::Key::new(hmac::HMAC_SHA256, token) }
    }

    #[test]
    fn a_seal_is_that_of_one_token_and_one_text() {
        let (one, two) = (session(b"hbx_one"), session(b"hbx_two"));
        assert!(one.is_form_token(&one.form_token()));
        for wrong in ["", "x", &two.form_token(), &one.seal(""), &one.form_token()[1..]] {
            assert!(!one.is_form_token(wrong), "{wrong}");
        }
        assert!(one.is_sealed("Paused.", &one.seal("Paused.")));
        assert!(!one.is_sealed("Paused!", &one.seal("Paused.")));
        assert!(!format!("{one:?}").contains("hbx_one"));
    }

    #[test]
    fn the_token_is_found_among_other_cookies() {
        let token_of = |cookies: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, HeaderValue::from_static(cookie));
            }
            cookie_token(&headers)
        };
        assert_eq!(token_of(&["a=b; hookbox=aGJ4X29uZQ; c"]), Some(b"hbx_one".to_vec()));
        assert_eq!(token_of(&["a=b", "hookbox=aGJ4X29uZQ"]), Some(b"hbx_one".to_vec()));
        assert_eq!(token_of(&["hookbox=***"]), Some(b"***".to_vec()), "it is a wrong token");
        for none in [&[][..], &["hookbox="], &["nohookbox=aGJ4X29uZQ"], &["hookbox"]] {
            assert_eq!(token_of(none), None, "{none:?}");
        }
    }
}
