//! The JSON that a `google.protobuf.Value` stands for.

use prost_types::value::Kind;

use crate::domain::error::{Error, Result};

/// Whole numbers up to here are exact in a double, and are written without a fraction.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The JSON of a `google.protobuf.Value`. prost bounds how deep it nests.
pub(super) fn json_of(value: prost_types::Value) -> Result<serde_json::Value> {
    use serde_json::Value;
    Ok(match value.kind {
        None => return Err(Error::invalid("payload", "has a value of no kind")),
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
    serde_json::Number::from_f64(number).map(Into::into).ok_or_else(|| {
        Error::invalid("payload", "has a number that JSON cannot write, infinite or not a number")
    })
}
