//! Checks every preset with signed requests, most of them made by the code of the senders: `vectors.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Keys, Presets, Request, Rules, handshake, read, verify};
use crate::domain::secret::Secret;
use crate::domain::verdict::Verdict;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
    handshakes: Vec<Vector>,
}

/// A request, and what is expected of it.
#[derive(Deserialize)]
struct Vector {
    preset: String,
    /// What made the request.
    by: String,
    secrets: Vec<String>,
    public_keys: Vec<String>,
    verify_token: Option<String>,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body_base64: String,
    /// In seconds since 1970.
    at: i64,
    #[serde(default)]
    expect: String,
    #[serde(default)]
    webhooks: Vec<Webhook>,
    answer: Option<Answer>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Webhook {
    key: String,
    event_type: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Answer {
    status: u16,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
}

impl Vector {
    fn rules(&self) -> Rules {
        let secret = |text: &String| Secret::from(text.clone());
        let keys = Keys {
            secrets: self.secrets.iter().map(secret).collect(),
            public_keys: self.public_keys.clone(),
            verify_token: self.verify_token.as_ref().map(secret),
        };
        let preset =
            Presets::built_in().get(&self.preset).unwrap_or_else(|| panic!("no preset {}", self.preset));
        Rules::new(preset.settings.clone(), keys, true)
            .unwrap_or_else(|mistakes| panic!("{} by {}: {mistakes:?}", self.preset, self.by))
    }

    fn body(&self) -> Vec<u8> {
        STANDARD.decode(&self.body_base64).expect("base64")
    }

    /// Calls `look` with the request, with this body.
    fn with_request<T>(&self, body: &[u8], look: impl FnOnce(&Request<'_>) -> T) -> T {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        look(&Request {
            id: "r1",
            method: &self.method,
            url: Some(&self.url),
            query: self.url.split_once('?').map_or("", |(_, query)| query),
            headers: &headers.collect::<Vec<_>>(),
            body,
            received_at: Timestamp::from_second(self.at).expect("in range"),
        })
    }
}

fn vectors() -> Vectors {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sources/vectors.json");
    let text = std::fs::read_to_string(file).expect("the vectors are there");
    serde_json::from_str(&text).expect("vectors")
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Verified => "verified",
        Verdict::Unverified(cause) => cause.as_str(),
        Verdict::None => "none",
    }
}

#[test]
fn requests_of_the_senders_are_verified_and_read() {
    for vector in vectors().vectors {
        let (rules, name) = (vector.rules(), format!("{} by {}", vector.preset, vector.by));
        vector.with_request(&vector.body(), |request| {
            assert_eq!(word(verify(request, &rules)), vector.expect, "{name}");
            let items = read(request, &rules).unwrap_or_else(|error| panic!("{name}: {error}"));
            let webhooks = items.iter().map(|item| Webhook {
                key: item.key.as_str().to_owned(),
                event_type: item.event_type.as_ref().map(|event_type| event_type.as_str().to_owned()),
            });
            assert_eq!(webhooks.collect::<Vec<_>>(), vector.webhooks, "{name}");
        });
    }
}

#[test]
fn every_preset_has_a_request_of_its_sender() {
    let vectors = vectors().vectors;
    for (name, _) in Presets::built_in().iter() {
        assert!(vectors.iter().any(|vector| vector.preset == name), "{name} has none");
    }
}

#[test]
fn a_changed_body_is_refused_wherever_the_body_is_signed() {
    for vector in vectors().vectors.into_iter().filter(|vector| vector.expect == "verified") {
        let rules = vector.rules();
        if !rules.covers_body() {
            continue;
        }
        let body = vector.body();
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            let verdict = vector.with_request(&changed, |request| verify(request, &rules));
            let (preset, by) = (&vector.preset, &vector.by);
            assert!(matches!(verdict, Verdict::Unverified(_)), "{preset} by {by}, byte {at}");
        }
    }
}

#[test]
fn handshakes_of_the_senders_are_answered() {
    for vector in vectors().handshakes {
        let (rules, name) = (vector.rules(), format!("{} by {}", vector.preset, vector.by));
        let answer = vector
            .with_request(&vector.body(), |request| handshake(request, verify(request, &rules), &rules));
        let answer = answer.map(|answer| Answer {
            status: answer.status,
            content_type: answer.content_type,
            headers: answer.headers,
            body: answer.body,
        });
        assert_eq!(answer, vector.answer, "{name}");
    }
}
