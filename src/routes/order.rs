//! Turns the value that `order_by` points at into a text. Two texts are equal exactly if the values are.

use sha2::{Digest as _, Sha256};

use super::body::Node;
use crate::domain::canonical::{canonical_number, write_text};
use crate::domain::route::OrderValue;

/// The most bytes of an order value.
pub(super) const MAX_ORDER_BYTES: usize = 255;

/// The order value of a JSON value; none for `null`. The first character tells the types apart:
///
/// - `"`: a string
/// - `#`: a number
/// - `t` or `f`: a boolean
/// - `&`: the digest of an array or object
/// - `~`: the digest of a value that is too long, or has a NUL, which PostgreSQL cannot store in a text
pub(super) fn order_value(node: &Node<'_>) -> Option<OrderValue> {
    let text = match node {
        Node::Null(_) => return None,
        Node::Bool(bool) => if *bool.inner() { "t" } else { "f" }.to_owned(),
        Node::Int(int) => format!("#{}", canonical_number(&int.inner().to_string())),
        Node::Number(number) => format!("#{}", canonical_number(&number.text)),
        Node::String(text) => format!("\"{}", text.inner()),
        Node::List(_) | Node::Map(_) => format!("&{}", hex(&canonical_form(node))),
    };
    let fits = text.len() <= MAX_ORDER_BYTES && !text.contains('\0');
    Some(OrderValue::new(if fits { text } else { format!("~{}", hex(text.as_bytes())) }))
}

/// The canonical form of a value, as in `domain::canonical`: tags and lengths keep values apart, and an object
/// is the hash of its members, which a [`Node`] has in sorted order.
fn canonical_form(node: &Node<'_>) -> Vec<u8> {
    let mut form = Vec::new();
    write(&mut form, node);
    form
}

fn write(form: &mut Vec<u8>, node: &Node<'_>) {
    match node {
        Node::Null(_) => form.push(b'n'),
        Node::Bool(bool) => form.push(if *bool.inner() { b't' } else { b'f' }),
        Node::Int(int) => write_text(form, b'#', canonical_number(&int.inner().to_string()).as_bytes()),
        Node::Number(number) => write_text(form, b'#', canonical_number(&number.text).as_bytes()),
        Node::String(text) => write_text(form, b'"', text.inner().as_bytes()),
        Node::List(list) => {
            form.push(b'[');
            list.0.iter().for_each(|item| write(form, item));
            form.push(b']');
        }
        Node::Map(map) => {
            let mut hasher = Sha256::new();
            for (name, value) in &*map.0 {
                let mut member = Vec::new();
                write_text(&mut member, b'"', name.inner().as_bytes());
                write(&mut member, value);
                hasher.update((member.len() as u64).to_le_bytes());
                hasher.update(&member);
            }
            form.push(b'{');
            form.extend_from_slice(&hasher.finalize());
        }
    }
}

/// The SHA-256 of some bytes, in hex.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Option<String> {
        order_value(&Node::parse(json).expect(json)).map(|value| value.as_str().to_owned())
    }

    #[test]
    fn equal_values_are_equal_however_they_are_written() {
        for (one, other) in [
            ("1", "1.0"),
            ("1", "10e-1"),
            ("0", "-0.0"),
            ("18446744073709551615", "1844674407370955161.5e1"),
            (r#""A/""#, r#""\u0041\/""#),
            (r#"{"a":1,"b":[2]}"#, r#"{ "b":[2.0], "a":1e0 }"#),
        ] {
            assert_eq!(of(one), of(other), "{one} and {other}");
        }
    }

    #[test]
    fn different_values_are_different_whatever_their_types() {
        let long = |char: &str| format!("\"{}\"", char.repeat(300));
        let values = [
            "1".to_owned(),
            "\"1\"".to_owned(),
            "\"#1e0\"".to_owned(),
            "\"\"".to_owned(),
            "true".to_owned(),
            "\"t\"".to_owned(),
            "false".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            "[1,2]".to_owned(),
            "[2,1]".to_owned(),
            "[[1],2]".to_owned(),
            "[[1,2]]".to_owned(),
            r#"{"a":"b"}"#.to_owned(),
            r#"{"b":"a"}"#.to_owned(),
            "12345678901234567890123".to_owned(),
            "12345678901234567890124".to_owned(),
            "1e400".to_owned(),
            long("a"),
            long("b"),
            "\"a\\u0000\"".to_owned(),
        ];
        for (at, one) in values.iter().enumerate() {
            assert!(
                of(one).is_some_and(|text| text.len() <= MAX_ORDER_BYTES && !text.contains('\0')),
                "{one}"
            );
            for other in &values[at + 1..] {
                assert_ne!(of(one), of(other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn null_orders_nothing() {
        assert_eq!(of("null"), None);
    }
}
