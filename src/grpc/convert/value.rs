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

fn json_number(number: f64) -> Result<serde_json::Value> {
    if number.fract() == 0.0 && number.abs() <= MAX_EXACT {
        return Ok((number as i64).into());
    }
    serde_json::Number::from_f64(number)
        .map(Into::into)
        .ok_or_else(|| Error::invalid("payload", "has a number that JSON does not have: infinite or NaN"))
}
