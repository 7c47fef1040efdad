//! Requests to sources: verified, read and answered by functions that panic if a promise is broken.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use hookbox::internals::domain::secret::Secret;
use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::sources::{
    Handshake, KeyAddress, KeyServer, Keys, Known, KnownKeys, Presets, Request, Rules, Settings,
    Verification, handshake, read, verify, verify_with,
};
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::corpus::{Fetched, VECTORS};
use super::targets::{pair, split_line};

/// The longest body with which a handshake may be answered, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// A preset whose signature is that of other bodies too: fields of a form can be written in several ways.
const LOOSE: &str = "twilio";

/// A source without a preset, whose names are in forms and queries.
const FORM: &str = r#"
verify = { hmac = "sha256", form = "signature", signed = "{form:id}{query:id}{form_sorted}" }
key = [{ form = ["id", "name"] }, { query = "id" }]
event_type = [{ form = "kind" }, { query = "kind" }]
handshakes = [{ when = [{ form = "challenge", present = true }], verified = false, value = { form = "challenge" }, shape = "text" }]
"#;

/// The sender of a preset, with the keys of its vectors.
struct Sender {
    rules: Rules,
    /// When requests come, in seconds since 1970.
    times: Vec<i64>,
    /// What servers answer that are asked for keys.
    answers: Vec<&'static Fetched>,
}

impl KnownKeys for Sender {
    fn look(&self, address: &KeyAddress) -> Known {
        let url = address.url();
        let is_bare = url.port().is_none() && url.username().is_empty() && url.password().is_none();
        assert!(is_bare && is_of(address.server(), url), "a key is asked for at {url}");
        let question =
            address.question().map(|text| serde_json::from_str::<Value>(text).expect("it is JSON"));
        let is_asked = |known: &&&Fetched| known.url == url.as_str() && known.question == question;
        let Some(known) = self.answers.iter().find(is_asked) else { return Known::Unavailable };
        Known::Keys(Arc::new(address.read(&known.answer()).expect("the answer has keys")))
    }
}

/// Whether a URL that a stranger can choose is one of this server.
fn is_of(server: KeyServer, url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let is_host = match server {
        KeyServer::AwsSns => {
            let ends = [".amazonaws.com", ".amazonaws.com.cn"];
            host.starts_with("sns.") && ends.iter().any(|end| host.ends_with(end))
        }
        KeyServer::PayPal => host.ends_with(".paypal.com"),
        KeyServer::Google => host == "www.googleapis.com",
        KeyServer::Plaid => host.ends_with(".plaid.com"),
        // Requests have no part in it.
        KeyServer::OfSettings => true,
    };
    is_host && url.scheme() == "https"
}

static PRESETS: LazyLock<BTreeMap<&str, Sender>> =
    LazyLock::new(|| Presets::built_in().iter().map(|(name, _)| (name, sender(name))).collect());

static FORM_RULES: LazyLock<Rules> = LazyLock::new(|| {
    let keys = Keys { secrets: vec![Secret::from("a secret".to_owned())], ..Keys::default() };
    let mut settings = Settings::default();
    for (member, value) in toml::from_str::<toml::Table>(FORM).expect("the settings are TOML") {
        settings.set(&member, value).expect("the settings have no mistake");
    }
    Rules::new(settings, keys, false).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
});

/// The bodies that any sender has signed: several presets have the same scheme, and their vectors the same secret.
static SIGNED_BODIES: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| VECTORS.iter().map(|vector| vector.body()).collect());

fn sender(name: &str) -> Sender {
    let preset = Presets::built_in().get(name).expect("the preset is there");
    let vectors = VECTORS.iter().filter(|vector| vector.preset == name).collect::<Vec<_>>();
    let secret = |text: &String| Secret::from(text.clone());
    let keys = Keys {
        secrets: vectors.iter().flat_map(|vector| &vector.secrets).map(secret).collect(),
        public_keys: vectors.iter().flat_map(|vector| &vector.public_keys).cloned().collect(),
        verify_token: vectors.iter().find_map(|vector| vector.verify_token.as_ref()).map(secret),
    };
    let mut settings = Settings::default();
    if let Some(verify) = vectors.iter().find_map(|vector| vector.verify.clone()) {
        settings.set("verify", verify).expect("the members have no mistake");
    }
    let rules = Rules::new(settings.over(&preset.settings), keys, true);
    Sender {
        rules: rules.unwrap_or_else(|mistakes| panic!("{name} needs more: {mistakes:?}")),
        times: vectors.iter().map(|vector| vector.at).collect(),
        answers: vectors.iter().flat_map(|vector| &vector.fetched).collect(),
    }
}

/// A request to the source of a preset: what verifies it, reads it and answers handshakes.
pub(crate) fn source(data: &[u8]) {
    let sent = Sent::of(data);
    let (name, sender) = sent.sender();
    sent.request(sender, |request| {
        let verdict = verified(request, sender);
        let is_exact = sender.rules.covers_body() && name != LOOSE;
        assert!(
            verdict != Verdict::Verified
                || !is_exact
                || SIGNED_BODIES.iter().any(|body| *body == request.body),
            "a body that was not signed is verified for {name}"
        );
        check(request, verdict, &sender.rules);
    });
}

/// The preset of an input of `source`, and what verifying its request finds.
pub(crate) fn verdict_of(data: &[u8]) -> (&'static str, Verdict) {
    let sent = Sent::of(data);
    let (name, sender) = sent.sender();
    (name, sent.request(sender, |request| verified(request, sender)))
}

/// What verifying a request finds, with the keys that servers answer.
fn verified(request: &Request<'_>, sender: &Sender) -> Verdict {
    match verify_with(request, &sender.rules, sender) {
        Verification::Verdict(verdict) => verdict,
        Verification::Needs(address) => panic!("the key at {} is still needed", address.url()),
    }
}

/// Checks what handshakes are answered, and which webhooks are read.
fn check(request: &Request<'_>, verdict: Verdict, rules: &Rules) {
    if let Some(Handshake::Answered(answer)) = handshake(request, verdict, rules) {
        assert!((200..300).contains(&answer.status), "a handshake is answered {}", answer.status);
        assert!(answer.body.len() <= MAX_ANSWER_BYTES, "a handshake is answered {} bytes", answer.body.len());
        let mut texts = answer.headers.iter().flat_map(|(name, value)| [name, value]);
        assert!(!texts.any(|text| text.contains(char::is_control)), "a header has a control character");
        if let Some(visit) = &answer.visit {
            assert!(is_of(KeyServer::AwsSns, visit.url()), "{} is visited", visit.url());
        }
    }
    for item in read(request, rules).unwrap_or_default() {
        let (whole, part) = (request.body.as_ptr_range(), item.body.as_ptr_range());
        assert!(whole.start <= part.start && part.end <= whole.end, "a webhook is no part of the body");
    }
}

/// A query, and on the next lines a form.
pub(crate) fn form(data: &[u8]) {
    let (query, body) = split_line(data);
    let query = String::from_utf8_lossy(query);
    let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
    let request = Request {
        id: "r1",
        method: "POST",
        url: None,
        query: &query,
        headers: &headers,
        body,
        received_at: Timestamp::UNIX_EPOCH,
    };
    let verdict = verify(&request, &FORM_RULES);
    assert!(matches!(verdict, Verdict::Unverified(_)), "a form that was not signed is verified");
    check(&request, verdict, &FORM_RULES);
}

/// A request of an input: the preset, the time, the method and the URL on the first line, then headers, an empty line,
/// and the body.
struct Sent<'a> {
    first: String,
    headers: Vec<(&'a str, &'a [u8])>,
    body: &'a [u8],
}

impl<'a> Sent<'a> {
    fn of(data: &'a [u8]) -> Self {
        let end = data.windows(2).position(|bytes| bytes == b"\n\n").unwrap_or(data.len());
        let (head, body) = data.split_at(end);
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let body = body.strip_prefix(b"\n\n").unwrap_or(body);
        Self { first, headers: lines.filter_map(pair).collect(), body }
    }

    /// The words of the first line; empty ones where there are fewer.
    fn words(&self) -> [&str; 4] {
        let mut words = self.first.splitn(4, ' ');
        [(); 4].map(|()| words.next().unwrap_or_default())
    }

    /// The preset, or any if the input names none.
    fn sender(&self) -> (&'static str, &'static Sender) {
        let [name, ..] = self.words();
        let any = || PRESETS.iter().nth(self.body.len() % PRESETS.len());
        let (name, sender) = PRESETS.get_key_value(name).or_else(any).expect("there are presets");
        (*name, sender)
    }

    fn request<T>(&self, sender: &Sender, look: impl FnOnce(&Request<'_>) -> T) -> T {
        let [_, at, method, url] = self.words();
        // The time is not the sender's to choose: signatures that are as old as they look would verify.
        let at = at.parse::<i64>().ok().filter(|at| sender.times.contains(at)).unwrap_or(sender.times[0]);
        look(&Request {
            id: "r1",
            method,
            url: Some(url),
            query: url.split_once('?').map_or("", |(_, query)| query),
            headers: &self.headers,
            body: self.body,
            received_at: Timestamp::from_second(at).expect("the time of a vector is in range"),
        })
    }
}
