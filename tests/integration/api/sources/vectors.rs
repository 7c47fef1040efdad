//! Requests as the code of the senders signed them, over HTTP: `src/sources/vectors.json`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::stored;
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::home::Home;
use crate::api::harness::{Hookbox, Sqlite};

const PUBLIC_URL: &str = "https://hooks.example.com";

#[derive(Deserialize)]
pub(super) struct Vectors {
    pub(super) vectors: Vec<Vector>,
    pub(super) handshakes: Vec<Vector>,
}

/// A request, and what is expected of it.
#[derive(Clone, Deserialize)]
pub(super) struct Vector {
    pub(super) preset: String,
    by: String,
    secrets: Vec<String>,
    public_keys: Vec<String>,
    verify_token: Option<String>,
    /// Members of `verify` besides those of the preset.
    verify: Option<Map<String, Value>>,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body_base64: String,
    /// In seconds since 1970.
    at: i64,
    /// What servers answer that are asked for keys.
    #[serde(default)]
    fetched: Vec<Fetched>,
    #[serde(default)]
    pub(super) expect: String,
    #[serde(default)]
    webhooks: Vec<Webhook>,
    answer: Option<Expected>,
}

#[derive(Clone, Deserialize)]
struct Fetched {
    answer_base64: String,
}

#[derive(Clone, Debug, PartialEq, PartialOrd, Eq, Ord, Deserialize)]
struct Webhook {
    key: String,
    event_type: Option<String>,
}

#[derive(Clone, Deserialize)]
struct Expected {
    status: u16,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
    /// The URL that is visited first.
    visit: Option<String>,
}

impl Vector {
    /// The path and the query of the source; none if the sender signed another URL.
    fn target(&self) -> Option<&str> {
        let target = self.url.strip_prefix(PUBLIC_URL)?;
        target.starts_with(&format!("/v1/sources/{}/webhooks", self.preset)).then_some(target)
    }

    /// The source, as the settings describe it. Texts of JSON, and arrays of them, are those of TOML.
    pub(super) fn source(&self) -> String {
        let mut text = format!("[sources.{0}]\npreset = \"{0}\"\n", self.preset);
        for (member, keys) in [("secrets", &self.secrets), ("public_keys", &self.public_keys)] {
            if !keys.is_empty() {
                text += &format!("{member} = {}\n", serde_json::to_string(keys).unwrap());
            }
        }
        if let Some(token) = &self.verify_token {
            text += &format!("verify_token = \"{token}\"\n");
        }
        if let Some(verify) = &self.verify {
            let members = verify.iter().map(|(member, value)| format!("{member} = {value}"));
            text += &format!("verify = {{ {} }}\n", members.collect::<Vec<_>>().join(", "));
        }
        text
    }

    /// When the request was signed.
    pub(super) fn time(&self) -> String {
        jiff::Timestamp::from_second(self.at).unwrap().to_string()
    }

    /// What the server of the sender answers that is asked for its key.
    pub(super) fn key(&self) -> String {
        String::from_utf8(STANDARD.decode(&self.fetched[0].answer_base64).unwrap()).unwrap()
    }

    /// Whether the key of the sender is fetched.
    pub(super) fn is_fetched(&self) -> bool {
        !self.fetched.is_empty()
    }

    pub(super) fn body(&self) -> String {
        String::from_utf8(STANDARD.decode(&self.body_base64).unwrap()).unwrap()
    }

    /// The request with another body and the same headers.
    pub(super) fn with_body(&self, body: &str) -> Self {
        Self { body_base64: STANDARD.encode(body), ..self.clone() }
    }

    pub(super) async fn send(&self, rest: &Rest) -> Answer {
        let method = Method::from_bytes(self.method.as_bytes()).unwrap();
        let request = rest.request(method, self.target().unwrap());
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        Answer::of(request.body(self.body())).await
    }
}

/// All vectors.
pub(super) fn all() -> Vectors {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sources/vectors.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The vectors that can be sent over HTTP, but for those that make hookbox fetch a key or visit a URL.
fn vectors() -> Vectors {
    let mut all = all();
    all.vectors.retain(|vector| vector.target().is_some() && !vector.is_fetched());
    all.handshakes.retain(|vector| vector.answer.as_ref().is_some_and(|answer| answer.visit.is_none()));
    all
}

/// A hookbox with the sources of some vectors, at their time.
fn hookbox(vectors: &[&Vector]) -> Hookbox {
    let sources: BTreeMap<_, _> =
        vectors.iter().map(|vector| (vector.preset.as_str(), vector.source())).collect();
    let sources = sources.into_values().collect::<String>();
    let home = Home::new(Sqlite, &format!("public_url = \"{PUBLIC_URL}\"\n{sources}"));
    Hookbox::at(home, &vectors[0].time(), &[])
}

#[tokio::test]
async fn requests_of_the_senders_are_verified_and_stored() {
    let all = vectors().vectors;
    assert!(all.len() >= 75, "{}", all.len());
    // One hookbox for each time, and for each of several requests of the same sender: they may have different keys.
    let mut rounds = BTreeMap::<(i64, usize), Vec<&Vector>>::new();
    for (place, vector) in all.iter().enumerate() {
        let is_like = |other: &&Vector| other.preset == vector.preset && other.at == vector.at;
        let earlier = all[..place].iter().filter(is_like).count();
        rounds.entry((vector.at, earlier)).or_default().push(vector);
    }
    for vectors in rounds.values() {
        let hookbox = hookbox(vectors);
        for vector in vectors {
            let name = format!("{} by {}", vector.preset, vector.by);
            let answer = vector.send(&hookbox.rest).await;
            assert!((200..300).contains(&answer.status), "{name}: {} {}", answer.status, answer.text);
            let webhooks = stored(&hookbox.rest, &vector.preset).await;
            assert_eq!(named(&webhooks, vector), expected(vector), "{name}");
            for webhook in webhooks {
                let webhook = hookbox.rest.webhook(webhook["id"].as_str().unwrap()).await;
                assert_eq!(webhook["verdict"], vector.expect, "{name}");
            }
        }
    }
}

/// The key of a webhook that has none but the id of its request.
const OF_REQUEST: &str = "the request";

fn named(webhooks: &[Value], vector: &Vector) -> Vec<Webhook> {
    let is_expected = |key: &str| vector.webhooks.iter().any(|webhook| webhook.key == key);
    let text = |webhook: &Value, member: &str| webhook[member].as_str().unwrap().to_owned();
    let named = webhooks.iter().map(|webhook| Webhook {
        key: Some(text(webhook, "idempotency_key"))
            .filter(|key| is_expected(key))
            .unwrap_or_else(|| OF_REQUEST.to_owned()),
        event_type: Some(text(webhook, "event_type")),
    });
    let mut named = named.collect::<Vec<_>>();
    named.sort();
    named
}

fn expected(vector: &Vector) -> Vec<Webhook> {
    let webhooks = vector.webhooks.iter().map(|webhook| Webhook {
        key: if webhook.key.starts_with("r1") { OF_REQUEST.to_owned() } else { webhook.key.clone() },
        event_type: Some(webhook.event_type.clone().unwrap_or_else(|| vector.preset.clone())),
    });
    let mut webhooks = webhooks.collect::<Vec<_>>();
    webhooks.sort();
    webhooks
}

#[tokio::test]
async fn handshakes_of_the_senders_are_answered_and_nothing_is_stored() {
    let all = vectors().handshakes;
    let hookbox = hookbox(&all.iter().collect::<Vec<_>>());
    for vector in &all {
        let name = format!("{} by {}", vector.preset, vector.by);
        let answer = vector.send(&hookbox.rest).await;
        let expected = vector.answer.as_ref().unwrap();
        assert_eq!((answer.status, &answer.text), (expected.status, &expected.body), "{name}");
        let content_type = expected.content_type.as_deref().unwrap_or_default();
        assert_eq!(answer.header("content-type"), content_type, "{name}");
        for (header, value) in &expected.headers {
            assert_eq!(answer.header(header), value, "{name}");
        }
        assert!(stored(&hookbox.rest, &vector.preset).await.is_empty(), "{name}");
    }
}
