//! Reads `[sources]` of the settings file, with the place of each value.

mod print;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::print::ReadSource;
use super::file::{Table, Value};
use super::layers::Layers;
use super::mistake::{Mistake, suggestion};
use super::secret;
use crate::domain::secret::Secret;
use crate::domain::webhook::Source;
use crate::sources::{Keys, Preset, Presets, Rules, Settings, SourceMap, SourceRules};

/// Reads a secret or a public key from a setting, as [`secret::read`] does.
type ReadText = fn(&str, &BTreeMap<String, Secret>) -> Result<Secret, String>;

/// The sources of the settings file.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    map: Arc<SourceMap>,
    read: Vec<ReadSource>,
}

impl Sources {
    /// Reads and compiles the sources of the file; none of them if there is no file. Adds every mistake, with its place.
    /// After a mistake, sources are missing.
    pub(super) fn collect(layers: &Layers, mistakes: &mut Vec<Mistake>) -> Self {
        let public_url = public_url(layers);
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

/// The setting `public_url` without a slash at its end; none if it is not set.
pub(super) fn public_url(layers: &Layers) -> Option<Arc<str>> {
    let url = layers.get("public_url").0.trim_end_matches('/');
    (!url.is_empty()).then(|| Arc::from(url))
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
            Err(error) => {
                let problem = error.detail().replacen("`source`", "it", 1);
                format!("a source cannot have the name {name:?}: {problem}")
            }
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
        // The members with a mistake that keeps them from being read.
        let mut unread = Vec::new();
        let preset = table.get("preset").and_then(|value| {
            read.add("preset", &value);
            let preset = self.preset(&value);
            unread.extend(preset.is_none().then_some("preset"));
            preset
        });
        let mut settings = Settings::default();
        for member in Settings::MEMBERS {
            let Some(value) = table.get(member) else { continue };
            if settings.set(member, value.deserializer()).is_err() {
                self.mistakes.extend(value.faults(|value| Settings::default().set(member, value)));
                unread.push(member);
            }
            read.add(member, &value);
        }
        if let Some((preset_name, preset)) = preset {
            settings = settings.over(&preset.settings);
            read.add_preset(preset_name, preset);
        }
        let mut keys = ReadKeys { unread, ..ReadKeys::default() };
        self.keys(&mut table, &mut read, &mut keys);
        self.check_token_is_used(&mut table, &settings, &keys.unread);
        self.mistakes.extend(table.unknown_with(|name| {
            let is_of_verify = settings.can_have_in_verify(name);
            is_of_verify.then(|| format!("; write it into `verify`, such as verify = {{ {name} = ... }}"))
        }));
        let preset = preset.map(|(name, _)| name.to_owned());
        let has_public_url = self.public_url.is_some();
        let ReadKeys { keys, values, unread } = keys;
        let compiled = if self.mistakes.len() > before {
            Err(Rules::mistakes(settings, &keys, has_public_url, &unread))
        } else {
            Rules::new(settings, keys, has_public_url)
        };
        match compiled {
            Ok(rules) => (Some((preset, rules)), read),
            Err(mistakes) => {
                let placed = mistakes.iter().map(|mistake| placed(value, &mut table, &values, mistake));
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

    fn keys<'v>(&mut self, table: &mut Table<'v>, read: &mut ReadSource, keys: &mut ReadKeys<'v>) {
        keys.keys.secrets = self.texts("secrets", secret::read, table, read, keys);
        let public_keys = self.texts("public_keys", secret::read_public_key, table, read, keys);
        keys.keys.public_keys = public_keys.iter().map(|key| key.expose().to_owned()).collect();
        if let Some(value) = table.get("verify_token") {
            read.add_keys("verify_token", &value);
            keys.keys.verify_token = self.text(&value, secret::read);
            keys.unread.extend(keys.keys.verify_token.is_none().then_some("verify_token"));
        }
    }

    /// The texts of a member with one or several keys, as far as they can be read.
    fn texts<'v>(
        &mut self,
        member: &'static str,
        read_text: ReadText,
        table: &mut Table<'v>,
        read: &mut ReadSource,
        keys: &mut ReadKeys<'v>,
    ) -> Vec<Secret> {
        let Some(value) = table.get(member) else { return Vec::new() };
        read.add_keys(member, &value);
        let mut texts = Vec::new();
        for item in value.items() {
            match self.text(&item, read_text) {
                Some(text) => {
                    texts.push(text);
                    keys.values.entry(member).or_default().push(item);
                }
                None => keys.unread.push(member),
            }
        }
        texts
    }

    /// Adds a mistake if no handshake compares the token of the source with anything.
    fn check_token_is_used(&mut self, table: &mut Table<'_>, settings: &Settings, unread: &[&str]) {
        let Some(value) = table.get("verify_token") else { return };
        let may_be_used = settings.needs().contains(&"verify_token")
            || ["preset", "handshakes"].iter().any(|member| unread.contains(member));
        if !may_be_used {
            let problem = "no handshake of the source compares it with anything; remove it";
            let text = format!("{}: {problem}", value.name());
            self.mistakes.push(Mistake { origin: value.origin(), text });
        }
    }

    fn text(&mut self, item: &Value<'_>, read_text: ReadText) -> Option<Secret> {
        let Some(text) = item.text().filter(|text| !text.is_empty()) else {
            self.mistakes.push(item.wrong_secret("one text that is not empty, such as \"env:NAME\""));
            return None;
        };
        let secret = read_text(text, self.layers.environment());
        secret
            .map_err(|missing| {
                self.mistakes.push(item.wrong_secret(format_args!("a secret, but {missing}")));
            })
            .ok()
    }
}

/// The keys of a source as they were read.
#[derive(Default)]
struct ReadKeys<'v> {
    keys: Keys,
    /// The value in the file of each of these keys, by the member that has them.
    values: BTreeMap<&'static str, Vec<Value<'v>>>,
    /// The members of the source that could not be read as a whole.
    unread: Vec<&'static str>,
}

/// Adds the place in the file to a mistake that was found while compiling. A member that comes from the preset has the
/// place of the source.
fn placed(
    source: &Value<'_>,
    table: &mut Table<'_>,
    keys: &BTreeMap<&'static str, Vec<Value<'_>>>,
    mistake: &crate::sources::Mistake,
) -> Mistake {
    if let Some(key) = mistake.at.and_then(|at| keys.get(mistake.member)?.get(at)) {
        return key.wrong_secret(&mistake.text);
    }
    let value = table.get(mistake.member);
    let item = mistake.at.and_then(|at| value.as_ref()?.items().into_iter().nth(at));
    let origin = item.or(value).map_or_else(|| source.origin(), |value| value.origin());
    Mistake { origin, text: format!("{}.{}: {}", source.name(), mistake.member, mistake.text) }
}
