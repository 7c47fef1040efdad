//! The canonical form of JSON: the same bytes exactly for texts with the same value.

use std::borrow::Cow;

use json_event_parser::{JsonEvent, JsonSyntaxError, SliceJsonParser};
use sha2::{Digest as _, Sha256};

use super::error::{Error, Reason, Result};
use super::surrogates;

/// How many levels deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 128;

/// An array or object that is still open, and where its canonical form begins.
enum Open<'a> {
    Array,
    Object { start: usize, members: Vec<Member<'a>> },
}

struct Member<'a> {
    key: Cow<'a, str>,
    start: usize,
}

/// A form of a JSON value that is the same for all texts with this value. An object is replaced by the hash of its sorted
/// members, so that the work is linear at any depth. Errors: as of [`Payload::new`](super::payload::Payload::new).
pub(super) fn canonical_form(json: &str) -> Result<Vec<u8>> {
    if json.starts_with('\u{feff}') {
        // The parser below would skip it. RFC 8259 does not allow it, and most readers of JSON refuse it.
        return Err(Error::new(
            Reason::MalformedJson,
            "`payload` is not valid JSON: a byte-order mark at line 1 column 1 of the payload; send the text without it",
        ));
    }
    let mut parser = SliceJsonParser::new(json.as_bytes());
    let mut form = Vec::with_capacity(json.len() + 16);
    let mut open: Vec<Open<'_>> = Vec::new();
    loop {
        match parser.parse_next().map_err(|fault| malformed(json, &fault))? {
            JsonEvent::Null => form.push(b'n'),
            JsonEvent::Boolean(value) => form.push(if value { b't' } else { b'f' }),
            JsonEvent::Number(text) => write_number(&mut form, &text),
            JsonEvent::String(text) => write_text(&mut form, b'"', text.as_bytes()),
            JsonEvent::ObjectKey(key) => {
                let start = form.len();
                if let Some(Open::Object { members, .. }) = open.last_mut() {
                    members.push(Member { key, start });
                }
            }
            JsonEvent::StartArray => {
                check_depth(&open)?;
                form.push(b'[');
                open.push(Open::Array);
            }
            JsonEvent::StartObject => {
                check_depth(&open)?;
                let start = form.len();
                open.push(Open::Object { start, members: Vec::new() });
            }
            JsonEvent::EndArray => {
                form.push(b']');
                open.pop();
            }
            JsonEvent::EndObject => {
                if let Some(Open::Object { start, members }) = open.pop() {
                    let hash = hash_members(&form, members)?;
                    form.truncate(start);
                    form.push(b'{');
                    form.extend_from_slice(&hash);
                }
            }
            JsonEvent::Eof => break,
        }
    }
    Ok(form)
}

/// The error for a text that the parser refuses.
fn malformed(json: &str, fault: &JsonSyntaxError) -> Error {
    let at = fault.location().start;
    // Behind half of a surrogate pair the parser looks for the other half, also beyond the end of the string, and so up
    // to the end of the text. Its place is that of what it has found instead.
    let is_lone =
        |message: &str| message.contains("surrogate") || message.starts_with("Unexpected end of file");
    let lone = surrogates::find(json.as_bytes(), 0).filter(|_| is_lone(fault.message()));
    let detail = match lone {
        Some(lone) => {
            let (before, escape) = (&json[..lone], &json[lone..lone + surrogates::ESCAPE_BYTES]);
            let line = before.matches('\n').count() + 1;
            let column = lone - before.rfind('\n').map_or(0, |end| end + 1) + 1;
            format!(
                "half of a surrogate pair, {escape}, at line {line} column {column} of the payload; write the other half \
                 too, or \\ufffd in its place"
            )
        }
        None => {
            let (what, line, column) = (fault.message(), at.line + 1, at.column + 1);
            format!("{what} at line {line} column {column} of the payload")
        }
    };
    Error::new(Reason::MalformedJson, format!("`payload` is not valid JSON: {detail}"))
}

fn check_depth(open: &[Open<'_>]) -> Result<()> {
    if open.len() < MAX_DEPTH {
        return Ok(());
    }
    Err(Error::invalid(
        "payload",
        format_args!("nests more than {MAX_DEPTH} levels deep; flatten it, or send it as a string"),
    ))
}

fn hash_members(form: &[u8], members: Vec<Member<'_>>) -> Result<[u8; 32]> {
    let ends = members.iter().skip(1).map(|member| member.start).chain([form.len()]).collect::<Vec<_>>();
    let mut sorted = members.into_iter().zip(ends).collect::<Vec<_>>();
    sorted.sort_by(|(one, _), (other, _)| one.key.cmp(&other.key));
    let repeated = sorted.windows(2).find(|pair| pair[0].0.key == pair[1].0.key);
    if let Some(pair) = repeated {
        return Err(Error::invalid(
            "payload",
            format_args!("repeats the member {:?} in one object; keep one of them", pair[0].0.key),
        ));
    }
    let mut hasher = Sha256::new();
    for (member, end) in &sorted {
        hasher.update((member.key.len() as u64).to_le_bytes());
        hasher.update(member.key.as_bytes());
        hasher.update(((end - member.start) as u64).to_le_bytes());
        hasher.update(&form[member.start..*end]);
    }
    Ok(hasher.finalize().into())
}

/// Writes a tag, the length and the bytes of a text, so that different sequences of texts never have the same
/// form.
pub(crate) fn write_text(form: &mut Vec<u8>, tag: u8, text: &[u8]) {
    form.push(tag);
    form.extend_from_slice(&(text.len() as u64).to_le_bytes());
    form.extend_from_slice(text);
}

fn write_number(form: &mut Vec<u8>, text: &str) {
    write_text(form, b'#', canonical_number(text).as_bytes());
}

/// A JSON number as its significant digits and a power of ten, so that `1.10`, `1.1` and `11e-1` become the
/// same text.
pub(crate) fn canonical_number(text: &str) -> Cow<'_, str> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Cow::Borrowed("0");
    }
    let dropped = digits.len() - digits.trim_end_matches('0').len();
    // A number whose exponent does not fit an i64 stays as it is written; such numbers are equal only if they
    // are written alike.
    let scale = exponent
        .parse::<i64>()
        .ok()
        .and_then(|exponent| exponent.checked_sub(fraction.len() as i64))
        .and_then(|exponent| exponent.checked_add(dropped as i64));
    match scale {
        Some(scale) => Cow::Owned(format!("{}{significant}e{scale}", if negative { "-" } else { "" })),
        None => Cow::Borrowed(text),
    }
}
