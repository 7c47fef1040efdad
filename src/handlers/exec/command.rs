//! The arguments and the environment of a program.

use std::process::Command;

use crate::domain::handler::Exec as Settings;
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

    /// The value of the placeholder with this name.
    fn value_of(&self, placeholder: &str) -> Option<&str> {
        match placeholder {
            "id" => Some(&self.id),
            "key" => Some(self.key),
            "source" => Some(self.source),
            "event_type" => Some(self.event_type),
            "route" => Some(self.route),
            "attempt" => Some(&self.attempt),
            _ => None,
        }
    }

    /// Replaces the placeholders of an argument. Each value is put in as it is: it stays part of this one argument, and
    /// is not searched for placeholders. Braces around other names stay as they are.
    fn fill(&self, argument: &str) -> String {
        let mut filled = String::with_capacity(argument.len());
        let mut rest = argument;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let found = after.split_once('}').and_then(|(name, after)| Some((self.value_of(name)?, after)));
            if let Some((value, after)) = found {
                filled.push_str(value);
                rest = after;
            } else {
                filled.push('{');
                rest = after;
            }
        }
        filled.push_str(rest);
        filled
    }
}

/// Gives a command the arguments of the route, its folder, and its environment: nothing of that of hookbox. The program
/// itself has no placeholders, so that no sender decides which program runs.
pub(super) fn prepare(command: &mut Command, settings: &Settings, names: &Names<'_>) {
    command.args(settings.command.iter().skip(1).map(|argument| names.fill(argument)));
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

    #[test]
    fn placeholders_are_replaced_once_and_nothing_else_is() {
        for (key, argument, filled) in [
            (
                "k",
                "{id} {key} {source} {event_type} {route} {attempt}",
                "the-id k shop order.created deploy 2",
            ),
            ("k", "--key={key}", "--key=k"),
            ("{route}", "{key}{key}", "{route}{route}"),
            ("{", "{key}key}", "{key}"),
            ("k", "{{key}}", "{k}"),
            ("k", "{ key } {KEY} {delivery} {} {", "{ key } {KEY} {delivery} {} {"),
            ("k", "{key", "{key"),
            ("k", "", ""),
            ("é", "ü{key}ü", "üéü"),
        ] {
            assert_eq!(names(key).fill(argument), filled, "{argument:?} with {key:?}");
        }
    }

    #[test]
    fn a_value_stays_one_argument_whatever_it_has() {
        let key = "a b; $(touch x) '\" * {route}";
        let mut command = Command::new("program");
        prepare(&mut command, &settings(&["{key}", "{key}", "--type={event_type}"]), &names(key));
        assert_eq!(command.get_program(), "program");
        assert_eq!(command.get_args().collect::<Vec<_>>(), [key, "--type=order.created"]);
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
