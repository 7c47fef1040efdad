//! Parses the values of settings. A mistake says which values are allowed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use tracing_subscriber::EnvFilter;

use super::layers::{Layers, Origin};
use super::mistake::Mistake;
use super::settings::SETTINGS;
use super::{Database, base_path, secret};
use crate::domain::host::{Host, WebOrigin};
use crate::domain::route::Rate;
use crate::domain::secret::Secret;
use crate::domain::trace::TraceUrl;
use crate::store::postgres::InvalidTarget;
use crate::telemetry::LogFormat;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest retention. Every store can subtract it from any time without an overflow.
pub(super) const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Parses the URL of a database. The error says what is wrong with a PostgreSQL URL; it is none for any other
/// text.
pub(super) fn database(url: &str) -> Result<Database, Option<InvalidTarget>> {
    match url.strip_prefix("sqlite://") {
        // Refused: each connection to a SQLite database in memory would have a database of its own.
        Some(path) if path.is_empty() || path.contains(":memory:") => Err(None),
        Some(path) => Ok(Database::Sqlite(PathBuf::from(path))),
        None if url.starts_with("postgres") => url.parse().map(Database::Postgres).map_err(Some),
        None => Err(None),
    }
}

/// A host, with or without a port, which means nothing here. An IPv6 address needs no brackets.
fn host(text: &str) -> Option<Host> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.into()),
        Err(_) => Host::parse(text).map(|(host, _)| host),
    }
}

/// A number per second, minute or hour, such as `1000/m`.
pub(super) fn rate(text: &str) -> Option<Rate> {
    text.parse().ok()
}

/// A duration such as `500ms` or `2s`; none if it cannot be parsed or is not in the range.
pub(super) fn duration(text: &str, allowed: &RangeInclusive<Duration>) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|duration| allowed.contains(duration))
}

/// Parses settings one by one, and collects the mistakes. Its methods return none for a wrong setting.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers) -> Self {
        Self { layers, mistakes: RefCell::new(layers.mistakes().to_vec()) }
    }

    /// Adds a mistake, unless the file itself has one at the same place: a value that is not TOML is told once.
    pub(super) fn wrong(&self, mistake: Mistake) {
        if !self.layers.has_mistake_at(&mistake.origin) {
            self.mistakes.borrow_mut().push(mistake);
        }
    }

    /// The environment variables.
    pub(super) fn environment(&self) -> &'a BTreeMap<String, Secret> {
        self.layers.environment()
    }

    /// All mistakes.
    pub(super) fn mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }

    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Option<T> {
        self.read(name, |value| value.parse().ok())
    }

    pub(super) fn number<T: FromStr + PartialOrd>(
        &self,
        name: &str,
        allowed: RangeInclusive<T>,
    ) -> Option<T> {
        self.read(name, |value| value.parse().ok().filter(|number| allowed.contains(number)))
    }

    pub(super) fn share(&self, name: &str) -> Option<f64> {
        self.number(name, 0.0..=1.0)
    }

    pub(super) fn duration(&self, name: &str, allowed: RangeInclusive<Duration>) -> Option<Duration> {
        self.read(name, |value| duration(value, &allowed))
    }

    /// A duration; the inner value is none if the setting is empty.
    pub(super) fn optional_duration(
        &self,
        name: &str,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Option<Duration>> {
        self.read(
            name,
            |value| if value.is_empty() { Some(None) } else { duration(value, &allowed).map(Some) },
        )
    }

    /// A duration that is at least that of another setting. Does not compare if the other setting is wrong.
    pub(super) fn duration_from(
        &self,
        name: &str,
        least: (&str, Option<Duration>),
        most: Duration,
    ) -> Option<Duration> {
        let read = self.duration(name, Duration::ZERO..=most)?;
        let (other, Some(least)) = least else { return Some(read) };
        if read >= least {
            return Some(read);
        }
        // The mistake may be in either setting, so the message names both.
        let (value, origin) = self.layers.get(name);
        let (other_value, other_origin) = self.layers.get(other);
        let allowed = format!(
            "at least {other}, which is {other_value:?} (from {other_origin}); change one of the two"
        );
        self.wrong(Mistake::value(origin, name, value, allowed));
        None
    }

    pub(super) fn bytes(&self, name: &str, allowed: RangeInclusive<usize>) -> Option<usize> {
        self.read(name, |value| {
            let size = value.parse::<ByteSize>().ok()?;
            usize::try_from(size.as_u64()).ok().filter(|bytes| allowed.contains(bytes))
        })
    }

    pub(super) fn database(&self, name: &str) -> Option<Database> {
        let check = |secret: &Secret, (value, origin): (&str, &Origin)| {
            if secret::has_hidden_password(secret.expose()) {
                let allowed = format!("a URL, but {}", secret::HIDDEN_PASSWORD);
                self.wrong(Mistake::value(origin, name, value, allowed));
                return None;
            }
            let read = database(secret.expose());
            read.map_err(|problem| {
                // A URL has many parts, so the message says which part is wrong.
                let problem = problem.map(|problem| format!("; {problem}")).unwrap_or_default();
                let allowed = format!("{}{problem}", allowed_for(name));
                self.wrong(Mistake::value(origin, name, value, allowed));
            })
            .ok()
        };
        let environment = self.layers.environment();
        // The variable or file that an overridden value names need not exist.
        if let Some(overridden) = self.layers.overridden(name)
            && let Ok(secret) = secret::read(overridden.0, environment)
        {
            check(&secret, overridden);
        }
        let (value, origin) = self.layers.get(name);
        match secret::read(value, environment) {
            Ok(secret) => check(&secret, (value, origin)),
            Err(missing) => {
                self.wrong(Mistake::value(origin, name, value, format_args!("a URL, but {missing}")));
                None
            }
        }
    }

    /// A list of hosts; without any if the setting is empty. Each item with a mistake is told at its own place. Also checks
    /// the list in the file if the environment or a flag overrides it.
    pub(super) fn hosts(&self, name: &str) -> Option<Vec<Host>> {
        let read = |value: &str, origin: &Origin| {
            let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
            let hosts = items.map(|item| {
                let host = host(item);
                if host.is_none() {
                    self.wrong(Mistake::value(origin, name, item, allowed_for(name)));
                }
                host
            });
            // Reads all items, also after one with a mistake.
            hosts.collect::<Vec<_>>()
        };
        let in_file = self.layers.read_value(name, |list| {
            let items = list.map(|list| list.items()).unwrap_or_default();
            items.iter().flat_map(|item| read(&item.written(), &item.origin())).collect()
        });
        let (value, origin) = self.layers.get(name);
        let hosts: Vec<_> = if matches!(origin, Origin::File { .. }) { in_file } else { read(value, origin) };
        hosts.into_iter().collect()
    }

    /// The origin of a URL; the inner value is none if the setting is empty.
    pub(super) fn web_origin(&self, name: &str) -> Option<Option<WebOrigin>> {
        self.read(
            name,
            |value| if value.is_empty() { Some(None) } else { WebOrigin::of_url(value).map(Some) },
        )
    }

    /// The path of the page; empty if that is the root.
    pub(super) fn base_path(&self, name: &str) -> Option<Arc<str>> {
        self.read(name, base_path::base_path)
    }

    /// The URL of a trace; the inner value is none if the setting is empty.
    pub(super) fn trace_url(&self, name: &str) -> Option<Option<TraceUrl>> {
        self.read(name, |value| if value.is_empty() { Some(None) } else { TraceUrl::parse(value).map(Some) })
    }

    /// A secret; the inner value is none if the setting is empty. Mistakes do not show it.
    pub(super) fn secret(&self, name: &str, is_allowed: impl Fn(&str) -> bool) -> Option<Option<Secret>> {
        let (value, origin) = self.layers.get(name);
        if value.is_empty() {
            return Some(None);
        }
        let allowed = match secret::read(value, self.layers.environment()) {
            Ok(secret) if is_allowed(secret.expose()) => return Some(Some(secret)),
            Ok(_) => allowed_for(name).to_owned(),
            Err(missing) => format!("{}, but {missing}", allowed_for(name)),
        };
        self.wrong(Mistake::written(origin, name, format_args!("{:?}", secret::shown(value)), allowed));
        None
    }

    pub(super) fn rate_limit(&self, name: &str) -> Option<Option<Rate>> {
        self.read(name, |value| if value.is_empty() { Some(None) } else { rate(value).map(Some) })
    }

    pub(super) fn log_filter(&self, name: &str) -> Option<String> {
        self.read(name, |value| {
            // `EnvFilter` would read a single word that is not a level as the name of a module.
            let levels = ["error", "warn", "info", "debug", "trace", "off"];
            let good = value.split(',').all(|directive| {
                directive.contains('=') || levels.contains(&directive.trim().to_ascii_lowercase().as_str())
            });
            (good && EnvFilter::try_new(value).is_ok()).then(|| value.to_owned())
        })
    }

    pub(super) fn log_format(&self, name: &str) -> Option<Option<LogFormat>> {
        self.read(name, |value| match value {
            "" => Some(None),
            "pretty" => Some(Some(LogFormat::Pretty)),
            "json" => Some(Some(LogFormat::Json)),
            _ => None,
        })
    }

    /// Parses a setting. Also checks its value in the file if the environment or a flag overrides it.
    fn read<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let check = |(value, origin): (&str, &Origin)| {
            let read = parse(value);
            if read.is_none() {
                self.wrong(Mistake::value(origin, name, value, allowed_for(name)));
            }
            read
        };
        if let Some(overridden) = self.layers.overridden(name) {
            check(overridden);
        }
        check(self.layers.get(name))
    }
}

fn allowed_for(name: &str) -> &'static str {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.map_or("another value", |setting| setting.allowed)
}
