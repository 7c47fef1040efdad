//! Placeholders in the arguments of the handler `exec`.
//!
//! A placeholder is a whole argument. Within a longer text its value would become part of a script, an option or a path,
//! and the sender of a webhook would write a part of it.

/// What an argument is replaced by: a name of the webhook or of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The id of the webhook.
    Id,
    /// Its idempotency key.
    Key,
    /// Its source.
    Source,
    /// Its event type.
    EventType,
    /// The route of the job.
    Route,
    /// The number of the attempt.
    Attempt,
}

impl Placeholder {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Id, Self::Key, Self::Source, Self::EventType, Self::Route, Self::Attempt];

    /// The argument that is replaced.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "{id}",
            Self::Key => "{key}",
            Self::Source => "{source}",
            Self::EventType => "{event_type}",
            Self::Route => "{route}",
            Self::Attempt => "{attempt}",
        }
    }

    /// The placeholder that an argument is; none if the argument is passed as it is written: every other text, and the
    /// argument after one that [takes a script](takes_script). `before` is the argument before it.
    pub fn of(argument: &str, before: &str) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|placeholder| placeholder.as_str() == argument);
        found.filter(|_| !takes_script(before))
    }

    /// A placeholder in an argument, also within a longer text. `${key}` is a variable of shells, and not a placeholder.
    pub fn within(argument: &str) -> Option<Self> {
        let is_there = |placeholder: &Self| {
            let mut found = argument.match_indices(placeholder.as_str());
            found.any(|(at, _)| !argument[..at].ends_with('$'))
        };
        Self::ALL.into_iter().find(is_there)
    }
}

/// Whether the argument after this one is a script: `-c` of shells and others, also behind other letters, such as `-lc`.
pub fn takes_script(argument: &str) -> bool {
    let letters = argument.strip_prefix('-').and_then(|letters| letters.strip_suffix('c'));
    letters.is_some_and(|letters| letters.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_a_whole_argument() {
        for placeholder in Placeholder::ALL {
            assert_eq!(Placeholder::of(placeholder.as_str(), "--for"), Some(placeholder));
        }
        for argument in
            ["", "{", "{print}", "{KEY}", "{ key }", "{key", "--key={key}", "{key}{key}", "${key}"]
        {
            assert_eq!(Placeholder::of(argument, "--for"), None, "{argument}");
        }
    }

    #[test]
    fn a_script_is_no_placeholder() {
        for option in ["-c", "-lc", "-euxc"] {
            assert_eq!(Placeholder::of("{key}", option), None, "{option}");
        }
        for option in ["c", "-", "--c", "-C", "-c2", "-e", "--", "sh"] {
            assert_eq!(Placeholder::of("{key}", option), Some(Placeholder::Key), "{option}");
        }
    }

    #[test]
    fn a_placeholder_is_found_within_a_longer_text() {
        for (argument, found) in [
            ("{key}", Some(Placeholder::Key)),
            ("--type={event_type}", Some(Placeholder::EventType)),
            ("deploy '{key}'", Some(Placeholder::Key)),
            ("${id} {id}", Some(Placeholder::Id)),
            ("{{route}}", Some(Placeholder::Route)),
            ("${id}", None),
            ("{print $1}", None),
            ("jq '{ id }'", None),
            ("é{", None),
        ] {
            assert_eq!(Placeholder::within(argument), found, "{argument}");
        }
    }
}
