//! What reads the bytes of a stranger before they are verified, as functions that panic if a promise is broken.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue};
use hookbox::internals::domain::content_type::{ContentType, MAX_CONTENT_TYPE_BYTES};
use hookbox::internals::domain::headers::{
    CREDENTIALS, KeptHeaders, MAX_HEADER_BYTES, MAX_HEADERS, read as pairs_of,
};
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::secret::Secret;
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::http::submitted;
use hookbox::internals::sources::{Keys, Presets, Request, Rules, Settings, handshake, read, verify};
use jiff::Timestamp;

use super::callers::{credentials, hosts};
use super::corpus::VECTORS;

/// Reads an input. Panics if a promise is broken.
pub(crate) type Target = fn(&[u8]);

/// All targets, by their names.
pub(crate) const TARGETS: [(&str, Target); 9] = [
    ("source", source),
    ("envelope", envelope),
    ("payload", payload),
    ("headers", headers),
    ("traceparent", traceparent),
    ("content_type", content_type),
    ("form", form),
    ("hosts", hosts),
    ("credentials", credentials),
];

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

/// The rules of a preset, with the keys of its vectors.
struct Known {
    rules: Rules,
    /// When requests come, in seconds since 1970.
    times: Vec<i64>,
}

static PRESETS: LazyLock<BTreeMap<&str, Known>> =
    LazyLock::new(|| Presets::built_in().iter().map(|(name, _)| (name, known(name))).collect());

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

fn known(name: &str) -> Known {
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
    Known {
        rules: rules.unwrap_or_else(|mistakes| panic!("{name} needs more: {mistakes:?}")),
        times: vectors.iter().map(|vector| vector.at).collect(),
    }
}

/// A request to the source of a preset: what verifies it, reads it and answers handshakes.
fn source(data: &[u8]) {
    let sent = Sent::of(data);
    let (name, known) = sent.known();
    sent.request(known, |request| {
        let verdict = verify(request, &known.rules);
        let is_exact = known.rules.covers_body() && name != LOOSE;
        assert!(
            verdict != Verdict::Verified
                || !is_exact
                || SIGNED_BODIES.iter().any(|body| *body == request.body),
            "a body that was not signed is verified for {name}"
        );
        check(request, verdict, &known.rules);
    });
}

/// What verifying the request of an input of `source` finds.
pub(crate) fn verdict_of(data: &[u8]) -> Verdict {
    let sent = Sent::of(data);
    let (_, known) = sent.known();
    sent.request(known, |request| verify(request, &known.rules))
}

/// Checks what handshakes are answered, and which webhooks are read.
fn check(request: &Request<'_>, verdict: Verdict, rules: &Rules) {
    if let Some(answer) = handshake(request, verdict, rules) {
        assert!((200..300).contains(&answer.status), "a handshake is answered {}", answer.status);
        assert!(answer.body.len() <= MAX_ANSWER_BYTES, "a handshake is answered {} bytes", answer.body.len());
        let mut texts = answer.headers.iter().flat_map(|(name, value)| [name, value]);
        assert!(!texts.any(|text| text.contains(char::is_control)), "a header has a control character");
    }
    for item in read(request, rules).unwrap_or_default() {
        let (whole, part) = (request.body.as_ptr_range(), item.body.as_ptr_range());
        assert!(whole.start <= part.start && part.end <= whole.end, "a webhook is no part of the body");
    }
}

/// A body of `POST /v1/webhooks`, after a line with the value of the header `Idempotency-Key`.
fn envelope(data: &[u8]) {
    let (key, body) = split_line(data);
    let mut headers = HeaderMap::new();
    if let Some(key) = HeaderValue::from_bytes(key).ok().filter(|key| !key.is_empty()) {
        headers.insert("idempotency-key", key);
    }
    let Ok((key, event_type, payload)) = submitted(body, &headers) else { return };
    for name in [key.as_str(), event_type.as_str()] {
        assert!((1..=255).contains(&name.chars().count()), "a name is too short or too long");
        assert!(!name.contains(char::is_control), "a name has a control character");
    }
    assert!(payload.content_type().shown_json_of(payload.as_bytes()).is_some(), "a payload cannot be shown");
}

/// A payload: its digest is that of its value.
fn payload(data: &[u8]) {
    let bytes = Payload::of_bytes(data, ContentType::JSON);
    assert_eq!(bytes.as_bytes(), data);
    let text = std::str::from_utf8(data).unwrap_or_default();
    let Ok(payload) = Payload::new(text) else { return };
    assert!(payload.content_type().shown_json_of(payload.as_bytes()).is_some(), "a payload cannot be shown");
    let spaced = Payload::new(format!(" {text}\n")).map(|payload| payload.digest());
    assert_eq!(spaced.ok(), Some(payload.digest()), "white space changes the digest");
    assert_ne!(payload.digest(), bytes.digest(), "a text and its bytes have the same digest");
}

/// The headers that are kept, one on each line.
fn headers(data: &[u8]) {
    let given = data.split(|byte| *byte == b'\n').filter_map(pair).collect::<Vec<_>>();
    let kept = KeptHeaders::keep(given.iter().copied(), |name| name == "x-signature");
    let Some(text) = kept.as_text() else { return };
    let kept = pairs_of(text).expect("what is kept can be read");
    assert!(kept.len() <= MAX_HEADERS, "too many headers are kept");
    let bytes = kept.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    assert!(bytes <= MAX_HEADER_BYTES, "{bytes} bytes of headers are kept");
    for ((given, _), (name, value)) in given.iter().zip(&kept) {
        assert_eq!(*name, given.to_ascii_lowercase());
        let is_hidden = CREDENTIALS.contains(&name.as_str()) || name == "x-signature";
        assert!(!is_hidden || value == "***", "the value of {name} is kept");
    }
}

/// A header `traceparent`.
fn traceparent(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let Some(traceparent) = Traceparent::parse(text) else { return };
    assert_eq!(Traceparent::parse(traceparent.as_str()).as_ref(), Some(&traceparent));
    let trace_id = traceparent.trace_id();
    assert!(trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{trace_id}");
}

/// A header `Content-Type`, and on the next lines a body.
fn content_type(data: &[u8]) {
    let (header, body) = split_line(data);
    let content_type = ContentType::of_header(Some(header));
    let text = content_type.as_str();
    assert!((1..=MAX_CONTENT_TYPE_BYTES).contains(&text.len()), "{} bytes are kept", text.len());
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')), "{text:?} is no header");
    assert_eq!(ContentType::of_header(Some(text.as_bytes())), content_type);
    assert!(!(content_type.is_json() && content_type.is_form()), "{text:?} is JSON and a form");
    let json = content_type.shown_json_of(body).map_or("null", |json| json.get());
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok(), "{json:?} is shown as JSON");
}

/// A query, and on the next lines a form.
fn form(data: &[u8]) {
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
    fn known(&self) -> (&'static str, &'static Known) {
        let [name, ..] = self.words();
        let any = || PRESETS.iter().nth(self.body.len() % PRESETS.len());
        let (name, known) = PRESETS.get_key_value(name).or_else(any).expect("there are presets");
        (*name, known)
    }

    fn request<T>(&self, known: &Known, look: impl FnOnce(&Request<'_>) -> T) -> T {
        let [_, at, method, url] = self.words();
        // The time is not the sender's to choose: signatures that are as old as they look would verify.
        let at = at.parse::<i64>().ok().filter(|at| known.times.contains(at)).unwrap_or(known.times[0]);
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

/// A header on a line; none if it has no name.
pub(crate) fn pair(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    Some((std::str::from_utf8(name).ok()?, value[1..].trim_ascii()))
}

/// The first line, and what comes after it.
pub(crate) fn split_line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, rest) = data.split_at(end);
    (line, rest.get(1..).unwrap_or_default())
}
