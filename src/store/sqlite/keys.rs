//! Encodes idempotency keys for the table `idempotency_keys`, which keeps them unique.

use crate::domain::webhook::{IdempotencyKey, Source};

/// Ends the source. Neither sources nor keys contain this byte.
const END_OF_SOURCE: u8 = 0;

/// The first byte after the source: the form of the key. Two keys are equal exactly if their form and the
/// bytes after it are equal.
const AS_TEXT: u8 = 0;
const HEX_32: u8 = 1;
const UUID: u8 = 2;

/// The positions of the hyphens in a UUID.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// Encodes source and key into bytes that are equal exactly if source and key are equal. Keys of one form
/// keep their order. Keys of 32 hexadecimal digits and UUIDs, both in lower case, take half their length;
/// most senders use one of these.
pub(super) fn key_name(source: &Source, key: &IdempotencyKey) -> Vec<u8> {
    let (source, key) = (source.as_str().as_bytes(), key.as_str().as_bytes());
    let mut name = Vec::with_capacity(source.len() + 2 + key.len());
    name.extend_from_slice(source);
    name.push(END_OF_SOURCE);
    let begin = name.len();
    let is_uuid = key.len() == 36 && HYPHENS.iter().all(|at| key[*at] == b'-');
    name.push(if is_uuid { UUID } else { HEX_32 });
    let packed = match is_uuid {
        true => pack(
            key.iter().enumerate().filter(|(at, _)| !HYPHENS.contains(at)).map(|(_, digit)| *digit),
            &mut name,
        ),
        false => key.len() == 32 && pack(key.iter().copied(), &mut name),
    };
    if !packed {
        name.truncate(begin);
        name.push(AS_TEXT);
        name.extend_from_slice(key);
    }
    name
}

/// The source in an encoded key; none if it is no encoded key.
pub(super) fn source_of(name: &[u8]) -> Option<&str> {
    let end = name.iter().position(|byte| *byte == END_OF_SOURCE)?;
    std::str::from_utf8(name.get(..end)?).ok()
}

/// The place behind all encoded keys of a source, and before those of the next one.
pub(super) fn behind(source: &str) -> Vec<u8> {
    [source.as_bytes(), &[END_OF_SOURCE + 1]].concat()
}

/// Packs two hexadecimal digits into each byte. Returns false if a character is not a lower-case hexadecimal
/// digit; `into` then holds a part of the digits.
fn pack(digits: impl Iterator<Item = u8>, into: &mut Vec<u8>) -> bool {
    let mut high = None;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return false,
        };
        match high.take() {
            None => high = Some(value << 4),
            Some(high) => into.push(high | value),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(source: &str, key: &str) -> Vec<u8> {
        key_name(&Source::new(source).expect("source"), &IdempotencyKey::new(key).expect("key"))
    }

    #[test]
    fn a_name_has_its_source_and_the_names_of_a_source_lie_together() {
        let place = behind("shop");
        for key in ["a", "\u{10ffff}", "00112233445566778899aabbccddeeff"] {
            assert_eq!(source_of(&name("shop", key)), Some("shop"));
            assert!(name("shop", key) < place, "{key}");
            for next in ["shop-2", "shop_", "shop0", "shopa", "shoq"] {
                assert!(place < name(next, key), "{next}");
            }
        }
        assert_eq!(source_of(b"shop"), None);
    }

    #[test]
    fn usual_keys_take_half_their_length() {
        for key in ["00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff"] {
            assert_eq!(name("default", key).len(), "default".len() + 2 + 16, "{key}");
        }
    }

    #[test]
    fn what_looks_alike_stays_apart() {
        let names = [
            name("default", "00112233445566778899aabbccddeeff"),
            name("default", "00112233445566778899AABBCCDDEEFF"),
            name("default", "00112233-4455-6677-8899-aabbccddeeff"),
            name("default", "00112233-4455-6677-8899-aabbccddeefF"),
            name("default", "00112233-44556677-8899-aabbccddee-ff"),
            name("a", "bc"),
            name("ab", "c"),
        ];
        for (at, one) in names.iter().enumerate() {
            assert!(!names[at + 1..].contains(one), "{one:?}");
        }
    }

    proptest! {
        #[test]
        fn names_are_equal_exactly_if_source_and_key_are(
            one in ("[ab]{1,2}", "[0-9a-f]{32}|[0-9a-f-]{36}|[abB]{1,3}"),
            other in ("[ab]{1,2}", "[0-9a-f]{32}|[0-9a-f-]{36}|[abB]{1,3}"),
        ) {
            prop_assert_eq!(one == other, name(&one.0, &one.1) == name(&other.0, &other.1));
        }

        #[test]
        fn keys_in_order_stay_in_order(one in "[a-z0-9]{1,12}", other in "[a-z0-9]{1,12}") {
            prop_assert_eq!(one.cmp(&other), name("default", &one).cmp(&name("default", &other)));
        }
    }
}
