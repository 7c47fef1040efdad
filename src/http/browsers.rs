//! Keeps the pages of other servers from using hookbox through a browser, which sends requests for any page that it
//! shows, and may reach what the server of the page cannot.
//!
//! A request has to name a host of this server: with DNS rebinding, it would name the host of the page. That is checked
//! only where no token is needed, because a page of another server has no token. A request that can change something has
//! to come from a page of this server, or from a program. Each response tells the browser how little it may do with it.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::Refused;
use super::reason::RestReason;
use crate::domain::host::{Host, Scheme, WebOrigin};

/// The paths that are answered for any host, because probes often name one that is not in the settings.
const FOR_ANY_HOST: &[&str] = &["/healthz", "/readyz"];

/// What browsers say about the page that a request is for, where they leave out `Origin` (Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The documentation page runs its own scripts, and asks this server alone. Its script adds `<style>` elements.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// All other responses are data, and no pages, unless they say something else.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// The hosts and pages whose requests are answered.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Hosts of this server, besides loopback and the address that a client connected to.
    pub hosts: Vec<Host>,
    /// The origin of the URL at which browsers reach this server, if that is not the one that requests name.
    pub public_url: Option<WebOrigin>,
    /// Whether requests may name any host also where no token is needed.
    pub allow_anonymous: bool,
}

/// An extension of each request: the address of this machine that its client connected to.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectedTo(pub(super) IpAddr);

/// Refuses what [`Allowed`] refuses, and adds the headers for browsers to each response.
pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_docs = path == "/docs" || path.starts_with("/docs/");
    let checked = if api.service.access().needs_tokens() {
        api.allowed.check_page(&request)
    } else {
        api.allowed.check(&request)
    };
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    // The page says by itself what browsers may do with it.
    let policy = HeaderValue::from_static(if is_docs { DOCS_POLICY } else { DATA_POLICY });
    response.headers_mut().entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    for (name, value) in [
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Allowed {
    /// Whether a request is answered where no token is needed.
    pub fn takes<B>(&self, request: &Request<B>) -> bool {
        self.check(request).is_ok()
    }

    /// Whether the request is answered where no token is needed. Errors: `InvalidHost`, `HostNotAllowed`,
    /// `OriginNotAllowed`.
    fn check<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        if !self.allow_anonymous && !FOR_ANY_HOST.contains(&request.uri().path()) {
            let connected_to = request.extensions().get::<ConnectedTo>();
            match named_host(request) {
                Named::Invalid => return Err(invalid_host()),
                Named::Host(host, _) if !self.has(&host, connected_to) => {
                    return Err(host_not_allowed(&host));
                }
                Named::Host(..) | Named::Nothing => {}
            }
        }
        self.check_page(request)
    }

    /// Whether the page that a browser shows may send the request. Errors: `OriginNotAllowed`.
    fn check_page<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        let own = match named_host(request) {
            Named::Host(host, port) => {
                let scheme = request.extensions().get().copied().unwrap_or(Scheme::Http);
                Some(WebOrigin::new(scheme, host, port))
            }
            Named::Nothing | Named::Invalid => None,
        };
        if request.method().is_safe() || self.is_from_here(request.headers(), own.as_ref()) {
            Ok(())
        } else {
            Err(origin_not_allowed(request.method(), request.headers()))
        }
    }

    /// Whether a host is this server.
    fn has(&self, host: &Host, connected_to: Option<&ConnectedTo>) -> bool {
        host.is_loopback()
            || connected_to.is_some_and(|ConnectedTo(address)| *host == Host::from(*address))
            || self.public_url.as_ref().is_some_and(|url| url.host() == host)
            || self.hosts.contains(host)
    }

    /// Whether a page of this server, whose origin is `own` or that of `public_url`, or a program sent a request.
    /// Programs send neither of the headers. `Sec-Fetch-Site: none`, which browsers send for an address that was typed or
    /// bookmarked, only comes with methods that change nothing.
    fn is_from_here(&self, headers: &HeaderMap, own: Option<&WebOrigin>) -> bool {
        if !headers.contains_key(header::ORIGIN) {
            let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
            return sites.all(|site| site == "same-origin");
        }
        headers.get_all(header::ORIGIN).iter().all(|origin| {
            let origin = web_origin(origin);
            origin.is_some() && (origin.as_ref() == own || origin == self.public_url)
        })
    }
}

/// What a request names as its host.
enum Named {
    /// A host, and perhaps a port.
    Host(Host, Option<u16>),
    /// Nothing, as HTTP/1.0 allows. Every browser names a host.
    Nothing,
    /// Nothing in a later version, several hosts, or a text that is no host. RFC 9112 wants that to be answered 400.
    Invalid,
}

/// The host in the target of a request, which HTTP/2 always has there; else the one in the header `Host`.
fn named_host<B>(request: &Request<B>) -> Named {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let text = match (request.uri().authority(), hosts.next(), hosts.next()) {
        (Some(authority), ..) => Some(authority.as_str()),
        (None, Some(host), None) => host.to_str().ok(),
        (None, None, _) if request.version() < Version::HTTP_11 => return Named::Nothing,
        (None, ..) => None,
    };
    text.and_then(Host::parse).map_or(Named::Invalid, |(host, port)| Named::Host(host, port))
}

fn web_origin(value: &HeaderValue) -> Option<WebOrigin> {
    WebOrigin::parse(value.to_str().ok()?)
}

fn invalid_host() -> Refused {
    let detail = "the request needs exactly one header Host, with a host and perhaps a port, such as \
        `Host: localhost:8080`";
    Refused::Request(RestReason::InvalidHost, detail.to_owned())
}

fn host_not_allowed(host: &Host) -> Refused {
    let detail = format!(
        "the request names the host `{host}`, and hookbox does not know that this is itself. If clients reach it \
         by that host, add it to the setting `hosts` and restart: hosts = [\"{host}\"] in hookbox.toml, or \
         HOOKBOX_HOSTS={host} in the environment. With allow_anonymous = true it answers for any host"
    );
    Refused::Request(RestReason::HostNotAllowed, detail)
}

fn origin_not_allowed(method: &Method, headers: &HeaderMap) -> Refused {
    let page = match headers.get(header::ORIGIN).map(web_origin) {
        Some(Some(origin)) => format!("a page of {origin}"),
        Some(None) | None => "a page of another server".to_owned(),
    };
    let detail = format!(
        "a browser sent this {method} for {page}, and only pages of this server may change something. If this is \
         the address at which browsers reach hookbox, set `public_url` to it and restart. Programs should send \
         neither Origin nor Sec-Fetch-Site"
    );
    Refused::Request(RestReason::OriginNotAllowed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Allowed {
        Allowed {
            hosts: vec![Host::Name("hookbox".into()), Host::from(IpAddr::from([10, 0, 0, 7]))],
            public_url: WebOrigin::parse("https://hooks.example"),
            allow_anonymous: false,
        }
    }

    /// A request that came to 192.168.1.5.
    fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = axum::http::Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.extension(ConnectedTo(IpAddr::from([192, 168, 1, 5]))).body(()).expect("is a request")
    }

    /// Why a request is refused; empty if it is not.
    fn refusal(allowed: &Allowed, request: &Request<()>) -> &'static str {
        allowed.check(request).map_or_else(|refused| refused.reason(), |()| "")
    }

    #[test]
    fn only_hosts_of_this_server_are_answered() {
        for (host, expected) in [
            ("localhost", ""),
            ("LOCALHOST:8080", ""),
            ("app.localhost", ""),
            ("127.0.0.1:8080", ""),
            ("127.1.2.3", ""),
            ("[::1]:8080", ""),
            ("192.168.1.5:8080", ""),
            ("[::ffff:192.168.1.5]", ""),
            ("hookbox", ""),
            ("HookBox.:8080", ""),
            ("10.0.0.7:80", ""),
            ("hooks.example", ""),
            ("evil.example", "HOST_NOT_ALLOWED"),
            ("hookbox.evil.example:8080", "HOST_NOT_ALLOWED"),
            ("evil.hooks.example", "HOST_NOT_ALLOWED"),
            ("192.168.1.6", "HOST_NOT_ALLOWED"),
            ("0.0.0.0:8080", "HOST_NOT_ALLOWED"),
            ("", "INVALID_HOST"),
            ("a b", "INVALID_HOST"),
            ("me@localhost", "INVALID_HOST"),
        ] {
            for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
                let request = request(method.clone(), "/v1/webhooks", &[("host", host)]);
                assert_eq!(refusal(&allowed(), &request), expected, "{method} {host:?}");
            }
        }
    }

    #[test]
    fn any_host_is_allowed_for_probes_and_with_allow_anonymous() {
        let any = Allowed { allow_anonymous: true, ..allowed() };
        for headers in [&[("host", "evil.example")][..], &[], &[("host", "a b")]] {
            for path in ["/healthz", "/readyz?a=b"] {
                let request = request(Method::GET, path, headers);
                assert_eq!(refusal(&allowed(), &request), "", "{path} {headers:?}");
            }
            for path in ["/v1/webhooks", "/healthz/", "/docs"] {
                let request = request(Method::GET, path, headers);
                assert_ne!(refusal(&allowed(), &request), "", "{path} {headers:?}");
                assert_eq!(refusal(&any, &request), "", "{path} {headers:?}");
            }
        }
    }

    #[test]
    fn a_host_is_named_once_in_the_target_or_the_header() {
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(refusal(&allowed(), &request(Method::GET, "/", &twice)), "INVALID_HOST");
        for (version, expected) in
            [(Version::HTTP_10, ""), (Version::HTTP_11, "INVALID_HOST"), (Version::HTTP_2, "INVALID_HOST")]
        {
            let mut request = request(Method::GET, "/", &[]);
            *request.version_mut() = version;
            assert_eq!(refusal(&allowed(), &request), expected, "{version:?} without a host");
        }
        // The target wins over the header.
        let of_target = request(Method::GET, "http://evil.example/", &[("host", "localhost")]);
        assert_eq!(refusal(&allowed(), &of_target), "HOST_NOT_ALLOWED");
        let of_target = request(Method::GET, "http://localhost:8080/", &[("host", "evil.example")]);
        assert_eq!(refusal(&allowed(), &of_target), "");
    }

    #[test]
    fn changes_are_made_for_pages_of_this_server_and_for_programs() {
        for (headers, expected) in [
            (&[("origin", "http://localhost:8080")][..], ""),
            (&[], ""),
            (&[("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")], ""),
            (&[("origin", "https://hooks.example")], ""),
            (&[("sec-fetch-site", "same-origin")], ""),
            (&[("origin", "https://evil.example")], "ORIGIN_NOT_ALLOWED"),
            (&[("origin", "http://localhost:3000")], "ORIGIN_NOT_ALLOWED"),
            (&[("origin", "http://localhost")], "ORIGIN_NOT_ALLOWED"),
            (&[("origin", "https://localhost:8080")], "ORIGIN_NOT_ALLOWED"),
            (&[("origin", "http://hooks.example")], "ORIGIN_NOT_ALLOWED"),
            (&[("origin", "http://127.0.0.1:8080")], "ORIGIN_NOT_ALLOWED"),
            (&[("origin", "null")], "ORIGIN_NOT_ALLOWED"),
            (&[("origin", "")], "ORIGIN_NOT_ALLOWED"),
            (&[("origin", "null"), ("sec-fetch-site", "same-origin")], "ORIGIN_NOT_ALLOWED"),
            (&[("origin", "http://localhost:8080"), ("origin", "http://evil.example")], "ORIGIN_NOT_ALLOWED"),
            (&[("sec-fetch-site", "cross-site")], "ORIGIN_NOT_ALLOWED"),
            (&[("sec-fetch-site", "same-site")], "ORIGIN_NOT_ALLOWED"),
            (&[("sec-fetch-site", "none")], "ORIGIN_NOT_ALLOWED"),
            (&[("sec-fetch-site", "")], "ORIGIN_NOT_ALLOWED"),
        ] {
            let headers = [&[("host", "localhost:8080")][..], headers].concat();
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let request = request(method.clone(), "/v1/pause", &headers);
                assert_eq!(refusal(&allowed(), &request), expected, "{method} {headers:?}");
            }
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                let request = request(method.clone(), "/v1/webhooks", &headers);
                assert_eq!(refusal(&allowed(), &request), "", "{method} {headers:?}");
            }
        }
    }

    #[test]
    fn a_foreign_page_is_refused_for_any_host_and_without_one() {
        let any = Allowed { allow_anonymous: true, ..allowed() };
        for host in [&[("host", "inbox.example")][..], &[("host", "a b")], &[]] {
            let headers = [host, &[("origin", "http://evil.example")]].concat();
            assert_eq!(refusal(&any, &request(Method::POST, "/v1/pause", &headers)), "ORIGIN_NOT_ALLOWED");
        }
        let same = [("host", "inbox.example"), ("origin", "http://inbox.example")];
        assert_eq!(refusal(&any, &request(Method::POST, "/v1/pause", &same)), "");
    }

    #[test]
    fn a_refused_host_is_told_with_what_to_set() {
        let refused = allowed().check(&request(Method::GET, "/", &[("host", "Inbox.local:8080")]));
        let told = format!("{:?}", refused.expect_err("is refused"));
        for text in ["hosts = [\\\"inbox.local\\\"]", "HOOKBOX_HOSTS=inbox.local", "allow_anonymous = true"] {
            assert!(told.contains(text), "{text}: {told}");
        }
    }
}
