//! Reads `[sources]` of the settings file, with the place of each value.

mod print;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::print::ReadSource;
use super::file::{Table, Value};
use super::layers::Layers;
use super::mistake::{Mistake, suggestion};
use super::secret;
use crate::domain::secret::Secret;
use crate::domain::webhook::Source;
use crate::sources::{Keys, Preset, Presets, Rules, Settings, SourceMap, SourceRules};

/// The sources of the settings file.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    map: Arc<SourceMap>,
    read: Vec<ReadSource>,
}

/// The members with keys, which `Settings` does not have.
const OF_KEYS: [&str; 4] = ["preset", "secrets", "public_keys", "verify_token"];

impl Sources {
    /// Reads and compiles the sources of the file; none of them if there is no file. Adds every mistake, with its place.
    /// After a mistake, sources are missing.
    pub(super) fn collect(layers: &Layers, mistakes: &mut Vec<Mistake>) -> Self {
        let public_url = layers.get("public_url").0.trim_end_matches('/');
        let public_url = (!public_url.is_empty()).then(|| Arc::<str>::from(public_url));
        layers.read_sources(|sources| {
            let Some(sources) = sources else { return Self::default() };
            SourceReader { layers, public_url, mistakes }.sources(&sources)
        })
    }

    /// The compiled sources, by their names.
    pub fn map(&self) -> Arc<SourceMap> {
        Arc::clone(&self.map)
    }

    /// The sources in the form of the settings file, each value with its origin as a comment, without secrets.
    pub fn text(&self) -> String {
        self.read.iter().map(ToString::to_string).collect()
    }
}

struct SourceReader<'m, 'l> {
    layers: &'l Layers,
    /// The setting `public_url` without a slash at its end; none if it is not set.
    public_url: Option<Arc<str>>,
    mistakes: &'m mut Vec<Mistake>,
}

impl SourceReader<'_, '_> {
    fn sources(&mut self, sources: &Value<'_>) -> Sources {
        let Some(table) = sources.table() else {
            self.mistakes.push(sources.wrong("a table; write [sources.NAME] on a line of its own"));
            return Sources::default();
        };
        let (mut map, mut all_read) = (SourceMap::new(), Vec::new());
        for (name, value) in table.entries() {
            let source = self.name(name, &value);
            let Some(members) = value.table() else {
                self.mistakes.push(value.wrong("a table; write [sources.NAME], and its members below"));
                continue;
            };
            let (compiled, read) = self.source(name, &value, members);
            all_read.push(read);
            if let (Some(source), Some((preset, rules))) = (source, compiled) {
                let public_url = self.public_url.clone();
                let compiled = SourceRules { name: source.clone(), preset, rules, public_url };
                map.insert(source, Arc::new(compiled));
            }
        }
        Sources { map: Arc::new(map), read: all_read }
    }

    fn name(&mut self, name: &str, value: &Value<'_>) -> Option<Source> {
        let text = match Source::new(name) {
            Ok(source) if source != Source::default() && !source.is_own() => return Some(source),
            Ok(_) => format!("the source `{name}` belongs to hookbox; choose another name"),
            Err(error) => format!("the name of a source: {}", error.detail()),
        };
        self.mistakes.push(Mistake { origin: value.origin(), text });
        None
    }

    /// The name of the preset of a source, and its rules; none if they have a mistake. And what was read.
    fn source(
        &mut self,
        name: &str,
        value: &Value<'_>,
        mut table: Table<'_>,
    ) -> (Option<(Option<String>, Rules)>, ReadSource) {
        let before = self.mistakes.len();
        let mut read = ReadSource::new(name);
        let preset = table.get("preset").and_then(|value| {
            read.add("preset", &value);
            self.preset(&value)
        });
        let mut settings = Settings::default();
        for member in Settings::MEMBERS {
            let Some(value) = table.get(member) else { continue };
            if let Err(error) = settings.set(member, value.deserializer()) {
                self.mistakes.push(value.faulty(&error));
            }
            read.add(member, &value);
        }
        if let Some((preset_name, preset)) = preset {
            settings = settings.over(&preset.settings);
            read.add_preset(preset_name, preset);
        }
        let keys = self.keys(&mut table, &mut read);
        self.mistakes.extend(table.unknown());
        if self.mistakes.len() > before {
            return (None, read);
        }
        let preset = preset.map(|(name, _)| name.to_owned());
        match Rules::new(settings, keys, self.public_url.is_some()) {
            Ok(rules) => (Some((preset, rules)), read),
            Err(mistakes) => {
                let placed = mistakes.iter().map(|mistake| placed(value, &mut table, mistake));
                self.mistakes.extend(placed);
                (None, read)
            }
        }
    }

    fn preset<'v>(&mut self, value: &Value<'v>) -> Option<(&'v str, &'static Preset)> {
        let presets = Presets::built_in();
        let name = value.text().unwrap_or_default();
        let found = presets.get(name);
        if found.is_none() {
            let known = suggestion(name, presets.iter().map(|(name, _)| name));
            let allowed = format!("a preset, as `hookbox presets` lists them{known}");
            self.mistakes.push(value.wrong(allowed));
        }
        found.map(|preset| (name, preset))
    }

    fn keys(&mut self, table: &mut Table<'_>, read: &mut ReadSource) -> Keys {
        let mut texts = |reader: &mut Self, member: &'static str| {
            let Some(value) = table.get(member) else { return Vec::new() };
            read.add_keys(member, &value);
            value.items().iter().filter_map(|item| reader.secret(item)).collect::<Vec<_>>()
        };
        let secrets = texts(self, "secrets");
        let public_keys = texts(self, "public_keys");
        let verify_token = texts(self, "verify_token");
        Keys {
            secrets,
            public_keys: public_keys.iter().map(|key| key.expose().to_owned()).collect(),
            verify_token: verify_token.into_iter().next(),
        }
    }

    fn secret(&mut self, item: &Value<'_>) -> Option<Secret> {
        let Some(text) = item.text().filter(|text| !text.is_empty()) else {
            self.mistakes.push(item.wrong_secret("a text that is not empty, such as \"env:NAME\""));
            return None;
        };
        let secret = secret::read(text, self.layers.environment());
        secret
            .map_err(|missing| {
                self.mistakes.push(item.wrong_secret(format_args!("a secret, but {missing}")));
            })
            .ok()
    }
}

/// Adds the place in the file to a mistake that was found while compiling. A member that comes from the preset has the
/// place of the source.
fn placed(source: &Value<'_>, table: &mut Table<'_>, mistake: &crate::sources::Mistake) -> Mistake {
    let value = table.get(mistake.member);
    match (value, mistake.at) {
        (Some(value), Some(at)) => {
            let item = value.items().into_iter().nth(at).unwrap_or(value);
            if OF_KEYS.contains(&mistake.member) {
                return item.wrong_secret(&mistake.text);
            }
            Mistake { origin: item.origin(), text: format!("{}: {}", mistake.member, mistake.text) }
        }
        (value, _) => {
            let origin = value.map_or_else(|| source.origin(), |value| value.origin());
            Mistake { origin, text: format!("{}: {}", mistake.member, mistake.text) }
        }
    }
}
