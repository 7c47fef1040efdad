//! Mistakes in settings. All of them are reported at once, each with its place.

use std::fmt;

use super::layers::Origin;
use super::secret::without_password;
use super::settings::ENVIRONMENT_PREFIX;

/// All mistakes in the settings; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

/// One mistake: its place, and a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) origin: Origin,
    pub(super) text: String,
}

impl Mistakes {
    /// Sorts the mistakes: those in the file come last, in the order of the file. Each is told once, also if others of the
    /// same place were found in between.
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| match mistake.origin {
            Origin::File { line, column, .. } => (line, column),
            _ => (0, 0),
        });
        let mut told = Vec::<Mistake>::with_capacity(mistakes.len());
        for mistake in mistakes {
            if !told.contains(&mistake) {
                told.push(mistake);
            }
        }
        Self(told)
    }
}

impl Mistake {
    /// A value that is not allowed. `allowed` continues the sentence "it must be ...".
    pub(super) fn value(origin: &Origin, name: &str, value: &str, allowed: impl fmt::Display) -> Self {
        Self::written(origin, name, format_args!("{:?}", without_password(value)), allowed)
    }

    /// As [`value`](Self::value), for a value as the file writes it: a string with quotes, a number without.
    pub(super) fn written(
        origin: &Origin,
        name: &str,
        value: impl fmt::Display,
        allowed: impl fmt::Display,
    ) -> Self {
        let from = match origin {
            // `Display` of `Mistakes` puts the place at the beginning of the line.
            Origin::File { .. } => String::new(),
            other => format!(" (from {other})"),
        };
        let text = format!("{name} = {value}{from} is not allowed: it must be {allowed}");
        Self { origin: origin.clone(), text }
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

impl fmt::Display for Mistakes {
    /// One mistake per line. A mistake in a file begins with `file:line:column`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Mistake { origin, text }) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            match origin {
                Origin::File { .. } => write!(f, "{origin}: {text}")?,
                _ => f.write_str(text)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The known name that is most similar to an unknown one, as the end of a sentence; empty if none is similar.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    suggestion_behind("", name, known)
}

/// What to do about an unknown environment variable, as the end of a sentence; empty if that is not known.
pub(super) fn advice_for_variable<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match name {
        "HOOKBOX_CONFIG" => "; name the settings file with --config".to_owned(),
        // The prefix, which all have, makes no two of them similar.
        _ => suggestion_behind(ENVIRONMENT_PREFIX, name, known),
    }
}

fn suggestion_behind<'a>(prefix: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let likeness = |known: &str| strsim::jaro_winkler(behind(prefix, name), behind(prefix, known));
    let nearest = known.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|nearest| likeness(nearest) > 0.8) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => String::new(),
    }
}

fn behind<'a>(prefix: &str, name: &'a str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}
