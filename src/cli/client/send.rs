//! `hookbox send`: sends a webhook, on request signed as its sender would sign it.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use rand::TryRng as _;
use rand::rngs::SysRng;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use url::{Url, form_urlencoded};

use super::complete::sources;
use super::interrupt::Interrupt;
use super::names::not_empty;
use super::safe::{json_line, safe_lines};
use super::server::{ServerFlags, block_on, url_of, usage};
use super::signing::{Signing, cannot_sign};
use super::tell::{Format, parse, print_status};
use crate::cli::output::print;
use crate::cli::{EXIT_INTERRUPTED, Failure, note};
use crate::client::{Answer, Call, Client, ClientError, refusal};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;
use crate::sources::{Draft, Rules, SignError, sign};

/// The largest body that is sent, in bytes.
const BODY_BYTES: u64 = 256 * 1024 * 1024;

/// The random bytes of the key if the command names none.
const KEY_BYTES: usize = 16;

/// The source whose webhooks have hookbox's own JSON body.
const DEFAULT_SOURCE: &str = "default";

/// The options of `hookbox send`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Send {
    /// The body. @FILE reads a file, and - reads standard input. For the source `default`, it must be JSON
    #[arg(default_value = "{}")]
    body: String,
    /// The event type [default: test, or the one in the body]
    #[arg(long = "type", value_name = "EVENT_TYPE")]
    event_type: Option<String>,
    /// The key of the webhook [default: a random one, or the one in the body]
    #[arg(long, value_parser = not_empty)]
    key: Option<String>,
    /// The source to send to
    #[arg(long, default_value = DEFAULT_SOURCE, value_parser = not_empty, add = ArgValueCandidates::new(sources))]
    source: String,
    #[command(flatten)]
    signing: Signing,
    /// The `public_url` of hookbox, for senders that sign the URL [default: the URL that it is sent to]
    #[arg(long, requires = "preset", value_parser = url_of)]
    public_url: Option<Url>,
    /// A header to send, as NAME: VALUE; can be given several times
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

/// What is needed of the answer to a webhook of the source `default`.
#[derive(Deserialize)]
struct Accepted {
    duplicate: bool,
}

impl Send {
    /// Sends the webhook, and prints the answer.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let body = body(&self.body)?;
        if self.source != DEFAULT_SOURCE {
            self.send_to_source(&client, body)
        } else if self.signing.preset.is_some() {
            Err(usage("--preset needs --source: the source `default` verifies nothing"))
        } else {
            self.send_to_default(&client, &body)
        }
    }

    fn send_to_default(&self, client: &Client, body: &[u8]) -> Result<ExitCode, Failure> {
        let payload = serde_json::from_slice::<&RawValue>(body).map_err(|error| {
            usage(format!("the body of a webhook of the source `default` has to be JSON: {error}"))
        })?;
        let random_key = if self.key.is_none() { Some(random_key()?) } else { None };
        let key = serde_json::Value::from(self.key.as_deref().or(random_key.as_deref()));
        let event_type = serde_json::Value::from(self.event_type.as_deref().unwrap_or("test"));
        let body =
            format!(r#"{{"idempotency_key":{key},"event_type":{event_type},"payload":{}}}"#, payload.get());
        let headers = header_map([("content-type", "application/json")].into_iter().chain(self.given()))?;
        let (path, body) = (&["v1", "webhooks"], Some(body.into_bytes()));
        let call = Call { path, headers, body, ..Call::default() };
        let Some(answer) = answer_to(client.ask(Method::POST, call), random_key.as_deref())? else {
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        };
        print_status(client, &answer, self.format, SystemClock.now())?;
        if !self.format.json && parse::<Accepted>(client, &answer)?.duplicate {
            note("this webhook was accepted before; nothing runs again");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn send_to_source(&self, client: &Client, body: Vec<u8>) -> Result<ExitCode, Failure> {
        let path = ["v1", "sources", self.source.as_str(), "webhooks"];
        let (draft, random_key) = self.draft(client, &path, body)?;
        let query = form_urlencoded::parse(draft.query.as_bytes()).into_owned().collect::<Vec<_>>();
        let query = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
        let headers = draft.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers = header_map(headers)?;
        let call = Call { path: &path, query: &query, headers, body: Some(draft.body) };
        let asking = async {
            let answer = client.send(Method::POST, call).await?;
            if (200..300).contains(&answer.status) { Ok(answer) } else { Err(refusal(&answer)) }
        };
        let Some(answer) = answer_to(asking, random_key.as_deref())? else {
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        };
        self.print(&answer)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The request, signed if a preset is named, and the key of its webhook if that is a random one.
    fn draft(
        &self,
        client: &Client,
        path: &[&str],
        body: Vec<u8>,
    ) -> Result<(Draft, Option<String>), Failure> {
        let mut url = match &self.public_url {
            None => client.url_of(&Call { path, ..Call::default() }),
            Some(url) => url.clone(),
        };
        if let (Some(_), Ok(mut segments)) = (&self.public_url, url.path_segments_mut()) {
            segments.pop_if_empty().extend(path);
        }
        let has_type = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()));
        let content_type = (!has_type).then(|| (CONTENT_TYPE.to_string(), "application/json".to_owned()));
        let draft = Draft {
            id: random_key()?,
            key: self.key.clone(),
            event_type: self.event_type.clone(),
            url: url.into(),
            query: String::new(),
            headers: content_type.into_iter().chain(self.headers.iter().cloned()).collect(),
            body,
            at: SystemClock.now(),
        };
        let Some((preset, rules)) = self.signing.rules()? else {
            if self.key.is_some() || self.event_type.is_some() {
                return Err(usage("--key and --type need --preset, which says where this sender has them"));
            }
            return Ok((draft, None));
        };
        let signed = match &self.key {
            Some(_) => sign(&draft, &rules).map(|signed| (signed, None)),
            None => signed_with_any_key(&draft, &rules),
        };
        signed.map_err(|error| cannot_sign(preset, error))
    }

    fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Prints the answer that the sender would get.
    fn print(&self, answer: &Answer) -> Result<(), Failure> {
        let (status, text) = (answer.status, answer.text());
        if !self.format.json {
            return print(format_args!("{status}  {}\n", safe_lines(text.trim())));
        }
        let body = serde_json::from_str::<&RawValue>(&text)
            .map_or_else(|_| json!(text).to_string(), |json| json.get().to_owned());
        print(json_line(&format!(r#"{{"status":{status},"body":{body}}}"#)) + "\n")
    }
}

/// The answer to a webhook; none if Ctrl-C comes first. If it may be stored without an answer, says by which random key it
/// is known.
fn answer_to<T>(
    asking: impl Future<Output = Result<T, ClientError>>,
    random_key: Option<&str>,
) -> Result<Option<T>, Failure> {
    block_on(async {
        let answer = Interrupt::new()?.race(asking).await;
        let may_be_stored = match &answer {
            Some(Ok(_)) => false,
            Some(Err(error)) => error.may_be_done(),
            None => true,
        };
        if let Some(key) = random_key.filter(|_| may_be_stored) {
            note(&format!(
                "the webhook may be stored; to send it again without storing it twice, add --key {key}"
            ));
        }
        Ok(answer.transpose()?)
    })
}

/// Signs a request for which the command names no key. Returns its key, too, if that is the random one, so that `--key`
/// can name it.
fn signed_with_any_key(draft: &Draft, rules: &Rules) -> Result<(Draft, Option<String>), SignError> {
    let key = Some(draft.id.clone());
    match sign(&Draft { key: key.clone(), ..draft.clone() }, rules) {
        Ok(signed) => Ok((signed, key)),
        // The request has a key of its own, or no place for one.
        Err(SignError::KeyNotSet) => Ok((sign(draft, rules)?, None)),
        Err(error) => Err(error),
    }
}

/// The key of a webhook for which the command names none.
fn random_key() -> Result<String, Failure> {
    let mut bytes = [0; KEY_BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(Box::new)?;
    Ok(format!("send-{:032x}", u128::from_be_bytes(bytes)))
}

/// The body that an argument names.
fn body(argument: &str) -> Result<Vec<u8>, Failure> {
    let read = |from: &mut dyn Read| {
        let mut bytes = Vec::new();
        from.take(BODY_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    let read = match argument.strip_prefix('@') {
        Some(path) => File::open(path).and_then(|mut file| read(&mut file)),
        None if argument == "-" => read(&mut io::stdin().lock()),
        None => Ok(argument.as_bytes().to_vec()),
    };
    let bytes = read.map_err(|error| usage(format!("cannot read the body {argument}: {error}")))?;
    if bytes.len() as u64 > BODY_BYTES {
        return Err(usage(format!("the body has more than {BODY_BYTES} bytes")));
    }
    Ok(bytes)
}

fn header_map<'h>(headers: impl IntoIterator<Item = (&'h str, &'h str)>) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let wrong = || usage(format!("the header {name} has a name or a value that no header can have"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
        // It may be a token.
        value.set_sensitive(true);
        map.append(header, value);
    }
    Ok(map)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("it must be NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
