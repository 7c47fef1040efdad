//! Prints sources as `hookbox config` shows them: without secrets.

use std::fmt::{self, Display};

use serde::Deserialize as _;

use crate::config::file::Value;
use crate::config::secret;
use crate::sources::Preset;

/// What is shown of a source.
#[derive(Clone, Debug)]
pub(super) struct ReadSource {
    name: String,
    lines: Vec<Line>,
}

/// A member, its value as TOML, and its origin.
#[derive(Clone, Debug)]
struct Line {
    member: String,
    value: String,
    origin: String,
}

impl ReadSource {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: Vec::new() }
    }

    /// Adds a member of the file.
    pub(super) fn add(&mut self, member: &str, value: &Value<'_>) {
        let shown = toml::Value::deserialize(value.deserializer());
        let shown = shown.map_or_else(|_| value.written(), |value| value.to_string());
        self.push(member, shown, value);
    }

    /// Adds a member of the file with secrets: shows where they are.
    pub(super) fn add_keys(&mut self, member: &str, value: &Value<'_>) {
        let places =
            value.items().into_iter().map(|item| secret::shown(item.text().unwrap_or_default()).into());
        let shown = match value.text() {
            Some(text) => toml::Value::from(secret::shown(text)),
            None => toml::Value::Array(places.collect()),
        };
        self.push(member, shown.to_string(), value);
    }

    /// Adds the members of a preset that the file does not set.
    pub(super) fn add_preset(&mut self, name: &str, preset: &Preset) {
        for (member, value) in &preset.members {
            if !self.lines.iter().any(|line| line.member == *member) {
                let origin = format!("the preset {name}");
                self.lines.push(Line { member: member.clone(), value: value.clone(), origin });
            }
        }
    }

    fn push(&mut self, member: &str, shown: String, value: &Value<'_>) {
        let origin = value.origin().to_string();
        self.lines.push(Line { member: member.to_owned(), value: shown, origin });
    }
}

impl Display for ReadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n[sources.{}]", self.name)?;
        self.lines.iter().try_for_each(|Line { member, value, origin }| {
            let line = format!("{member} = {value}");
            writeln!(f, "{line:<44} # {origin}")
        })
    }
}
