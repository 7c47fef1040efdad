//! Tests of schemes of one source that a value of the request tells apart: `unless`.

use super::unverified;
use crate::domain::verdict::{Cause, Verdict};
use crate::sources::vectors::{Vector, vectors};
use crate::sources::{read, verify};

#[test]
fn the_signature_of_a_url_of_twilio_with_the_digest_of_json_verifies_no_form() {
    let is_json = |vector: &Vector| vector.preset == "twilio" && vector.url.contains("bodySHA256");
    let mut vector = vectors().vectors.into_iter().find(is_json).expect("is there");
    let rules = vector.rules();
    assert_eq!(vector.verdict(&vector.body(), &rules), Verdict::Verified);
    vector.headers.retain(|(name, _)| name != "Content-Type");
    let form = "application/x-www-form-urlencoded".to_owned();
    vector.headers.push(("Content-Type".to_owned(), form));
    for body in ["", "=", "&=", "a=b"] {
        let verdict = vector.verdict(body.as_bytes(), &rules);
        assert_eq!(verdict, unverified(Cause::SignatureMismatch), "{body}");
    }
}

/// The key of a request; none if it is not verified.
fn key_of(vector: &Vector) -> Option<String> {
    let rules = vector.rules();
    vector.with_request(&vector.body(), |request| {
        let is_verified = verify(request, &rules) == Verdict::Verified;
        is_verified.then(|| read(request, &rules).expect("reads")[0].key.as_str().to_owned())
    })
}

#[test]
fn an_id_that_svix_has_not_signed_is_never_the_key() {
    let mut checked = 0;
    for vector in vectors().vectors {
        if !["svix", "clerk", "resend"].contains(&vector.preset.as_str()) {
            continue;
        }
        let genuine = key_of(&vector);
        assert!(genuine.is_some(), "{} by {}", vector.preset, vector.by);
        let is_signed_by_svix = vector.headers.iter().any(|(name, _)| name == "svix-signature");
        for name in ["svix-id", "webhook-id"] {
            let mut changed = vector.clone();
            changed.headers.push((name.to_owned(), "another".to_owned()));
            let expected = genuine.clone().filter(|_| is_signed_by_svix && name == "webhook-id");
            assert_eq!(key_of(&changed), expected, "{} by {}: {name}", vector.preset, vector.by);
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked}");
}
