//! Reads the members of routes with the handler `exec`.

use std::path::PathBuf;

use crate::config::file::Value;
use crate::config::mistake::suggestion;
use crate::config::routes::reader::RouteReader;
use crate::domain::handler::Exec;
use crate::domain::secret::Secret;

/// The placeholders that an argument can have.
const PLACEHOLDERS: [&str; 6] = ["id", "key", "source", "event_type", "route", "attempt"];

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
        for (at, item) in items.iter().enumerate() {
            match argument(item.text(), at == 0) {
                Ok(argument) => command.push(argument),
                Err(allowed) => self.wrong(item.wrong(allowed)),
            }
        }
        (command.len() == items.len()).then_some(command)
    }
}

/// An argument, or the program. The error says what it must be.
fn argument(text: Option<&str>, is_program: bool) -> Result<String, String> {
    let text = text.ok_or("a string")?;
    if text.contains('\0') {
        return Err("a string without NUL characters".to_owned());
    }
    if is_program && text.is_empty() {
        return Err("a program".to_owned());
    }
    for placeholder in placeholders(text) {
        if is_program {
            return Err(
                "a program without placeholders: senders of webhooks must not decide what runs".to_owned()
            );
        }
        if !PLACEHOLDERS.contains(&placeholder) {
            let known = PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ");
            let similar = suggestion(placeholder, PLACEHOLDERS);
            return Err(format!("a text with no other placeholders than {known}{similar}"));
        }
    }
    Ok(text.to_owned())
}

/// The words of lower-case letters in braces.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(word, _)| word));
    words.filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
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
