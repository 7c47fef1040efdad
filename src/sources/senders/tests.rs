//! Tests of the schemes of senders: requests that a sender has signed are changed, and are refused then.

mod aws_sns;
mod paypal;
mod secrets;
mod settings;
mod tokens;

use crate::domain::verdict::{Cause, Verdict};
use crate::sources::vectors::{Vector, vectors};
use crate::sources::verify;

/// The requests of a preset that are verified.
fn good(preset: &str) -> Vec<Vector> {
    let vectors = vectors().vectors.into_iter();
    let good = vectors.filter(|vector| vector.preset == preset && vector.expect == "verified");
    good.collect()
}

/// The first of them.
fn first(preset: &str) -> Vector {
    good(preset).remove(0)
}

/// The verdict about a request with this body.
fn with_body(vector: &Vector, body: &str) -> Verdict {
    vector.verdict(body.as_bytes(), &vector.rules())
}

/// The verdict about a request with another value of a header, or without that header.
fn with_header(vector: &Vector, name: &str, value: Option<&str>) -> Verdict {
    let mut changed = vector.clone();
    changed.headers.retain(|(other, _)| other != name);
    changed.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    changed.verdict(&changed.body(), &changed.rules())
}

/// The verdict about a request that comes some seconds later.
fn later(vector: &Vector, seconds: i64) -> Verdict {
    let mut changed = vector.clone();
    changed.at += seconds;
    changed.verdict(&changed.body(), &changed.rules())
}

/// A request to a source with other members of `verify`.
fn with_settings(vector: &Vector, verify: serde_json::Value) -> Vector {
    let mut changed = vector.clone();
    changed.verify = Some(verify);
    changed
}

/// The value of a header.
fn header<'v>(vector: &'v Vector, name: &str) -> &'v str {
    let found = vector.headers.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value.as_str()).expect(name)
}

fn text(vector: &Vector) -> String {
    String::from_utf8(vector.body()).expect("UTF-8")
}

fn unverified(cause: Cause) -> Verdict {
    Verdict::Unverified(cause)
}

/// Checks that a request is refused after a change of any byte of a header.
fn every_byte_of_the_header_counts(vector: &Vector, name: &str) {
    let value = header(vector, name).to_owned();
    for at in 0..value.len() {
        let mut changed = value.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        let verdict = with_header(vector, name, Some(&changed));
        assert_ne!(verdict, Verdict::Verified, "{name}, byte {at}: {changed}");
    }
}

/// Checks that a request is refused after a change of any byte of its body.
fn every_byte_of_the_body_counts(vector: &Vector) {
    let (rules, body) = (vector.rules(), vector.body());
    for at in 0..body.len() {
        let mut changed = body.clone();
        changed[at] ^= 1;
        let verdict = vector.verdict(&changed, &rules);
        assert_ne!(verdict, Verdict::Verified, "byte {at}: {}", String::from_utf8_lossy(&changed));
    }
}

#[test]
fn without_fetched_keys_requests_that_need_one_are_not_verified() {
    for preset in ["aws-sns", "paypal", "google-pubsub", "plaid", "azure-event-grid-entra"] {
        let (vector, rules) = (first(preset), first(preset).rules());
        let verdict = vector.with_request(&vector.body(), |request| verify(request, &rules));
        assert_eq!(verdict, unverified(Cause::KeyUnavailable), "{preset}");
    }
}

#[test]
fn headers_that_prove_the_sender_are_named() {
    for (preset, proving) in [
        ("aws-sns", None),
        ("paypal", Some("PAYPAL-TRANSMISSION-SIG")),
        ("google-pubsub", Some("Authorization")),
        ("plaid", Some("Plaid-Verification")),
        ("jira-app", Some("Authorization")),
        ("adyen", None),
        ("coinbase-cdp", Some("X-Hook0-Signature")),
    ] {
        assert!(first(preset).rules().proving_headers().eq(proving), "{preset}");
    }
}
