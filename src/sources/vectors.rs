//! Checks every preset with signed requests, most of them made by the code of the senders: `vectors.json`.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::settings::Verify;
use super::{
    Handshake, KeyAddress, Keys, Known, KnownKeys, Mistake, Presets, Request, Rules, Settings, Verification,
    handshake, read, verify_with,
};
use crate::domain::secret::Secret;
use crate::domain::verdict::Verdict;

#[derive(Deserialize)]
pub(super) struct Vectors {
    pub(super) vectors: Vec<Vector>,
    pub(super) handshakes: Vec<Vector>,
    /// Requests that senders have published, and whose bodies are no events: only their signatures are checked.
    examples: Vec<Vector>,
}

/// A request, and what is expected of it.
#[derive(Clone, Deserialize)]
pub(super) struct Vector {
    pub(super) preset: String,
    /// What made or published the request, or the page after which it was made.
    pub(super) by: String,
    pub(super) secrets: Vec<String>,
    public_keys: Vec<String>,
    verify_token: Option<String>,
    /// Members of `verify` besides those of the preset.
    pub(super) verify: Option<Value>,
    method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    body_base64: String,
    /// In seconds since 1970.
    pub(super) at: i64,
    /// What servers answer that are asked for keys.
    #[serde(default)]
    pub(super) fetched: Vec<Fetched>,
    #[serde(default)]
    pub(super) expect: String,
    #[serde(default)]
    webhooks: Vec<Webhook>,
    answer: Option<Answer>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Fetched {
    url: String,
    question: Option<Value>,
    answer_base64: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Webhook {
    key: String,
    event_type: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Answer {
    status: u16,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
    visit: Option<String>,
}

impl Vector {
    pub(super) fn rules(&self) -> Rules {
        self.compiled(self.settings())
            .unwrap_or_else(|mistakes| panic!("{} by {}: {mistakes:?}", self.preset, self.by))
    }

    /// The schemes that verify the request by themselves: the place of each in `verify`, and the rules with it alone.
    pub(super) fn verifying(&self) -> Vec<(usize, Rules)> {
        let (settings, body) = (self.settings(), self.body());
        let rules = settings.schemes().iter().enumerate().filter_map(|(at, scheme)| {
            let verify = Some(Verify::Schemes(vec![scheme.clone()]));
            // Those that fail lack the key of this scheme.
            let rules = self.compiled(Settings { verify, ..settings.clone() }).ok()?;
            (self.verdict(&body, &rules) == Verdict::Verified).then_some((at, rules))
        });
        rules.collect()
    }

    fn settings(&self) -> Settings {
        let preset =
            Presets::built_in().get(&self.preset).unwrap_or_else(|| panic!("no preset {}", self.preset));
        let mut settings = Settings::default();
        if let Some(verify) = &self.verify {
            settings.set("verify", verify.clone()).unwrap_or_else(|error| panic!("{}: {error}", self.preset));
        }
        settings.over(&preset.settings)
    }

    fn compiled(&self, settings: Settings) -> Result<Rules, Vec<Mistake>> {
        let secret = |text: &String| Secret::from(text.clone());
        let keys = Keys {
            secrets: self.secrets.iter().map(secret).collect(),
            public_keys: self.public_keys.clone(),
            verify_token: self.verify_token.as_ref().map(secret),
        };
        Rules::new(settings, keys, true)
    }

    pub(super) fn body(&self) -> Vec<u8> {
        STANDARD.decode(&self.body_base64).expect("base64")
    }

    /// The verdict about the request, with this body, and with the keys that servers answer.
    pub(super) fn verdict(&self, body: &[u8], rules: &Rules) -> Verdict {
        self.with_request(body, |request| self.verify(request, rules))
    }

    fn verify(&self, request: &Request<'_>, rules: &Rules) -> Verdict {
        match verify_with(request, rules, self) {
            Verification::Verdict(verdict) => verdict,
            Verification::Needs(address) => panic!("{} still needs {address:?}", self.preset),
        }
    }

    /// Calls `look` with the request, with this body.
    pub(super) fn with_request<T>(&self, body: &[u8], look: impl FnOnce(&Request<'_>) -> T) -> T {
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

impl KnownKeys for Vector {
    fn look(&self, address: &KeyAddress) -> Known {
        let question = address.question().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
        let is_asked = |fetched: &&Fetched| {
            fetched.url == address.url().as_str() && fetched.question.as_ref() == question.as_ref()
        };
        let Some(fetched) = self.fetched.iter().find(is_asked) else { return Known::Unavailable };
        let answer = STANDARD.decode(&fetched.answer_base64).expect("base64");
        Known::Keys(Arc::new(address.read(&answer).unwrap_or_else(|error| panic!("the answer {error}"))))
    }
}

pub(super) fn vectors() -> Vectors {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sources/vectors.json");
    let text = std::fs::read_to_string(file).expect("the vectors are there");
    serde_json::from_str(&text).expect("vectors")
}

/// The requests that are verified, also those whose bodies are no events.
pub(super) fn verified() -> impl Iterator<Item = Vector> {
    let Vectors { vectors, examples, .. } = vectors();
    vectors.into_iter().chain(examples).filter(|vector| vector.expect == "verified")
}

/// The first request of those that `is_wanted` for each scheme of each preset, which the scheme verifies by itself.
pub(super) fn of_each_scheme(is_wanted: impl Fn(&Vector) -> bool) -> Vec<Vector> {
    let mut seen = BTreeSet::new();
    let mut is_first = |vector: &Vector| {
        let schemes = vector.verifying().into_iter().map(|(at, _)| (vector.preset.clone(), at));
        schemes.filter(|scheme| seen.insert(scheme.clone())).count() > 0
    };
    vectors().vectors.into_iter().filter(|vector| is_wanted(vector) && is_first(vector)).collect()
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
            assert_eq!(word(vector.verify(request, &rules)), vector.expect, "{name}");
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
fn every_scheme_of_every_preset_has_a_request_that_it_verifies() {
    let vectors = vectors().vectors.into_iter();
    let verified = vectors.flat_map(|vector| {
        let preset = vector.preset.clone();
        vector.verifying().into_iter().map(move |(at, _)| (preset.clone(), at))
    });
    let verified = verified.collect::<BTreeSet<_>>();
    for (name, preset) in Presets::built_in().iter() {
        for at in 0..preset.settings.schemes().len() {
            assert!(verified.contains(&(name.to_owned(), at)), "{name}: scheme {at} has none");
        }
    }
}

#[test]
fn examples_that_senders_have_published_are_verified() {
    let examples = vectors().examples;
    assert!(!examples.is_empty(), "there are none");
    for vector in examples {
        let verdict = vector.verdict(&vector.body(), &vector.rules());
        assert_eq!(word(verdict), vector.expect, "{} by {}", vector.preset, vector.by);
    }
}

#[test]
fn every_request_names_the_page_or_the_package_that_it_is_from() {
    let Vectors { vectors, handshakes, examples } = vectors();
    for vector in vectors.into_iter().chain(handshakes).chain(examples) {
        let (preset, by) = (&vector.preset, &vector.by);
        let is_named = ["https://", "(PyPI)", "(npm)"].iter().any(|name| by.contains(name));
        assert!(is_named, "{preset}: `{by}` has no address, and no package of PyPI or npm");
    }
}

#[test]
fn handshakes_of_the_senders_are_answered() {
    for vector in vectors().handshakes {
        let (rules, name) = (vector.rules(), format!("{} by {}", vector.preset, vector.by));
        let answer = vector.with_request(&vector.body(), |request| {
            handshake(request, vector.verify(request, &rules), &rules)
        });
        let answer = match answer {
            Some(Handshake::Answered(answer)) => Some(answer),
            Some(Handshake::Wrong(problem)) => panic!("{name}: {problem}"),
            None => None,
        };
        let answer = answer.map(|answer| Answer {
            status: answer.status,
            content_type: answer.content_type,
            headers: answer.headers,
            body: answer.body,
            visit: answer.visit.map(|visit| visit.url().to_string()),
        });
        assert_eq!(answer, vector.answer, "{name}");
    }
}

#[test]
fn every_handshake_of_every_preset_has_a_request() {
    let vectors = vectors().handshakes;
    for (name, preset) in Presets::built_in().iter() {
        for at in 0..preset.settings.handshakes().len() {
            let is_answered = |vector: &Vector| {
                let rules = vector.rules();
                let mut alone = rules.clone();
                alone.handshakes = vec![rules.handshakes[at].clone()];
                vector.with_request(&vector.body(), |request| {
                    let answer = handshake(request, vector.verify(request, &rules), &alone);
                    matches!(answer, Some(Handshake::Answered(_)))
                })
            };
            let mut of_preset = vectors.iter().filter(|vector| vector.preset == name);
            assert!(of_preset.any(is_answered), "{name}: handshake {at} has none");
        }
    }
}
