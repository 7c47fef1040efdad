//! The arguments and the environment of a program.

use std::process::Command;

use crate::domain::handler::Exec as Settings;
use crate::domain::placeholder::Placeholder;
use crate::worker::handler::Attempt;

/// What a program is told about its attempt.
#[derive(Debug)]
pub(super) struct Names<'a> {
    id: String,
    delivery: String,
    route: &'a str,
    key: &'a str,
    source: &'a str,
    event_type: &'a str,
    attempt: String,
    traceparent: String,
}

impl<'a> Names<'a> {
    /// The names of an attempt. The `traceparent` is that of the current span.
    pub(super) fn of(attempt: &'a Attempt<'_>) -> Self {
        Self {
            id: attempt.webhook_id(),
            delivery: attempt.delivery_id(),
            route: attempt.route(),
            key: attempt.idempotency_key(),
            source: attempt.source(),
            event_type: attempt.event_type(),
            attempt: attempt.number().to_string(),
            traceparent: attempt.traceparent(),
        }
    }

    /// What an argument is when the program gets it. A value stays one argument, whatever it has, and no placeholder is
    /// looked for in it. `before` is the program and the arguments before it.
    fn filled<'n>(&'n self, argument: &'n str, before: &[String]) -> &'n str {
        match Placeholder::of(argument, before) {
            None => argument,
            Some(Placeholder::Id) => &self.id,
            Some(Placeholder::Key) => self.key,
            Some(Placeholder::Source) => self.source,
            Some(Placeholder::EventType) => self.event_type,
            Some(Placeholder::Route) => self.route,
            Some(Placeholder::Attempt) => &self.attempt,
        }
    }
}

/// Gives a command the arguments of the route, its folder, and its environment: nothing of that of hookbox. The program
/// itself has no placeholders, so that no sender decides which program runs.
pub(super) fn prepare(command: &mut Command, settings: &Settings, names: &Names<'_>) {
    let arguments = settings.command.iter().enumerate().skip(1);
    command.args(arguments.map(|(at, argument)| names.filled(argument, &settings.command[..at])));
    if let Some(cwd) = &settings.cwd {
        command.current_dir(cwd);
    }
    command.env_clear();
    command.envs(settings.env.iter().map(|(name, value)| (name.as_str(), value.expose())));
    // These come last: `env` cannot replace them.
    command.envs([
        ("PATH", settings.path.as_str()),
        ("HOOKBOX_ID", names.id.as_str()),
        ("HOOKBOX_DELIVERY", names.delivery.as_str()),
        ("HOOKBOX_ROUTE", names.route),
        ("HOOKBOX_KEY", names.key),
        ("HOOKBOX_SOURCE", names.source),
        ("HOOKBOX_EVENT_TYPE", names.event_type),
        ("HOOKBOX_ATTEMPT", names.attempt.as_str()),
        ("TRACEPARENT", names.traceparent.as_str()),
    ]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsStr;
    use std::path::Path;

    use super::*;
    use crate::domain::secret::Secret;

    fn names(key: &str) -> Names<'_> {
        Names {
            id: "the-id".into(),
            delivery: "the-id_deploy".into(),
            route: "deploy",
            key,
            source: "shop",
            event_type: "order.created",
            attempt: "2".into(),
            traceparent: "the-traceparent".into(),
        }
    }

    fn settings(command: &[&str]) -> Settings {
        Settings {
            command: command.iter().map(ToString::to_string).collect(),
            cwd: Some("/srv".into()),
            env: vec![
                ("TOKEN".into(), Secret::from("s3cret".to_owned())),
                ("HOOKBOX_KEY".into(), Secret::from("another".to_owned())),
            ],
            path: "/usr/bin:/bin".into(),
        }
    }

    /// The arguments that a command gets.
    fn arguments(command: &[&str], key: &str) -> Vec<String> {
        let mut prepared = Command::new("program");
        prepare(&mut prepared, &settings(command), &names(key));
        prepared.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn placeholders_are_replaced_and_other_arguments_stay_unchanged() {
        let placeholders = ["{key}", "{id}", "{key}", "{source}", "{event_type}", "{route}", "{attempt}"];
        let filled = ["the-id", "k", "shop", "order.created", "deploy", "2"];
        assert_eq!(arguments(&placeholders, "k"), filled, "the first is the program");
        let literals = ["program", "", "{", "{print}", "{ key }", "--key={key}", "{key}{key}", "${key}"];
        assert_eq!(arguments(&literals, "k"), literals[1..]);
    }

    #[test]
    fn a_value_stays_one_argument_whatever_it_has() {
        for key in ["a b; $(touch x) '\" *", "{route}", "--help", "é"] {
            assert_eq!(arguments(&["program", "--key", "{key}"], key), ["--key", key]);
        }
    }

    #[test]
    fn a_script_is_passed_as_it_is_written() {
        let command = ["/bin/sh", "-c", "{key}", "{key}"];
        assert_eq!(arguments(&command, "k"), ["-c", "{key}", "k"]);
        assert_eq!(arguments(&["/bin/bash", "-lc", "{key}"], "k"), ["-lc", "{key}"]);
        assert_eq!(arguments(&["/bin/bash", "-c", "--", "{key}"], "k"), ["-c", "--", "{key}"]);
    }

    #[test]
    fn the_environment_has_what_the_route_names_and_hookboxs_own_win() {
        let mut command = Command::new("program");
        prepare(&mut command, &settings(&["program"]), &names("k"));
        let environment = command.get_envs().collect::<BTreeMap<_, _>>();
        let expected = [
            ("PATH", "/usr/bin:/bin"),
            ("HOOKBOX_ID", "the-id"),
            ("HOOKBOX_DELIVERY", "the-id_deploy"),
            ("HOOKBOX_ROUTE", "deploy"),
            ("HOOKBOX_KEY", "k"),
            ("HOOKBOX_SOURCE", "shop"),
            ("HOOKBOX_EVENT_TYPE", "order.created"),
            ("HOOKBOX_ATTEMPT", "2"),
            ("TRACEPARENT", "the-traceparent"),
            ("TOKEN", "s3cret"),
        ];
        let expected = expected.map(|(name, value)| (OsStr::new(name), Some(OsStr::new(value))));
        assert_eq!(environment, BTreeMap::from(expected));
        assert_eq!(command.get_current_dir(), Some(Path::new("/srv")));
    }
}
