//! The layers from which values come: defaults, file, environment and flags. A later layer wins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::file::{File, Value};
use super::mistake::{Mistake, Mistakes, advice_for_variable, suggestion};
use super::settings::{ENVIRONMENT_PREFIX, LISTS, OF_CLIENTS, SECRETS, SETTINGS, Setting};
use super::{default_file, secret, traces};
use crate::domain::secret::Secret;
use crate::telemetry::Traces;

/// The array of tables with the routes, which is not a simple setting.
const ROUTES: &str = "routes";

/// The table with the tokens, each a table by its name.
const TOKENS: &str = "tokens";

/// The table with the files of TLS.
const TLS: &str = "tls";

/// The table with the sources, each a table by its name.
const SOURCES: &str = "sources";

/// What the file has besides simple settings.
const TABLES: [&str; 4] = [ROUTES, TOKENS, TLS, SOURCES];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default: nothing sets the value.
    Default,
    /// The settings file.
    File {
        /// The path of the file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// The environment variable with this name.
    Environment(String),
    /// The flag with this name, without its two hyphens.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "the environment, {name}"),
            Self::Flag(name) => write!(f, "the flag --{name}"),
        }
    }
}

/// The value of each setting, and its origin. `Debug` shows no value, because a URL may contain a password.
#[derive(Clone, Debug)]
pub struct Layers {
    values: BTreeMap<&'static str, (Secret, Origin)>,
    /// The values of the file that the environment or a flag overrides.
    overridden: BTreeMap<&'static str, (Secret, Origin)>,
    file: Option<File>,
    mistakes: Vec<Mistake>,
    environment: BTreeMap<String, Secret>,
    unknown: Vec<String>,
    traces: Option<Traces>,
}

impl Layers {
    /// Reads the defaults, a file, the environment and flags. Without `file`, reads `hookbox.toml` in the working directory
    /// if it exists. Flags are pairs of the name of a setting and its value. Errors: the file cannot be read.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, Mistakes> {
        let (layers, unread) = Self::read_what_is_readable(file, environment, flags);
        unread.map_or(Ok(layers), Err)
    }

    /// As [`read`](Self::read), but goes on without a file that cannot be read, and also returns why it cannot.
    pub fn read_what_is_readable(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'static str, String)>,
    ) -> (Self, Option<Mistakes>) {
        let defaults = SETTINGS.iter().map(|setting| {
            let value = Secret::from(setting.default.to_owned());
            (setting.name, (value, Origin::Default))
        });
        let environment = environment.into_iter().map(|(name, value)| (name, Secret::from(value)));
        let mut layers = Self {
            values: defaults.collect(),
            overridden: BTreeMap::new(),
            file: None,
            mistakes: Vec::new(),
            environment: environment.collect(),
            unknown: Vec::new(),
            traces: None,
        };
        let unread = file.or(default_file::path()).and_then(|file| layers.add_file(file).err());
        layers.add_environment();
        for (name, value) in flags {
            if let Some(setting) = find(name) {
                layers.set(setting, value.into(), Origin::Flag(setting.flag_name()));
            }
        }
        (layers, unread)
    }

    /// The path of the settings file; none if no file was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(File::path)
    }

    /// The value of a setting, and its origin.
    pub fn get(&self, name: &str) -> (&str, &Origin) {
        match self.values.get(name) {
            Some((value, origin)) => (value.expose(), origin),
            None => ("", &Origin::Default),
        }
    }

    /// The value of a setting in the file, and its origin, if the environment or a flag overrides it.
    pub(super) fn overridden(&self, name: &str) -> Option<(&str, &Origin)> {
        self.overridden.get(name).map(|(value, origin)| (value.expose(), origin))
    }

    /// The names of settings whose values differ from those in `since`.
    pub fn changed(&self, since: &Self) -> Vec<&'static str> {
        let is_same = |name: &str, value: &Secret| {
            since.values.get(name).is_some_and(|(before, _)| value.is_same(before))
        };
        let changed = self.values.iter().filter(|(name, (value, _))| !is_same(name, value));
        changed.map(|(name, _)| *name).collect()
    }

    /// Calls `read` with the routes of the file; with none if there is no file, or it has no routes.
    pub(super) fn read_routes<T>(&self, read: impl FnOnce(Option<Value<'_>>) -> T) -> T {
        self.read_value(ROUTES, read)
    }

    /// Calls `read` with the sources of the file; with none if there is no file, or it has no sources.
    pub(super) fn read_sources<T>(&self, read: impl FnOnce(Option<Value<'_>>) -> T) -> T {
        self.read_value(SOURCES, read)
    }

    /// Calls `read` with the tokens of the file; with none if there is no file, or it has no tokens.
    pub(super) fn read_tokens<T>(&self, read: impl FnOnce(Option<Value<'_>>) -> T) -> T {
        self.read_value(TOKENS, read)
    }

    /// Calls `read` with the table of TLS; with none if there is no file, or it has no such table.
    pub(super) fn read_tls<T>(&self, read: impl FnOnce(Option<Value<'_>>) -> T) -> T {
        self.read_value(TLS, read)
    }

    /// Calls `read` with a value of the file; with none if there is no file, or it does not have the value.
    pub(super) fn read_value<T>(&self, name: &str, read: impl FnOnce(Option<Value<'_>>) -> T) -> T {
        let Some(file) = &self.file else { return read(None) };
        let (table, _) = file.parse();
        read(table.get(name).map(|value| Value::new(file, name.to_owned(), value)))
    }

    /// Whether the file, if there is one, is valid TOML, and all its settings and tables are known. If not, a part of it
    /// may be missing.
    pub(super) fn are_whole(&self) -> bool {
        !self.mistakes.iter().any(|mistake| matches!(mistake.origin, Origin::File { .. }))
    }

    /// The mistakes in the file, without those in values.
    pub(super) fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// Whether the file itself has a mistake at this place. If that is a fault of its TOML, the parser goes on with a name
    /// or value of its own.
    pub(super) fn has_mistake_at(&self, origin: &Origin) -> bool {
        self.mistakes.iter().any(|mistake| mistake.origin == *origin)
    }

    /// The environment variables, for secrets that name one.
    pub(super) fn environment(&self) -> &BTreeMap<String, Secret> {
        &self.environment
    }

    /// A warning for each environment variable that begins with `HOOKBOX_` and is not a setting. The name may
    /// be misspelt, but an orchestrator may also have set the variable, so it is not an error.
    pub fn warnings(&self) -> Vec<String> {
        let names = SETTINGS.iter().map(Setting::environment_name).collect::<Vec<_>>();
        let warning = |variable: &String| {
            let advice = advice_for_variable(variable, names.iter().map(String::as_str));
            format!("{variable} is set in the environment, but is not a setting of hookbox{advice}")
        };
        self.unknown.iter().map(warning).collect()
    }

    /// Where the standard `OTEL_*` variables say that traces are exported to; none if they are not.
    pub fn traces(&self) -> Option<Traces> {
        self.traces.clone()
    }

    /// The name of this process: `<host> <process id>`. The host is `localhost` if its name is not known. The space
    /// keeps the name apart from those of workers elsewhere, which have none: a lease belongs to a name, and a worker must
    /// not end an attempt that this process runs.
    pub fn worker(&self) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { self.variable("HOSTNAME") } else { &host };
        let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
        format!("{host} {}", std::process::id())
    }

    fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", Secret::expose)
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Mistakes> {
        let file = File::read(path)?;
        let (table, mistakes) = file.parse();
        self.mistakes = mistakes;
        for (key, value) in &table {
            let name = key.get_ref();
            if TABLES.into_iter().any(|table| name == table) {
                continue;
            }
            let Some(setting) = find(name) else {
                let origin = file.origin(&key.span());
                if self.has_mistake_at(&origin) {
                    continue;
                }
                let known = SETTINGS.iter().map(|setting| setting.name).chain(TABLES);
                let text = format!("the setting `{name}` is not known{}", suggestion(name, known));
                self.mistakes.push(Mistake { origin, text });
                continue;
            };
            let value = Value::new(&file, setting.name.to_owned(), value);
            let written = if LISTS.contains(&setting.name) {
                value.items().iter().map(Value::written).collect::<Vec<_>>().join(",")
            } else {
                value.written()
            };
            self.values.insert(setting.name, (written.into(), value.origin()));
        }
        drop(table);
        self.file = Some(file);
        Ok(())
    }

    fn add_environment(&mut self) {
        match traces::read(&self.environment) {
            Ok(traces) => self.traces = traces,
            Err(mistake) => self.mistakes.push(mistake),
        }
        for (variable, value) in self.environment.clone() {
            if !variable.starts_with(ENVIRONMENT_PREFIX) || OF_CLIENTS.contains(&variable.as_str()) {
                continue;
            }
            match SETTINGS.iter().find(|setting| setting.environment_name() == variable) {
                Some(setting) => {
                    let value = secret::without_newline(value.expose()).to_owned();
                    self.set(setting, value.into(), Origin::Environment(variable));
                }
                None => self.unknown.push(variable),
            }
        }
    }

    fn set(&mut self, setting: &'static Setting, value: Secret, origin: Origin) {
        let before = self.values.insert(setting.name, (value, origin));
        if let Some(before @ (_, Origin::File { .. })) = before {
            self.overridden.insert(setting.name, before);
        }
    }
}

impl fmt::Display for Layers {
    /// The settings without the tables, in the form of the settings file; the origin of each value is a
    /// comment. Secrets and passwords in URLs are hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in SETTINGS {
            let (value, origin) = self.get(setting.name);
            let shown = if SECRETS.contains(&setting.name) && !value.is_empty() {
                secret::shown(value).to_owned()
            } else {
                secret::without_password(value)
            };
            let line = format!("{} = {}", setting.name, toml::Value::String(shown));
            writeln!(f, "{line:<44} # {origin}")?;
        }
        Ok(())
    }
}

fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
