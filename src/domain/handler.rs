//! What a route's settings say about its handler. Each handler has settings of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::breaker::BreakerPolicy;
use super::secret::Secret;

/// The most connections to the target of a route that wait for a request. HTTP/2 needs one.
pub const IDLE_CONNECTIONS: usize = 256;

/// The handler of a route, with its settings.
#[derive(Clone, Debug)]
pub enum HandlerSettings {
    /// Sleeps.
    Simulate(Simulate),
    /// Sends the webhook to a URL.
    Http(Arc<Http>),
    /// Runs a program.
    Exec(Arc<Exec>),
    /// Nothing runs in hookbox: workers elsewhere lease the jobs.
    Pull,
    /// A handler without settings, by its name: one that a program with hookbox as a library brings.
    Named(Box<str>),
}

impl HandlerSettings {
    /// The name of the handler, as in the settings.
    pub fn name(&self) -> &str {
        match self {
            Self::Simulate(_) => "simulate",
            Self::Http(_) => "http",
            Self::Exec(_) => "exec",
            Self::Pull => "pull",
            Self::Named(name) => name,
        }
    }

    /// Where the handler brings webhooks, for people: a [URL](Http::public_url), or a program.
    pub fn target(&self) -> Option<String> {
        match self {
            Self::Http(http) => Some(http.public_url().into()),
            Self::Exec(exec) => exec.command.first().cloned(),
            Self::Simulate(_) | Self::Pull | Self::Named(_) => None,
        }
    }

    /// How many files of hookbox a running attempt keeps open: the pipes of a program, or a connection.
    pub fn open_files(&self) -> usize {
        match self {
            Self::Exec(_) => 3,
            Self::Http(_) => 1,
            Self::Simulate(_) | Self::Pull | Self::Named(_) => 0,
        }
    }
}

impl Default for HandlerSettings {
    /// The handler `simulate`, which completes at once.
    fn default() -> Self {
        Self::Simulate(Simulate::default())
    }
}

impl std::fmt::Display for HandlerSettings {
    /// The name of the handler.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How long the handler `simulate` runs, and how often it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Simulate {
    /// The shortest run.
    pub min: Duration,
    /// The longest run.
    pub max: Duration,
    /// The share of attempts that fail, 0 to 1.
    pub failure_rate: f64,
}

/// The settings of the handler `http`.
#[derive(Clone)]
pub struct Http {
    /// Where webhooks are sent: an absolute `http` or `https` URL. May have credentials, which are sent as
    /// `Authorization: Basic`.
    pub url: Url,
    /// Whether the settings name a place that has the URL: then it is a secret, such as that of an incoming webhook.
    pub is_url_secret: bool,
    /// Further headers of the request: names in lower case, and values.
    pub headers: Vec<(String, Secret)>,
    /// The keys that sign requests. The first one signs; requests are not signed if there is none.
    pub secrets: Vec<SigningKey>,
    /// Private addresses that the handler may connect to.
    pub allow: Vec<IpNet>,
    /// The certificates of authorities to trust in place of those of the system, as PEM.
    pub ca: Option<Box<str>>,
    /// The longest delay that an answer's `Retry-After` may ask for; none means `retry.cap`.
    pub retry_after_cap: Option<Duration>,
    /// When requests stop because the target is down, and for how long.
    pub breaker: BreakerPolicy,
}

impl Http {
    /// The URL for people: without credentials and query, which may be secret. Of a URL that is a secret, only scheme, host
    /// and port.
    pub fn public_url(&self) -> Url {
        let mut url = self.url_without_credentials();
        url.set_query(None);
        if self.is_url_secret {
            url.set_path("");
        }
        url
    }

    /// The URL without credentials.
    pub fn url_without_credentials(&self) -> Url {
        let mut url = self.url.clone();
        // An error means that the URL cannot have credentials, so there are none.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url
    }
}

impl std::fmt::Debug for Http {
    /// Shows no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>();
        f.debug_struct("Http")
            .field("url", &self.public_url().as_str())
            .field("headers", &names)
            .field("secrets", &self.secrets.len())
            .field("allow", &self.allow)
            .field("has_ca", &self.ca.is_some())
            .field("retry_after_cap", &self.retry_after_cap)
            .field("breaker", &self.breaker)
            .finish()
    }
}

/// The key that signs requests as in Standard Webhooks: the bytes of the secret.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// A key of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes. Do not print or log them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The settings of the handler `exec`.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The program and its arguments. An argument may be a [placeholder](super::placeholder::Placeholder).
    pub command: Vec<String>,
    /// The folder in which the program runs; none means that of hookbox.
    pub cwd: Option<PathBuf>,
    /// Variables of the environment that the program gets besides those of hookbox, read when the settings were.
    pub env: Vec<(String, Secret)>,
    /// `PATH` of the program.
    pub path: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_program_keeps_three_files_open() {
        let (command, env) = (vec!["/bin/deploy".to_owned()], Vec::new());
        let exec = HandlerSettings::Exec(Arc::new(Exec { command, cwd: None, env, path: "/bin".to_owned() }));
        assert_eq!([exec, HandlerSettings::default()].map(|handler| handler.open_files()), [3, 0]);
    }

    #[test]
    fn settings_formatted_with_debug_and_targets_show_no_secret() {
        let secret = "s3cret";
        let http = |is_url_secret| {
            HandlerSettings::Http(Arc::new(Http {
                url: Url::parse("https://me:s3cret@hooks.example:8443/orders?token=s3cret").expect("valid"),
                is_url_secret,
                headers: vec![("x-team".to_owned(), Secret::from(secret.to_owned()))],
                secrets: vec![SigningKey::new(secret.as_bytes().to_vec())],
                allow: Vec::new(),
                ca: None,
                retry_after_cap: None,
                breaker: BreakerPolicy::default(),
            }))
        };
        let (http, with_secret_url) = (http(false), http(true));
        assert_eq!(http.target().as_deref(), Some("https://hooks.example:8443/orders"));
        assert_eq!(with_secret_url.target().as_deref(), Some("https://hooks.example:8443/"));
        assert!(!format!("{with_secret_url:?}").contains("orders"), "{with_secret_url:?}");
        let exec = HandlerSettings::Exec(Arc::new(Exec {
            command: vec!["/bin/deploy".to_owned()],
            cwd: None,
            env: vec![("TOKEN".to_owned(), Secret::from(secret.to_owned()))],
            path: "/bin".to_owned(),
        }));
        assert_eq!(exec.target().as_deref(), Some("/bin/deploy"));
        let shown = format!("{http:?} {exec:?}");
        assert!(!shown.contains(secret), "{shown}");
        assert!(shown.contains("x-team"), "{shown}");
    }
}
