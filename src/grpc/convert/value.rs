//! Converts a `google.protobuf.Value` to JSON.

use prost_types::value::Kind;

use crate::domain::error::{Error, Result};

/// 2^53: whole numbers up to this size are exact in a double, and are written without a fraction.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The JSON of a `google.protobuf.Value`. Recursion is safe: prost limits the depth of messages.
/// Errors: `InvalidField` if a value has no kind, or a number is infinite or NaN.
pub(super) fn json_of(value: prost_types::Value) -> Result<serde_json::Value> {
    use serde_json::Value;
    Ok(match value.kind {
        None => {
            return Err(Error::invalid("payload", "has a value without a kind; set `null_value` for null"));
        }
        Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(number)) => json_number(number)?,
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json_of).collect::<Result<_>>()?,
        Some(Kind::StructValue(members)) => members
            .fields
            .into_iter()
            .map(|(name, value)| Ok((name, json_of(value)?)))
            .collect::<Result<serde_json::Map<_, _>>>()?
            .into(),
    })
}

/// How many members a node of a map has room for, and how many it has at least if it is not the only one.
const NODE_MEMBERS: usize = 11;
const LEAST_NODE_MEMBERS: usize = 5;

/// The memory that a decoded value holds beside itself, in bytes. That can be a hundred times its encoded length: an object
/// with one member takes six bytes, and a whole node of a map. Recursion is safe: prost limits the depth of messages.
pub(super) fn held_bytes(value: &prost_types::Value) -> usize {
    match &value.kind {
        Some(Kind::StringValue(text)) => text.capacity(),
        Some(Kind::ListValue(list)) => {
            let places = list.values.capacity() * size_of::<prost_types::Value>();
            places + list.values.iter().map(held_bytes).sum::<usize>()
        }
        Some(Kind::StructValue(members)) => {
            let nodes = members.fields.len().div_ceil(LEAST_NODE_MEMBERS);
            let held = members.fields.iter().map(|(name, value)| name.capacity() + held_bytes(value));
            nodes * NODE_MEMBERS * size_of::<(String, prost_types::Value)>() + held.sum::<usize>()
        }
        None | Some(Kind::NullValue(_) | Kind::BoolValue(_) | Kind::NumberValue(_)) => 0,
    }
}

fn json_number(number: f64) -> Result<serde_json::Value> {
    if number.fract() == 0.0 && number.abs() <= MAX_EXACT {
        return Ok((number as i64).into());
    }
    serde_json::Number::from_f64(number)
        .map(Into::into)
        .ok_or_else(|| Error::invalid("payload", "has a number that JSON does not have: infinite or NaN"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost_types::{ListValue, Struct, Value};

    use super::*;

    #[test]
    fn values_hold_far_more_memory_than_their_encoded_length() {
        let of = |kind| Value { kind: Some(kind) };
        let list = |value: &Value| of(Kind::ListValue(ListValue { values: vec![value.clone(); 1_000] }));
        let object =
            of(Kind::StructValue(Struct { fields: BTreeMap::from([(String::new(), Value::default())]) }));
        let text = of(Kind::StringValue("x".repeat(100)));
        assert_eq!(held_bytes(&of(Kind::BoolValue(true))), 0);
        assert!(held_bytes(&list(&Value::default())) >= 1_000 * size_of::<Value>());
        assert!(held_bytes(&list(&text)) >= 1_000 * (size_of::<Value>() + 100));
        assert!(held_bytes(&list(&object)) >= 1_000 * 600);
    }
}
