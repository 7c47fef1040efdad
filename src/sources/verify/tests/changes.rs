//! Of what proves a request, every byte counts: the signature, the time, and all else that is signed.

use std::collections::BTreeSet;

use super::super::*;
use crate::sources::vectors::{Vector, verified};

#[test]
fn a_change_of_any_byte_of_a_signature_or_a_time_is_refused() {
    let (mut described, mut checked) = (BTreeSet::new(), BTreeSet::new());
    for vector in verified() {
        let (rules, body) = (vector.rules(), vector.body());
        for (at, alone) in vector.verifying() {
            let Some([scheme]) = alone.schemes.as_deref() else { panic!("{}: one scheme", vector.preset) };
            if let Scheme::Sender(_) = scheme {
                // `senders/tests.rs` has those.
                continue;
            }
            described.insert((vector.preset.clone(), at));
            if !vector.with_request(&body, |request| reads_one(scheme, request)) {
                continue;
            }
            checked.insert((vector.preset.clone(), at));
            for place in places(scheme) {
                for (changed, body) in changed(&vector, &body, scheme, place) {
                    let verdict = changed.verdict(&body, &rules);
                    let is_refused = matches!(verdict, Verdict::Unverified(_));
                    let (preset, by, headers) = (&vector.preset, &vector.by, &changed.headers);
                    assert!(is_refused, "{preset} by {by}, {place}: {} {headers:?}", changed.url);
                }
            }
        }
    }
    assert_eq!(checked, described, "every scheme has a request with one signature");
}

#[test]
fn a_change_of_any_byte_of_the_body_is_refused_wherever_the_body_is_signed() {
    let (mut covering, mut checked) = (BTreeSet::new(), BTreeSet::new());
    for vector in verified() {
        let (rules, body, verifying) = (vector.rules(), vector.body(), vector.verifying());
        let signed = verifying.iter().filter(|(_, alone)| alone.covers_body());
        let signed = signed.map(|(at, _)| (vector.preset.clone(), *at)).collect::<BTreeSet<_>>();
        // A scheme that proves the sender only would verify any body.
        if signed.len() == verifying.len() {
            for at in 0..body.len() {
                let mut changed = body.clone();
                changed[at] ^= 1;
                let is_refused = matches!(vector.verdict(&changed, &rules), Verdict::Unverified(_));
                assert!(is_refused, "{} by {}, byte {at}", vector.preset, vector.by);
            }
            checked.extend(signed.iter().cloned());
        }
        covering.extend(signed);
    }
    assert_eq!(checked, covering, "every such scheme verifies a request that no other scheme verifies");
}

/// Whether a scheme finds one signature in a request, and nothing beside it but the time. Of several, one is enough, so that a
/// change of another one is not refused.
fn reads_one(scheme: &Scheme, request: &Request<'_>) -> bool {
    if array(scheme).is_some() {
        return true;
    }
    let only = |place: &Place| {
        let mut values = values(place, request, &Document::new(request.body)).unwrap_or_default();
        values.pop().filter(|_| values.is_empty())
    };
    match scheme {
        Scheme::Described(scheme) => only(&scheme.place).is_some_and(|value| {
            let has_time = matches!(&scheme.timestamp, Some(Time { from: TimeFrom::Item(_), .. }));
            scheme.signatures(&value).len() == 1 && scheme.items(&value).count() == 1 + usize::from(has_time)
        }),
        Scheme::Jwt(scheme) => only(&scheme.place).is_some(),
        Scheme::Sender(_) => false,
    }
}

/// Where a scheme finds what proves a request.
fn places(scheme: &Scheme) -> Vec<&Place> {
    match scheme {
        Scheme::Described(scheme) => {
            let time = match scheme.timestamp.as_ref().map(|time| &time.from) {
                Some(TimeFrom::Of(place)) => Some(place),
                Some(TimeFrom::Item(_)) | None => None,
            };
            let signed = scheme.signed.places().chain(&scheme.body_sha256);
            [&scheme.place].into_iter().chain(time).chain(signed).collect()
        }
        Scheme::Jwt(scheme) => vec![&scheme.place],
        Scheme::Sender(_) => Vec::new(),
    }
}

/// The array whose items all have a proof.
fn array(scheme: &Scheme) -> Option<&Pointer> {
    match scheme {
        Scheme::Described(scheme) => match &scheme.proof {
            Proof::Token(_, array) => array.as_ref(),
            _ => None,
        },
        Scheme::Jwt(scheme) => scheme.each.as_ref(),
        Scheme::Sender(_) => None,
    }
}

/// The request with each byte of what it has at a place changed, and its body.
fn changed(vector: &Vector, body: &[u8], scheme: &Scheme, place: &Place) -> Vec<(Vector, Vec<u8>)> {
    let mut all = Vec::new();
    match place {
        Place::Header(List(names)) => {
            for (at, (header, value)) in vector.headers.iter().enumerate() {
                if names.iter().any(|name| name.as_str().eq_ignore_ascii_case(header)) {
                    all.extend((0..value.len()).map(|byte| {
                        let mut changed = vector.clone();
                        changed.headers[at].1 = flipped(value, byte);
                        (changed, body.to_vec())
                    }));
                }
            }
        }
        Place::Query(List(names)) => {
            for name in names {
                let Some(start) = vector.url.find(&format!("{name}=")).map(|at| at + name.len() + 1) else {
                    continue;
                };
                let end = vector.url[start..].find('&').map_or(vector.url.len(), |length| start + length);
                all.extend((start..end).map(|byte| {
                    let mut changed = vector.clone();
                    changed.url = flipped(&vector.url, byte);
                    (changed, body.to_vec())
                }));
            }
        }
        Place::Json(List(pointers)) => {
            let document = Document::new(body);
            let json = document.json().expect("JSON");
            let values = match array(scheme).and_then(|array| items(array.find(json)?, MAX_BATCH_ITEMS)) {
                Some(Items::All(values)) => values,
                Some(Items::TooMany) | None => vec![json],
            };
            for found in values.iter().flat_map(|json| pointers.iter().filter_map(move |to| to.find(json))) {
                let start = found.get().as_ptr().addr() - body.as_ptr().addr();
                all.extend((start..start + found.get().len()).map(|byte| {
                    let mut body = body.to_vec();
                    body[byte] ^= 1;
                    (vector.clone(), body)
                }));
            }
        }
        Place::Form(_) => panic!("no preset has a form: add it here"),
    }
    all
}

/// A text with another bit in one of its bytes.
pub(super) fn flipped(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] ^= 1;
    String::from_utf8(bytes).expect("ASCII")
}
