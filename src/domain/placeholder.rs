//! Placeholders in the arguments of the handler `exec`.
//!
//! A placeholder is a whole argument. Within a longer text its value would become part of a script, an option or a path,
//! and the sender of a webhook would write a part of it.

use super::script::takes_script;

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

    /// The placeholder that an argument is; none if the argument is passed as it is written: every other text, and one in
    /// the place of [a script](takes_script). `before` is the program and the arguments before it.
    pub fn of(argument: &str, before: &[impl AsRef<str>]) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_a_whole_argument() {
        for placeholder in Placeholder::ALL {
            assert_eq!(Placeholder::of(placeholder.as_str(), &["deploy", "--for"]), Some(placeholder));
        }
        for argument in
            ["", "{", "{print}", "{KEY}", "{ key }", "{key", "--key={key}", "{key}{key}", "${key}"]
        {
            assert_eq!(Placeholder::of(argument, &["deploy", "--for"]), None, "{argument}");
        }
    }

    #[test]
    fn a_script_is_no_placeholder() {
        assert_eq!(Placeholder::of("{key}", &["sh", "-c"]), None);
        assert_eq!(Placeholder::of("{key}", &["sh", "-c", "echo", "sh"]), Some(Placeholder::Key));
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
