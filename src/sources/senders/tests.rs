//! Tests of the schemes of senders: requests that a sender has signed are changed, and are refused then.

mod aws_sns;
mod paypal;
mod secrets;
mod settings;
mod tokens;

use std::collections::BTreeSet;
use std::ops::Range;

use crate::domain::verdict::{Cause, Verdict};
use crate::sources::scheme::Scheme;
use crate::sources::vectors::{Vector, of_each_scheme, vectors};
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
    every_byte_counts(vector, 0..vector.body().len());
}

/// Checks that a request is refused after a change of any of these bytes of its body.
fn every_byte_counts(vector: &Vector, bytes: Range<usize>) {
    let (rules, body) = (vector.rules(), vector.body());
    for at in bytes {
        let mut changed = body.clone();
        changed[at] ^= 1;
        let verdict = vector.verdict(&changed, &rules);
        assert_ne!(verdict, Verdict::Verified, "byte {at}: {}", String::from_utf8_lossy(&changed));
    }
}

/// The request without those items of a header that it is verified without.
fn without_idle_items(vector: &Vector, name: &str) -> Vector {
    let (rules, body) = (vector.rules(), vector.body());
    let with = |items: &[&str]| {
        let mut changed = vector.clone();
        changed.headers.retain(|(other, _)| other != name);
        changed.headers.push((name.to_owned(), items.join(",")));
        changed
    };
    let mut items = header(vector, name).split(',').collect::<Vec<_>>();
    for at in (0..items.len()).rev() {
        let mut others = items.clone();
        others.remove(at);
        if with(&others).verdict(&body, &rules) == Verdict::Verified {
            items = others;
        }
    }
    with(&items)
}

/// Checks that a request is refused after a change of any byte of a text in its JSON.
fn every_byte_of_the_member_counts(vector: &Vector, name: &str) {
    let (rules, body) = (vector.rules(), text(vector));
    let (before, after) = body.split_once(&format!("\"{name}\":\"")).expect(name);
    let (value, _) = after.split_once('"').expect("ends");
    for at in (0..value.len()).map(|at| body.len() - after.len() + at) {
        let mut changed = body.clone().into_bytes();
        changed[at] ^= 1;
        let verdict = vector.verdict(&changed, &rules);
        assert_ne!(verdict, Verdict::Verified, "{name}, byte {at} after {before}");
    }
}

/// What proves a request by a scheme that is code: headers, and members of the JSON.
const PROOFS: [(&str, &[&str], &[&str]); 6] = [
    ("adyen", &[], &["hmacSignature"]),
    ("aws-sns", &[], &["Signature", "Timestamp"]),
    ("coinbase-cdp", &["X-Hook0-Signature", "x-event-id", "x-event-type", "Content-Type"], &[]),
    ("google-pubsub", &["Authorization"], &[]),
    (
        "paypal",
        &[
            "PAYPAL-TRANSMISSION-SIG",
            "PAYPAL-TRANSMISSION-ID",
            "PAYPAL-TRANSMISSION-TIME",
            "PAYPAL-CERT-URL",
            "PAYPAL-AUTH-ALGO",
        ],
        &[],
    ),
    ("plaid", &["Plaid-Verification"], &[]),
];

#[test]
fn a_change_of_any_byte_of_the_proof_is_refused() {
    for (preset, headers, members) in PROOFS {
        let vector = first(preset);
        for name in headers {
            every_byte_of_the_header_counts(&without_idle_items(&vector, name), name);
        }
        for name in members {
            every_byte_of_the_member_counts(&vector, name);
        }
    }
    let is_code = |vector: &Vector| {
        let rules = vector.rules();
        rules.schemes.iter().flatten().any(|scheme| matches!(scheme, Scheme::Sender(_)))
    };
    let coded = vectors().vectors.into_iter().filter(is_code).map(|vector| vector.preset);
    let coded = coded.collect::<BTreeSet<_>>();
    assert!(coded.iter().eq(PROOFS.iter().map(|(preset, ..)| preset)), "{coded:?}");
}

#[test]
fn without_fetched_keys_requests_that_need_one_are_not_verified() {
    let needs_one = |vector: &Vector| vector.expect == "verified" && !vector.fetched.is_empty();
    for vector in of_each_scheme(needs_one) {
        let rules = vector.rules();
        let verdict = vector.with_request(&vector.body(), |request| verify(request, &rules));
        assert_eq!(verdict, unverified(Cause::KeyUnavailable), "{}", vector.preset);
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
