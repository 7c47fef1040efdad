//! Reads the members of routes with the handler `exec`.

use std::path::PathBuf;

use crate::config::file::Value;
use crate::config::routes::reader::RouteReader;
use crate::domain::handler::Exec;
use crate::domain::placeholder::Placeholder;
use crate::domain::script::takes_script;
use crate::domain::secret::Secret;

/// `PATH` of programs if that of hookbox is not set.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The variables that hookbox sets, besides those that begin with `HOOKBOX_`.
const RESERVED_VARIABLES: [&str; 2] = ["PATH", "TRACEPARENT"];

const COMMAND_ALLOWED: &str = "a list of the program and its arguments, such as [\"/usr/local/bin/deploy\", \"--type\", \"{event_type}\"]; no shell \
     reads it";

impl RouteReader<'_, '_> {
    /// None after a mistake in `command`.
    pub(super) fn exec(&mut self, route: &Value<'_>) -> Option<Exec> {
        let command = self.command(route);
        let cwd = self.parsed("cwd", "the absolute path of a folder", |value| {
            Some(PathBuf::from(value.text()?)).filter(|path| path.is_absolute())
        });
        let environment = self.read.environment();
        let env = self.list("env", |item| {
            let name = item.text().ok_or_else(|| item.wrong("the name of a variable of the environment"))?;
            if let Some(problem) = variable_problem(name) {
                return Err(item.wrong(problem));
            }
            let value = environment.get(name).ok_or_else(|| {
                item.wrong("the name of a variable in the environment of hookbox, but it is not set there")
            })?;
            Ok((name.to_owned(), value.clone()))
        });
        let path = environment.get("PATH").map_or(DEFAULT_PATH, Secret::expose).to_owned();
        Some(Exec { command: command?, cwd, env, path })
    }

    fn command(&mut self, route: &Value<'_>) -> Option<Vec<String>> {
        let Some(value) = self.get("command") else {
            self.missing(route, "command", "command = [\"/path/of/program\"]");
            return None;
        };
        let items = value.items();
        if value.text().is_some() || items.is_empty() {
            self.wrong(value.wrong(COMMAND_ALLOWED));
            return None;
        }
        let mut command = Vec::with_capacity(items.len());
        let texts = items.iter().map(|item| item.text().unwrap_or_default()).collect::<Vec<_>>();
        for (at, item) in items.iter().enumerate() {
            match argument(item.text(), &texts[..at]) {
                Ok(argument) => command.push(argument),
                Err(allowed) => self.wrong(item.wrong(allowed)),
            }
        }
        (command.len() == items.len()).then_some(command)
    }
}

/// An argument after these, or the program if there are none. The error says what it must be.
fn argument(text: Option<&str>, before: &[&str]) -> Result<String, String> {
    let text = text.ok_or("a string")?;
    if text.contains('\0') {
        return Err("a string without NUL characters".to_owned());
    }
    let placeholder = Placeholder::within(text);
    if before.is_empty() {
        return match placeholder {
            Some(_) => {
                Err("a program without placeholders: senders of webhooks must not decide what runs"
                    .to_owned())
            }
            None if text.is_empty() => Err("a program".to_owned()),
            None => Ok(text.to_owned()),
        };
    }
    match placeholder.filter(|_| Placeholder::of(text, before).is_none()).map(Placeholder::as_str) {
        None => Ok(text.to_owned()),
        Some(name) if takes_script(before) => Err(format!(
            "a script without {name}: senders of webhooks must not write scripts. Make {name} an argument of its own after \
             the script, where a shell has it in $0, $1 and so on"
        )),
        Some(name) => Err(format!(
            "a text without {name}, which is replaced only where it is a whole argument: make {name} an argument of its own"
        )),
    }
}

/// Why a variable of this name must not be passed on; none if it may.
fn variable_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Some("the name of a variable of the environment, without =");
    }
    (RESERVED_VARIABLES.contains(&name) || name.starts_with("HOOKBOX_")).then_some(
        "the name of another variable: hookbox sets PATH, TRACEPARENT and those that begin with HOOKBOX_",
    )
}
