//! Tests of the headers of all presets: what is missing, empty or there twice proves nothing and names nothing.

use std::collections::BTreeSet;

use super::super::*;
use super::changes::flipped;
use super::unverified;
use crate::sources::part::Part;
use crate::sources::read;
use crate::sources::vectors::{Vector, of_each_scheme, vectors};

/// The request with these values of a header, in the place of those that it has.
fn with(vector: &Vector, name: &str, values: &[&str]) -> Vector {
    let mut changed = vector.clone();
    changed.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    changed.headers.extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
    changed
}

/// The headers that prove who sent a request, with their values.
fn proofs(vector: &Vector) -> Vec<(String, String)> {
    let rules = vector.rules();
    let is_proof = |name: &str| rules.proving_headers().any(|known| known.eq_ignore_ascii_case(name));
    vector.headers.iter().filter(|(name, _)| is_proof(name)).cloned().collect()
}

#[test]
fn a_request_without_its_proof_or_with_an_empty_one_has_no_signature() {
    for vector in of_each_scheme(|vector| !proofs(vector).is_empty()) {
        let (rules, body) = (vector.rules(), vector.body());
        for values in [&[][..], &[""][..]] {
            let of_header = |vector: Vector, (name, _): (String, String)| with(&vector, &name, values);
            let changed = proofs(&vector).into_iter().fold(vector.clone(), of_header);
            let verdict = changed.verdict(&body, &rules);
            assert_eq!(verdict, unverified(Cause::SignatureMissing), "{}: {values:?}", vector.preset);
        }
    }
}

#[test]
fn a_proof_that_is_there_twice_is_verified_by_either_or_is_not_read() {
    let mut unread = BTreeSet::new();
    for vector in of_each_scheme(|vector| proofs(vector).len() == 1) {
        let (rules, body, proofs) = (vector.rules(), vector.body(), proofs(&vector));
        let (name, genuine) = (proofs[0].0.as_str(), proofs[0].1.as_str());
        let of = |values: &[&str]| with(&vector, name, values).verdict(&body, &rules);
        if rules.schemes.iter().flatten().any(|scheme| matches!(scheme, Scheme::Sender(_))) {
            assert_eq!(of(&[genuine, genuine]), unverified(Cause::SignatureMissing), "{}", vector.preset);
            unread.insert(vector.preset.clone());
            continue;
        }
        let forged = flipped(genuine, genuine.len() - 1);
        let forged = forged.as_str();
        assert_eq!(of(&[forged, genuine]), Verdict::Verified, "{}", vector.preset);
        assert_eq!(of(&[genuine, forged]), Verdict::Verified, "{}", vector.preset);
        assert!(matches!(of(&[forged, forged]), Verdict::Unverified(_)), "{}", vector.preset);
    }
    assert!(unread.iter().eq(["coinbase-cdp", "google-pubsub", "paypal", "plaid"]), "{unread:?}");
}

#[test]
fn a_time_that_is_there_twice_is_not_read() {
    for vector in of_each_scheme(|_| true) {
        let (rules, body) = (vector.rules(), vector.body());
        let times = time_headers(&rules);
        let is_time = |name: &str| times.iter().any(|known| known.eq_ignore_ascii_case(name));
        for (name, value) in vector.headers.iter().filter(|(name, _)| is_time(name)) {
            let twice = with(&vector, name, &[value.as_str(), value.as_str()]);
            let verdict = twice.verdict(&body, &rules);
            assert_eq!(verdict, unverified(Cause::TimestampMissing), "{}: {name}", vector.preset);
        }
    }
}

/// The headers in which described schemes find the time.
fn time_headers(rules: &Rules) -> Vec<&str> {
    let times = rules.schemes.iter().flatten().filter_map(|scheme| match scheme {
        Scheme::Described(scheme) => scheme.timestamp.as_ref(),
        _ => None,
    });
    let names = times.flat_map(|time| match &time.from {
        TimeFrom::Of(Place::Header(List(names))) => names.as_slice(),
        _ => &[],
    });
    names.map(|name| name.as_str()).collect()
}

#[test]
fn a_part_of_the_key_that_is_there_twice_counts_as_missing() {
    let (mut named, mut checked) = (BTreeSet::new(), BTreeSet::new());
    for vector in vectors().vectors {
        if !["verified", "none"].contains(&vector.expect.as_str()) {
            continue;
        }
        let rules = vector.rules();
        for name in rules.key.iter().flat_map(header_names) {
            named.insert((vector.preset.clone(), name.to_owned()));
            let mut headers = vector.headers.iter();
            let Some((_, value)) = headers.find(|(other, _)| other.eq_ignore_ascii_case(name)) else {
                continue;
            };
            checked.insert((vector.preset.clone(), name.to_owned()));
            let value = value.as_str();
            let without = keys(&with(&vector, name, &[]), &rules);
            for (one, other) in [(value, value), (value, "another"), ("another", value)] {
                let twice = keys(&with(&vector, name, &[one, other]), &rules);
                assert_eq!(twice, without, "{}: {name}", vector.preset);
            }
        }
    }
    assert_eq!(checked, named, "every header of a key is in a request");
}

/// The headers that a part of a key looks for.
fn header_names(part: &Part) -> Vec<&str> {
    match part {
        Part::Of(Place::Header(List(names))) | Part::Decoded(List(names)) => {
            names.iter().map(|name| name.as_str()).collect()
        }
        Part::First(List(parts)) => parts.iter().flat_map(header_names).collect(),
        Part::UnlessType(part, _) => header_names(part),
        _ => Vec::new(),
    }
}

/// The keys of the webhooks in a request; none if it is refused.
fn keys(vector: &Vector, rules: &Rules) -> Option<Vec<String>> {
    let body = vector.body();
    if matches!(vector.verdict(&body, rules), Verdict::Unverified(_)) {
        return None;
    }
    vector.with_request(&body, |request| {
        let items = read(request, rules).ok()?;
        Some(items.iter().map(|item| item.key.as_str().to_owned()).collect())
    })
}
