//! The targets of routes, each with its clients and what is the same in all of its requests.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::clients::{CONNECT_TIME, Clients, ping_time};
use super::lookups::Lookups;
use super::secret_url::SecretParts;
use crate::domain::handler::Http as Settings;
use crate::domain::route::RouteName;

/// The targets of routes. That of a route is kept until the settings of the route change, and its connections until
/// the settings of connections do. Targets of routes that are gone stay, without connections.
#[derive(Debug, Default)]
pub(super) struct Targets {
    by_route: Mutex<HashMap<RouteName, Arc<Target>>>,
    lookups: Lookups,
}

/// Where the requests of a route go, and what is the same in all of them.
pub(super) struct Target {
    /// The settings that it was made of.
    settings: Arc<Settings>,
    /// How long it has to answer a ping.
    ping_time: Duration,
    pub(super) clients: Clients,
    /// The URL without credentials.
    pub(super) url: Url,
    /// The URL for people.
    pub(super) public_url: Url,
    /// What of the URL answers are not shown with.
    pub(super) secret_parts: SecretParts,
    /// The headers from the settings.
    pub(super) headers: HeaderMap,
}

impl fmt::Debug for Target {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("url", &self.public_url.as_str()).finish_non_exhaustive()
    }
}

/// Why requests to a target cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// A header of the settings is not valid.
    #[error("the header `{0}` of the route is not valid")]
    Header(String),
    /// The certificates in `ca` are not valid.
    #[error("the certificates in `ca` of the route are not valid")]
    Authorities,
    /// TLS does not take its settings.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The client does not take its settings.
    #[error("cannot set up the HTTP client")]
    Client(#[from] reqwest::Error),
}

impl Targets {
    pub(super) fn new(lookups: Lookups) -> Self {
        Self { by_route: Mutex::default(), lookups }
    }

    /// The target of a route with these settings, and this timeout of attempts.
    pub(super) fn get(
        &self,
        route: &RouteName,
        settings: &Arc<Settings>,
        timeout: Option<Duration>,
    ) -> Result<Arc<Target>, SetupError> {
        let ping_time = ping_time(timeout);
        let mut by_route = self.by_route.lock().unwrap_or_else(PoisonError::into_inner);
        let before = by_route.get(route);
        if let Some(target) = before
            && Arc::ptr_eq(&target.settings, settings)
            && target.ping_time == ping_time
        {
            return Ok(Arc::clone(target));
        }
        let connects_alike = |target: &&Arc<Target>| {
            target.settings.allow == settings.allow
                && target.settings.ca == settings.ca
                && target.ping_time == ping_time
        };
        let clients = match before.filter(connects_alike) {
            Some(target) => target.clients.clone(),
            None => Clients::new(settings, &self.lookups, CONNECT_TIME, ping_time)?,
        };
        let target = Arc::new(Target {
            settings: Arc::clone(settings),
            ping_time,
            clients,
            url: settings.url_without_credentials(),
            public_url: settings.public_url(),
            secret_parts: SecretParts::of(settings),
            headers: headers(settings)?,
        });
        by_route.insert(route.clone(), Arc::clone(&target));
        Ok(target)
    }
}

/// The headers from the settings. Those of the credentials in the URL are among them.
fn headers(settings: &Settings) -> Result<HeaderMap, SetupError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let invalid = || SetupError::Header(name.clone());
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        headers.insert(header, secret(value.expose()).ok_or_else(invalid)?);
    }
    let (user, password) = (settings.url.username(), settings.url.password());
    if !user.is_empty() || password.is_some() {
        let decoded = |text: &str| percent_decode_str(text).collect::<Vec<_>>();
        let credentials = [decoded(user), b":".to_vec(), decoded(password.unwrap_or_default())].concat();
        let value = secret(&format!("Basic {}", STANDARD.encode(credentials)));
        headers.insert(AUTHORIZATION, value.ok_or_else(|| SetupError::Header("authorization".to_owned()))?);
    }
    Ok(headers)
}

/// The value of a header that must not be logged.
fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::domain::breaker::{BreakerPolicy, Health};
    use crate::domain::secret::Secret;
    use crate::handlers::http::fault::Fault;
    use crate::handlers::http::lookups::Resolver;
    use crate::handlers::http::measure::{Known, Progress, WaitsFor};

    fn settings(url: &str, allow: &str) -> Arc<Settings> {
        Arc::new(Settings {
            url: url.parse().expect("a URL"),
            is_url_secret: false,
            headers: vec![("x-team".to_owned(), Secret::from("s3cret".to_owned()))],
            secrets: Vec::new(),
            allow: vec![allow.parse().expect("a range")],
            ca: None,
            retry_after_cap: None,
            breaker: BreakerPolicy::default(),
        })
    }

    #[test]
    fn a_target_is_kept_until_the_settings_of_its_route_change() {
        let (targets, route) = (Targets::default(), RouteName::default());
        let get = |settings: &Arc<Settings>| targets.get(&route, settings, None).expect("is made");
        let first = settings("http://hooks.example/", "10.0.0.0/8");
        assert!(Arc::ptr_eq(&get(&first), &get(&first)));
        let other = settings("http://hooks.example/other", "10.0.0.0/8");
        assert_eq!(get(&other).url.path(), "/other");
        assert_eq!(get(&first).url.path(), "/");
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_refused_address_is_not_connected_to() {
        let only_v6 = settings("http://localhost:9/", "::1/128");
        let target = Targets::default().get(&RouteName::default(), &only_v6, None).expect("is made");
        let error = target.clients.keeping.post(target.url.clone()).send().await.expect_err("is refused");
        let fault = Fault::of_request(&error, &Known { waits_for: WaitsFor::Name, ..Known::default() });
        let expected = "localhost resolves to 127.0.0.1, which hookbox does not connect to";
        assert!(fault.error.contains(expected), "{fault:?}");
        assert!(
            fault.error.ends_with("write allow = [\"127.0.0.1/32\", \"::1/128\"] in the route"),
            "{fault:?}"
        );
        assert_eq!(fault.health(), None, "it does not open the breaker");
    }

    #[tokio::test]
    async fn a_connection_timeout_names_the_step_that_did_not_end() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let hangs: Arc<Resolver> = Arc::new(|_: String| std::future::pending().boxed());
        let tls = format!("https://{}/", silent.local_addr().expect("an address"));
        for (url, expected) in [
            ("http://hooks.example/", "the name of the target was not resolved within 10s"),
            (&tls, "no connection with TLS to the target within 10s"),
        ] {
            let settings = settings(url, "127.0.0.0/8");
            let (soon, lookups) = (Duration::from_millis(20), Lookups::new(Arc::clone(&hangs)));
            let clients = Clients::new(&settings, &lookups, soon, ping_time(None)).expect("is made");
            let progress = Arc::new(Progress::to(&settings.url));
            let sending = clients.keeping.post(settings.url.clone()).send();
            let error = Arc::clone(&progress).measuring(sending).await.expect_err("is not connected");
            let fault = Fault::of_request(&error, &progress.known());
            assert_eq!(fault.error, expected);
            assert_eq!(fault.health(), Some(Health::Down), "{url}");
        }
    }

    #[test]
    fn credentials_in_the_url_become_a_header() {
        let with = settings("http://me:s%20cret@hooks.example/?a=b", "10.0.0.0/8");
        let target = Targets::default().get(&RouteName::default(), &with, None).expect("is made");
        // `me:s cret`
        assert_eq!(target.headers[AUTHORIZATION], "Basic bWU6cyBjcmV0");
        assert_eq!(target.url.as_str(), "http://hooks.example/?a=b");
        assert_eq!(target.public_url.as_str(), "http://hooks.example/");
        let shown = format!("{target:?}");
        assert!(["%20cret", "s3cret", "bWU6"].iter().all(|secret| !shown.contains(secret)), "{shown}");
    }
}
