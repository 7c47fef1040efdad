//! What says who sends a request, and for which page, as functions that panic if a promise is broken.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use hookbox::internals::access::{Access, Caller, Digest, Need, Role, Tokens};
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::domain::host::{Host, Scheme, WebOrigin};
use hookbox::internals::http::Allowed;
use hookbox::internals::page::{cookie_token, login_fields};
use jiff::Timestamp;
use url::Url;

use super::corpus::TOKEN;
use super::targets::{pair, split_line};

/// The URL of the server, for browsers.
const PUBLIC_URL: &str = "https://hooks.example";

/// A name of the server besides.
const NAME: &str = "hookbox";

static ALLOWED: LazyLock<Allowed> = LazyLock::new(|| Allowed {
    hosts: vec![Host::Name(NAME.to_owned())],
    public_url: WebOrigin::parse(PUBLIC_URL),
    allow_anonymous: false,
});

/// One token, with every role.
static ACCESS: LazyLock<Access> = LazyLock::new(|| {
    let callers = [Caller::unlimited("operator", Some(Digest::of(TOKEN.as_bytes())))];
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
    Access::new(Arc::new(Tokens::new(callers, false)), Arc::new(clock))
});

/// The method and the target of a request on the first line, then its headers, one on each line.
pub(crate) fn hosts(data: &[u8]) {
    let (first, rest) = split_line(data);
    let first = String::from_utf8_lossy(first);
    let (method, target) = first.split_once(' ').unwrap_or((&*first, "/"));
    let Ok(mut request) = Request::builder().method(method).uri(target).body(()) else { return };
    for (name, value) in rest.split(|byte| *byte == b'\n').filter_map(pair) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            request.headers_mut().append(name, value);
        }
    }
    let texts = request.headers().values().filter_map(|value| value.to_str().ok());
    texts.chain([target]).for_each(check_text);
    if ALLOWED.takes(&request) {
        check_taken(&request);
    }
}

/// A text is read as browsers read it, and as it was written.
fn check_text(text: &str) {
    let of_host = Host::parse(text).map(|(host, port)| WebOrigin::new(Scheme::Https, host, port));
    let origins = [of_host, WebOrigin::parse(text), WebOrigin::of_url(text)];
    for origin in origins.iter().flatten() {
        assert_eq!(WebOrigin::parse(&origin.to_string()).as_ref(), Some(origin), "{text:?}");
    }
    for origin in origins[1..].iter().flatten() {
        let (Some(read), Some(by_browser)) = (origin_of(&origin.to_string()), origin_of(text)) else {
            continue;
        };
        assert_eq!(read, by_browser, "{text:?}");
    }
}

/// A request that is answered without a token names this server. If it changes something, a page of this server or a
/// program has sent it.
fn check_taken(request: &Request<()>) {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let named = match (request.uri().authority(), hosts.next(), hosts.next()) {
        (Some(authority), ..) => authority.as_str(),
        (None, Some(host), None) => host,
        _ => "",
    };
    let own = origin_of(&format!("http://{named}/"));
    if !["/healthz", "/readyz"].contains(&request.uri().path()) {
        assert!(!named.is_empty(), "a request that names no host is answered");
        assert!(own.iter().all(|(_, host, _)| is_own(host)), "a request for {named:?} is answered");
    }
    if request.method().is_safe() {
        return;
    }
    for origin in headers.get_all(ORIGIN) {
        let page = origin_of(origin.to_str().unwrap_or_default());
        let is_own = page == own || page == origin_of(PUBLIC_URL);
        assert!(page.is_none() || is_own, "a page of {origin:?} changes something at {named:?}");
    }
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let is_of_another_page = !headers.contains_key(ORIGIN) && sites.any(|site| site != "same-origin");
    assert!(!is_of_another_page, "another page changes something");
}

fn is_own(host: &str) -> bool {
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || ["localhost", NAME, "hooks.example"].contains(&host) || host.ends_with(".localhost")
}

/// Scheme, host and port of a URL as browsers read it, without the dot at the end of a name; none if it is none.
fn origin_of(url: &str) -> Option<(String, String, u16)> {
    let url = Url::parse(url).ok()?;
    let host = match url.host()? {
        url::Host::Domain(name) => name.strip_suffix('.').unwrap_or(name).to_owned(),
        url::Host::Ipv4(address) => address.to_string(),
        url::Host::Ipv6(address) => IpAddr::from(address).to_canonical().to_string(),
    };
    Some((url.scheme().to_owned(), host, url.port_or_known_default()?))
}

/// The headers of a request, one on each line.
pub(crate) fn credentials(data: &[u8]) {
    let given = data.split(|byte| *byte == b'\n').filter_map(pair).collect::<Vec<_>>();
    let named = |name: &str| {
        let named = given.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| *value).collect::<Vec<&[u8]>>()
    };
    let presented = named("authorization");
    let words = presented.iter().flat_map(|value| value.split(u8::is_ascii_whitespace));
    let words = words.filter(|word| !word.is_empty()).collect::<Vec<_>>();
    let has_token = matches!(&words[..], [scheme, token] if scheme.eq_ignore_ascii_case(b"bearer") && *token == TOKEN.as_bytes());
    let is_right = presented.len() == 1 && has_token;
    assert!(is_right || !is_admitted(&presented), "a request without the token is admitted");

    let mut headers = HeaderMap::new();
    for value in named("cookie") {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(COOKIE, value);
        }
    }
    let Some(token) = cookie_token(&headers) else { return };
    let is_of_page = |value: &HeaderValue| value.as_bytes().windows(8).any(|bytes| bytes == b"hookbox=");
    assert!(!token.is_empty() && headers.values().any(is_of_page), "a cookie of another page is read");
    let authorization = [&b"Bearer "[..], &token].concat();
    let is_right = token.trim_ascii() == TOKEN.as_bytes();
    assert_eq!(is_admitted(&[&authorization[..]]), is_right, "the token of a cookie is read differently");
}

/// A form of the login, as a client without a token sends it.
pub(crate) fn login(data: &[u8]) {
    let (token, next) = login_fields(data);
    let authorization = [&b"Bearer "[..], token.as_bytes()].concat();
    assert_eq!(is_admitted(&[&authorization[..]]), token == TOKEN, "the token of a form is read differently");
    let Some(next) = next else { return };
    for base_path in ["", "/hooks"] {
        let path = format!("{base_path}{next}");
        assert!(HeaderValue::from_str(&path).is_ok(), "{path:?} is no header");
        let url = Url::parse(PUBLIC_URL).and_then(|url| url.join(&path)).expect("a browser can go there");
        let is_own = origin_of(url.as_str()) == origin_of(PUBLIC_URL);
        assert!(is_own && url.path().starts_with(&format!("{base_path}/")), "the login goes on with {url}");
    }
}

/// Whether a request with these headers `Authorization` may operate.
fn is_admitted(authorization: &[&[u8]]) -> bool {
    let admitted = ACCESS.admit(Need::Role(Role::Operate), authorization.iter().copied(), None);
    admitted.is_ok_and(|caller| caller.name() == "operator")
}
