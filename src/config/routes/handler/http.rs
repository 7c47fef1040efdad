//! Reads the members of routes with the handler `http`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ipnet::IpNet;
use reqwest::header::{HeaderName, HeaderValue};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::{Host, Url};

use super::Shown;
use crate::bounded_file;
use crate::config::file::Value;
use crate::config::mistake::Mistake;
use crate::config::parse::{DAY, MILLISECOND};
use crate::config::routes::reader::RouteReader;
use crate::config::secret;
use crate::domain::address::{LOCALHOST, is_localhost, refusal};
use crate::domain::breaker::BreakerPolicy;
use crate::domain::handler::{Http, SigningKey};
use crate::domain::headers::OF_CONNECTION;
use crate::domain::secret::{HIDDEN, Secret};

/// The longest delay that `retry_after_cap` can allow.
const MAX_RETRY_AFTER: Duration = DAY.saturating_mul(30);

/// The most failures in a row after which a breaker can open.
const MAX_FAILURES: u32 = 10_000;

/// The headers that hookbox sets and those for proxies, besides [`OF_CONNECTION`] and those that begin with `hookbox-`.
const RESERVED_HEADERS: &[&str] = &[
    "content-type",
    "idempotency-key",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "traceparent",
    "tracestate",
    "proxy-authenticate",
    "proxy-authorization",
];

const URL_ALLOWED: &str = "an http or https URL, such as \"https://hooks.example.com/orders\"";

/// A header: its name in lower case, its value, its name as written, and where its value is.
type Header = (String, Secret, String, String);

impl RouteReader<'_, '_> {
    /// None after a mistake in `url`.
    pub(super) fn http(&mut self, route: &Value<'_>) -> Option<(Http, Shown)> {
        let allow = self.list("allow", |item| {
            let allowed = "a range of addresses, such as \"10.0.0.0/8\", or an address";
            item.text().and_then(range).ok_or_else(|| item.wrong(allowed))
        });
        let (url, place) = self.url(route, &allow).unzip();
        let has_credentials =
            url.as_ref().is_some_and(|url: &Url| !url.username().is_empty() || url.password().is_some());
        let mut shown = Shown { url: place.flatten(), ..Shown::default() };
        let is_url_secret = shown.url.is_some();
        let mut headers = Vec::new();
        for (name, value, written, place) in self.headers(has_credentials) {
            headers.push((name, value));
            shown.headers.push((written, place));
        }
        let mut secrets = Vec::new();
        for (key, place) in self.secrets() {
            secrets.push(key);
            shown.secrets.push(place);
        }
        let authorities = self.authorities();
        shown.ca = authorities.as_ref().map(|(path, _)| path.clone());
        let ca = authorities.map(|(_, certificates)| certificates.into());
        let retry_after_cap = self.time("retry_after_cap", Duration::from_secs(1)..=MAX_RETRY_AFTER);
        let breaker = self.breaker();
        let http = Http { url: url?, is_url_secret, headers, secrets, allow, ca, retry_after_cap, breaker };
        Some((http, shown))
    }

    fn breaker(&mut self) -> BreakerPolicy {
        let defaults = BreakerPolicy::default();
        let allowed = "a table, such as { failures = 10, base = \"10s\", cap = \"5m\" }";
        let breaker = self.inner("breaker", allowed, |reader| {
            let words = format!("a number from 0, which turns it off, to {MAX_FAILURES}");
            let failures = reader.parsed("failures", words, |value| {
                value.written().parse::<u32>().ok().filter(|failures| *failures <= MAX_FAILURES)
            });
            let base = reader.time("base", MILLISECOND..=DAY).unwrap_or(defaults.base);
            let cap = reader.time_from("cap", ("base", base), DAY, defaults.cap);
            BreakerPolicy { failures: failures.unwrap_or(defaults.failures), base, cap }
        });
        breaker.unwrap_or(defaults)
    }

    /// The URL, and where it is if it is a secret.
    fn url(&mut self, route: &Value<'_>, allow: &[IpNet]) -> Option<(Url, Option<String>)> {
        let Some(value) = self.get("url") else {
            self.missing(route, "url", "url = \"https://...\"");
            return None;
        };
        let environment = self.read.environment();
        let read = value.text().ok_or_else(|| URL_ALLOWED.to_owned()).and_then(|text| {
            let written =
                secret::read(text, environment).map_err(|missing| format!("a URL, but {missing}"))?;
            Ok((url(written.expose(), allow)?, secret::place(text).map(ToOwned::to_owned)))
        });
        read.map_err(|allowed| self.wrong(value.wrong(allowed))).ok()
    }

    fn headers(&mut self, has_credentials: bool) -> Vec<Header> {
        let Some(value) = self.get("headers") else { return Vec::new() };
        let Some(table) = value.table() else {
            self.wrong(value.wrong_secret("a table, such as { \"X-Team\" = \"env:TEAM\" }"));
            return Vec::new();
        };
        let mut headers = Vec::<Header>::new();
        for (name, value) in table.entries() {
            let wrong = |problem: &str| Mistake {
                origin: value.origin(),
                text: format!("the header `{name}` {problem}"),
            };
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
                self.wrong(wrong("has a name that no header can have; use letters, digits and hyphens"));
                continue;
            };
            if let Some(problem) = name_problem(header.as_str(), has_credentials) {
                self.wrong(wrong(problem));
                continue;
            }
            if headers.iter().any(|(other, ..)| other == header.as_str()) {
                self.wrong(wrong("is set twice; header names ignore case"));
                continue;
            }
            match self.header_value(&value) {
                Ok((secret, place)) => {
                    headers.push((header.as_str().to_owned(), secret, name.to_owned(), place))
                }
                Err(mistake) => self.wrong(mistake),
            }
        }
        headers
    }

    /// The value of a header, and where it is.
    fn header_value(&self, value: &Value<'_>) -> Result<(Secret, String), Mistake> {
        let text = value.text().ok_or_else(|| value.wrong_secret("a string"))?;
        let secret = secret::read(text, self.read.environment())
            .map_err(|missing| value.wrong_secret(format_args!("a text, but {missing}")))?;
        if HeaderValue::from_bytes(secret.expose().as_bytes()).is_err() {
            return Err(value.wrong_secret("a text without line breaks and other control characters"));
        }
        Ok((secret, secret::shown(text).to_owned()))
    }

    /// The keys that sign, and where each one is.
    fn secrets(&mut self) -> Vec<(SigningKey, String)> {
        let environment = self.read.environment();
        self.list("secrets", |item| {
            let text = item.text().ok_or_else(|| item.wrong_secret("a string"))?;
            let secret = secret::read(text, environment)
                .map_err(|missing| item.wrong_secret(format_args!("a secret, but {missing}")))?;
            let key = signing_key(secret.expose()).map_err(|allowed| item.wrong_secret(allowed))?;
            Ok((key, secret::shown(text).to_owned()))
        })
    }

    /// The path of the file with certificates of authorities, and the certificates.
    fn authorities(&mut self) -> Option<(String, String)> {
        let value = self.get("ca")?;
        let path = value.text().unwrap_or_default().to_owned();
        match certificates(&path) {
            Ok(certificates) => Some((path, certificates)),
            Err(problem) => {
                self.wrong(value.wrong(format_args!("a file with certificates in PEM, but {problem}")));
                None
            }
        }
    }
}

/// Why a header of this name, in lower case, must not be set; none if it may.
fn name_problem(name: &str, has_credentials: bool) -> Option<&'static str> {
    let is_reserved = OF_CONNECTION.contains(&name) || RESERVED_HEADERS.contains(&name);
    if is_reserved || name.starts_with("hookbox-") {
        return Some("is set by hookbox, or belongs to the connection; remove it");
    }
    (name == "authorization" && has_credentials)
        .then_some("is set already, because `url` has a user or password; remove one of the two")
}

/// A range of addresses, or a single address.
fn range(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A URL that requests can be sent to. The error says what it must be.
fn url(text: &str, allow: &[IpNet]) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{URL_ALLOWED}, but {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(URL_ALLOWED.to_owned());
    }
    if url.password() == Some(HIDDEN) {
        return Err(format!("{URL_ALLOWED}, but {}", secret::HIDDEN_PASSWORD));
    }
    if url.fragment().is_some() {
        return Err(format!("{URL_ALLOWED}, without a fragment: what follows a # is never sent"));
    }
    match url.host() {
        None => Err(URL_ALLOWED.to_owned()),
        Some(Host::Ipv4(address)) => allowed(url, address.into(), allow),
        Some(Host::Ipv6(address)) => allowed(url, address.into(), allow),
        Some(Host::Domain(name)) if is_localhost(name) => {
            let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
            if refusal(v4, allow).is_none() && refusal(v6, allow).is_none() {
                return Ok(url);
            }
            Err(not_allowed(name, "a loopback address", LOCALHOST))
        }
        Some(Host::Domain(_)) => Ok(url),
    }
}

fn allowed(url: Url, address: IpAddr, allow: &[IpNet]) -> Result<Url, String> {
    match refusal(address, allow) {
        None => Ok(url),
        Some(refusal) => {
            Err(not_allowed(&address.to_string(), refusal.kind, &format!("\"{}\"", refusal.range)))
        }
    }
}

fn not_allowed(host: &str, kind: &str, ranges: &str) -> String {
    format!(
        "the URL of another host: {host} is {kind}; if that is intended, add allow = [{ranges}] to the route"
    )
}

/// A key that signs requests: after `whsec_` in base64, as Standard Webhooks writes it, else the bytes of the text.
/// The error says what it must be.
fn signing_key(text: &str) -> Result<SigningKey, String> {
    let key = match text.strip_prefix("whsec_") {
        Some(encoded) => STANDARD_NO_PAD
            .decode(encoded.trim_end_matches('='))
            .map_err(|_| "a secret, and after whsec_ it must be base64".to_owned())?,
        None => text.as_bytes().to_vec(),
    };
    if key.is_empty() {
        return Err("a secret that is not empty; 24 to 64 bytes are recommended".to_owned());
    }
    Ok(SigningKey::new(key))
}

/// The text of a file with certificates. The error continues "but ...".
fn certificates(path: &str) -> Result<String, String> {
    let text = bounded_file::read_text(Path::new(path), bounded_file::PEM_BYTES)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("it is not valid: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a certificate in it is not valid: {error}"))?;
    }
    if roots.is_empty() { Err("it has no certificates".to_owned()) } else { Ok(text) }
}
