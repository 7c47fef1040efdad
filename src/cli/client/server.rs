//! Which hookbox a command asks, and the exit codes of what it answers.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use url::Url;

use super::hints::for_commands;
use super::safe::safe_lines;
use crate::bounded_file;
use crate::cli::Failure;
use crate::cli::settings::{client_token, variable};
use crate::client::{Client, ClientError, Connection, Identity, SetupError};
use crate::config::{CA_VARIABLE, CLIENT_CERT_VARIABLE, CLIENT_KEY_VARIABLE, EXIT_USAGE, URL_VARIABLE};
use crate::domain::error::Reason;

/// The hookbox that is asked unless another one is named.
pub(in crate::cli) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// There is no such webhook, route or source (`EX_NOINPUT` of `sysexits.h`).
const EXIT_NOT_FOUND: u8 = 66;

/// hookbox does not answer, or its store is not available (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;

/// A rate limit is used up (`EX_TEMPFAIL`).
const EXIT_LATER: u8 = 75;

/// The token is missing, wrong, or does not allow this (`EX_NOPERM`).
const EXIT_NOT_ALLOWED: u8 = 77;

/// Any other refusal.
const EXIT_REFUSED: u8 = 1;

/// Which hookbox to ask.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServerFlags {
    /// The URL of hookbox [default: http://127.0.0.1:8080] [env: HOOKBOX_URL]. A token comes from HOOKBOX_TOKEN
    #[arg(long, value_parser = url_of)]
    url: Option<Url>,
    /// A file with the certificates of the authorities to trust, in PEM, in place of those that the system trusts [env:
    /// HOOKBOX_CA]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with the certificate to show to a hookbox that has `client_ca`, in PEM [env: HOOKBOX_CLIENT_CERT]
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// A file with the private key of this certificate, in PEM [env: HOOKBOX_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    client_key: Option<PathBuf>,
}

impl ServerFlags {
    /// The client of this hookbox.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        self.client_within(None)
    }

    /// The flags that were given, each with its value.
    pub(super) fn flags(&self) -> impl Iterator<Item = (&'static str, String)> {
        let url = self.url.as_ref().map(Url::to_string);
        let files =
            [("--ca", &self.ca), ("--client-cert", &self.client_cert), ("--client-key", &self.client_key)];
        let files = files.map(|(flag, file)| (flag, file.as_ref().map(|file| file.display().to_string())));
        [("--url", url)].into_iter().chain(files).filter_map(|(flag, value)| Some((flag, value?)))
    }

    /// A client that waits this long for an answer; none for the usual time.
    fn client_within(&self, answer_time: Option<Duration>) -> Result<Client, Failure> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => default_url()?,
        };
        let authorities = pem_of(self.ca.as_deref(), CA_VARIABLE)?;
        let identity = self.identity()?;
        let connection = Connection { url, token: client_token(), authorities, identity, answer_time };
        Ok(Client::new(connection)?)
    }

    /// The certificate to show; none if none is named.
    fn identity(&self) -> Result<Option<Identity>, Failure> {
        let certificates = pem_of(self.client_cert.as_deref(), CLIENT_CERT_VARIABLE)?;
        let key = pem_of(self.client_key.as_deref(), CLIENT_KEY_VARIABLE)?;
        match (certificates, key) {
            (Some(certificates), Some(key)) => Ok(Some(Identity { certificates, key: key.into() })),
            (None, None) => Ok(None),
            _ => Err(usage(format!(
                "a certificate needs its key; name both files, with --client-cert and --client-key or with \
                 {CLIENT_CERT_VARIABLE} and {CLIENT_KEY_VARIABLE}"
            ))),
        }
    }
}

/// The text of the file that a flag names, or a variable if there is no flag; none if neither names one.
fn pem_of(flag: Option<&Path>, name: &str) -> Result<Option<String>, Failure> {
    let Some(path) = flag.map(Path::to_owned).or_else(|| variable(name).map(PathBuf::from)) else {
        return Ok(None);
    };
    let pem = bounded_file::read_text(&path, bounded_file::PEM_BYTES);
    pem.map(Some).map_err(|error| usage(format!("cannot read {}: {error}", path.display())))
}

/// A client that gives up early, for completions; none if it cannot be set up.
pub(super) fn impatient_client(answer_time: Duration) -> Option<Client> {
    ServerFlags::default().client_within(Some(answer_time)).ok()
}

fn default_url() -> Result<Url, Failure> {
    let url = variable(URL_VARIABLE).unwrap_or_else(|| DEFAULT_URL.to_owned());
    url_of(&url).map_err(|problem| usage(format!("{URL_VARIABLE} is not valid: {problem}")))
}

/// Reads the URL of a server.
pub(super) fn url_of(text: &str) -> Result<Url, String> {
    let wanted = "it must be http://<host>:<port> or https://<host>:<port>";
    let url = text.parse::<Url>().map_err(|_| wanted.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(wanted.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must have neither a user nor a password; a token comes from HOOKBOX_TOKEN".to_owned());
    }
    Ok(url)
}

/// Runs a command to its end.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// A mistake in the command line.
pub(in crate::cli) fn usage(text: impl Into<String>) -> Failure {
    Failure::Coded(EXIT_USAGE, text.into().into())
}

/// A refusal that has no code of its own.
pub(super) fn refused(text: impl Into<String>) -> Failure {
    Failure::Coded(EXIT_REFUSED, text.into().into())
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::Coded(EXIT_USAGE, error.into())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Unreachable { .. } => EXIT_UNAVAILABLE,
            ClientError::Unexpected { .. } => EXIT_REFUSED,
            ClientError::NoName { .. } => EXIT_USAGE,
            ClientError::Refused { status, reason, .. } => code_of(*status, reason),
        };
        let advice = match &error {
            ClientError::Refused { status: 401, reason, .. } if !is_unverified(reason) => {
                "; set HOOKBOX_TOKEN to a token of this hookbox"
            }
            ClientError::Refused { reason, .. } if reason == Reason::Forbidden.as_str() => {
                "; the token is the one in HOOKBOX_TOKEN"
            }
            _ => "",
        };
        // The text can have parts that others chose.
        Self::Coded(code, format!("{}{advice}", safe_lines(&for_commands(&error.to_string()))).into())
    }
}

/// The exit code of a refusal. A source answers every overload with the same status, 503 or 429, so that only the reason
/// tells a rate limit from a store that is not available.
fn code_of(status: u16, reason: &str) -> u8 {
    let is_any_of = |reasons: &[Reason]| reasons.iter().any(|known| known.as_str() == reason);
    match status {
        429 | 503 if is_any_of(&[Reason::RateLimited]) => EXIT_LATER,
        429 if is_any_of(&[Reason::BacklogFull, Reason::StoreUnavailable, Reason::ShuttingDown]) => {
            EXIT_UNAVAILABLE
        }
        400 => EXIT_USAGE,
        // It is about what `hookbox send` has signed, and not about the token.
        401 if is_unverified(reason) => EXIT_REFUSED,
        401 | 403 => EXIT_NOT_ALLOWED,
        404 => EXIT_NOT_FOUND,
        429 => EXIT_LATER,
        502..=504 => EXIT_UNAVAILABLE,
        _ => EXIT_REFUSED,
    }
}

/// Whether a source has refused a request because it is not verified.
fn is_unverified(reason: &str) -> bool {
    reason == Reason::NotVerified.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_that_of_a_server_without_credentials() {
        for good in ["http://127.0.0.1:8080", "https://hooks.example.com", "https://example.com/inbox/"] {
            assert!(url_of(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:8080", "ftp://a", "http://me:s3cret@a", "http://a?b", "http://a#b", "hooks"] {
            assert!(url_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_has_the_exit_code_of_its_status() {
        let code = |status: u16| {
            let (reason, detail) = (String::new(), "no\u{1b}[2J".to_owned());
            match Failure::from(ClientError::Refused { status, reason, detail }) {
                Failure::Coded(code, text) => (code, text.to_string()),
                other => panic!("{other:?}"),
            }
        };
        let codes = [(400, 64), (401, 77), (403, 77), (404, 66), (409, 1), (429, 75), (503, 69)];
        for (status, expected) in codes {
            let (code, text) = code(status);
            assert_eq!(code, expected, "{status}");
            assert!(text.starts_with("no\\u{1b}[2J"), "{text}");
        }
        assert!(code(401).1.contains("HOOKBOX_TOKEN"));
    }

    #[test]
    fn the_overload_of_a_source_has_the_exit_code_of_its_reason() {
        for (reason, expected) in [
            (Reason::RateLimited, EXIT_LATER),
            (Reason::BacklogFull, EXIT_UNAVAILABLE),
            (Reason::StoreUnavailable, EXIT_UNAVAILABLE),
            (Reason::ShuttingDown, EXIT_UNAVAILABLE),
        ] {
            for status in [429, 503] {
                assert_eq!(code_of(status, reason.as_str()), expected, "{status} {reason:?}");
            }
        }
    }
}
