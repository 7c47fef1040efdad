//! The settings file: its text, and the place of each value in it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{self, DeTable, DeValue, ValueDeserializer};

use super::layers::Origin;
use super::mistake::{Mistake, suggestion};
use super::secret;
use crate::bounded_file::{self, NotUtf8};
use crate::domain::secret::Secret;

/// The most bytes of a settings file.
const SETTINGS_BYTES: u64 = 16 * 1024 * 1024;

/// The path and text of a settings file. The text may contain a password.
#[derive(Clone, Debug)]
pub(super) struct File {
    path: PathBuf,
    text: Secret,
}

impl File {
    /// Errors: it cannot be read, or is not UTF-8.
    pub(super) fn read(path: &Path) -> Result<Self, Mistake> {
        let text = bounded_file::read_text(path, SETTINGS_BYTES).map_err(|error| unreadable(path, &error))?;
        Ok(Self { path: path.to_owned(), text: text.into() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file as a table, and every mistake in its TOML. The mistakes do not show lines of the file,
    /// because a line may have a secret.
    pub(super) fn parse(&self) -> (DeTable<'_>, Vec<Mistake>) {
        let (table, faults) = DeTable::parse_recoverable(self.text.expose());
        let mistakes = faults.iter().map(|fault| {
            let span = fault.span().unwrap_or_default();
            let text = match fault.message() {
                "duplicate key" => self.repeated(&span),
                message => format!("this is not valid TOML: {}", message.replace('\n', ", ")),
            };
            Mistake { origin: self.origin(&span), text }
        });
        (table.into_inner(), mistakes.collect())
    }

    /// The sentence about a table or a member that is there for the second time. `key` is the last part of its name there.
    fn repeated(&self, key: &Range<usize>) -> String {
        let text = self.text.expose();
        let before = text.get(..key.start).unwrap_or_default();
        let key = text.get(key.clone()).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
        let path = line.trim_start_matches('[').trim_start();
        // A line of an array of tables begins with a bracket, too.
        if path.len() < line.len() && !path.contains(['{', ',']) {
            format!(
                "[{path}{key}] is there twice; write the members of both below one of them, or give one another name"
            )
        } else {
            format!("`{key}` is there twice in the same table; remove one of them")
        }
    }

    /// The line and column of a range of bytes.
    pub(super) fn origin(&self, span: &Range<usize>) -> Origin {
        let text = self.text.expose();
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
        Origin::File { path: self.path.clone(), line, column }
    }

    /// The text of a value: of a string without quotes, of an integer in decimal, of any other value as the file
    /// writes it.
    fn written(&self, value: &Spanned<DeValue<'_>>) -> String {
        match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
            _ => self.text.expose().get(value.span()).unwrap_or_default().to_owned(),
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Mistake {
    match error.get_ref().and_then(|error| error.downcast_ref::<NotUtf8>()) {
        Some(&NotUtf8 { line, column }) => {
            let text = "this byte is not UTF-8; save the file as UTF-8".to_owned();
            Mistake { origin: Origin::File { path: path.to_owned(), line, column }, text }
        }
        None => {
            let problem = match path.read_link() {
                Ok(target) if error.kind() == io::ErrorKind::NotFound => {
                    format!("it is a link to {}, which does not exist", target.display())
                }
                _ => error.to_string(),
            };
            let text = format!("cannot read the settings in {}: {problem}", path.display());
            Mistake { origin: Origin::Default, text }
        }
    }
}

/// A table of the file. Remembers which members were read, so that the others are known to be mistakes.
pub(super) struct Table<'a> {
    file: &'a File,
    /// The name of the table in messages, such as `routes[0]`.
    name: String,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn new(file: &'a File, name: String, table: &'a DeTable<'a>) -> Self {
        Self { file, name, table, known: Vec::new() }
    }

    /// The value of a member; none if it is absent.
    pub(super) fn get(&mut self, member: &'static str) -> Option<Value<'a>> {
        self.known.push(member);
        let value = self.table.get(member)?;
        Some(Value { file: self.file, name: format!("{}.{member}", self.name), value })
    }

    /// All members with their names, for a table whose members can have any name.
    pub(super) fn entries(&self) -> Vec<(&'a str, Value<'a>)> {
        let entries = self.table.iter().map(|(name, value)| {
            let name: &'a str = name.get_ref().as_ref();
            (name, Value { file: self.file, name: format!("{}.{name}", self.name), value })
        });
        entries.collect()
    }

    /// A mistake for each member that was never read with `get`.
    pub(super) fn unknown(&self) -> Vec<Mistake> {
        self.unknown_with(|_| None)
    }

    /// As [`unknown`](Self::unknown). `advice` says what to do about a member, as the end of a sentence; none if all that
    /// helps is a known name that is similar.
    pub(super) fn unknown_with(&self, advice: impl Fn(&str) -> Option<String>) -> Vec<Mistake> {
        let unknown = self.table.keys().filter(|key| !self.known.contains(&key.get_ref().as_ref()));
        let mistakes = unknown.map(|key| {
            let name = key.get_ref();
            let advice = advice(name).unwrap_or_else(|| suggestion(name, self.known.iter().copied()));
            let text = format!("{}.{name} is not known{advice}", self.name);
            Mistake { origin: self.file.origin(&key.span()), text }
        });
        mistakes.collect()
    }
}

/// A value of the file.
#[derive(Clone)]
pub(super) struct Value<'a> {
    file: &'a File,
    name: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(super) fn new(file: &'a File, name: String, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { file, name, value }
    }

    /// The name of the value in messages, such as `sources.shop` or `routes[0]`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The place of the value.
    pub(super) fn origin(&self) -> Origin {
        self.file.origin(&self.value.span())
    }

    /// The place of the byte `offset` of a string. Exact only for a string without escapes.
    pub(super) fn origin_at(&self, offset: usize) -> Origin {
        let span = self.value.span();
        let start = span.start + self.opening() + offset;
        self.file.origin(&(start.min(span.end)..span.end))
    }

    /// The length of what a string begins with: one quote, or three and a line break, which is not part of it.
    fn opening(&self) -> usize {
        let written = self.file.text.expose().get(self.value.span()).unwrap_or_default();
        if !(written.starts_with("\"\"\"") || written.starts_with("'''")) {
            return 1;
        }
        let line_break = ["\r\n", "\n"].into_iter().find(|line_break| written[3..].starts_with(line_break));
        3 + line_break.map_or(0, str::len)
    }

    /// The text of the value: of a string without quotes, of any other value as the file writes it.
    pub(super) fn written(&self) -> String {
        self.file.written(self.value)
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    pub(super) fn flag(&self) -> Option<bool> {
        self.value.get_ref().as_bool()
    }

    pub(super) fn table(&self) -> Option<Table<'a>> {
        let table = self.value.get_ref().as_table()?;
        Some(Table::new(self.file, self.name.clone(), table))
    }

    /// The value, for serde.
    pub(super) fn deserializer(&self) -> ValueDeserializer<'a> {
        self.value.clone().into()
    }

    /// Every mistake that serde finds when it reads the value. It stops at the first one, so the member with the mistake is
    /// left out, and the rest is read again. A table or an array from which something was left out may lack that now; this
    /// is not a mistake. Does not show lines of the file, because a line may have a secret.
    pub(super) fn faults(
        &self,
        mut read: impl FnMut(ValueDeserializer<'a>) -> Result<(), de::Error>,
    ) -> Vec<Mistake> {
        let (mut rest, mut incomplete, mut mistakes) = (self.value.clone(), Vec::new(), Vec::new());
        while let Err(fault) = read(rest.clone().into()) {
            let span = fault.span().unwrap_or_else(|| rest.span());
            if !incomplete.contains(&span) {
                let text = format!("{}: {}", self.name, fault.message().replace('\n', ", "));
                mistakes.push(Mistake { origin: self.file.origin(&span), text });
            }
            if !leave_out(&mut rest, &span, &mut incomplete) {
                break;
            }
        }
        mistakes
    }

    /// The items of an array; of any other value, the value itself as the only item.
    pub(super) fn items(&self) -> Vec<Self> {
        match self.value.get_ref().as_array() {
            None => vec![self.clone()],
            Some(items) => items
                .iter()
                .enumerate()
                .map(|(at, value)| Self { file: self.file, name: format!("{}[{at}]", self.name), value })
                .collect(),
        }
    }

    /// The mistake that a secret is not allowed. Shows where it is, but not the secret.
    pub(super) fn wrong_secret(&self, allowed: impl std::fmt::Display) -> Mistake {
        let shown = secret::shown(self.text().unwrap_or_default());
        Mistake::written(&self.origin(), &self.name, format_args!("{shown:?}"), allowed)
    }

    /// The mistake that the value is not allowed. `allowed` continues the sentence "it must be ...".
    pub(super) fn wrong(&self, allowed: impl std::fmt::Display) -> Mistake {
        match self.text() {
            Some(text) => Mistake::value(&self.origin(), &self.name, text, allowed),
            None => Mistake::written(&self.origin(), &self.name, self.written(), allowed),
        }
    }
}

/// Removes the innermost member or item with a mistake at `span` from a value, and adds the spans of the tables and arrays
/// around it to `incomplete`. False if the mistake is in none of them.
fn leave_out(
    value: &mut Spanned<DeValue<'_>>,
    span: &Range<usize>,
    incomplete: &mut Vec<Range<usize>>,
) -> bool {
    let own_span = value.span();
    let is_wrong = |part: Range<usize>| part.start <= span.start && span.end <= part.end;
    let is_left_out = match value.get_mut() {
        DeValue::Table(table) => {
            table.iter_mut().any(|(_, member)| leave_out(member, span, incomplete)) || {
                let mut names =
                    table.iter().filter(|(name, member)| is_wrong(name.span()) || is_wrong(member.span()));
                let name = names.next().map(|(name, _)| name.clone());
                name.is_some_and(|name| table.remove(&name).is_some())
            }
        }
        DeValue::Array(items) => {
            items.iter_mut().any(|item| leave_out(item, span, incomplete)) || {
                let before = items.len();
                *items = items.iter().filter(|item| !is_wrong(item.span())).cloned().collect();
                items.len() < before
            }
        }
        _ => false,
    };
    if is_left_out {
        incomplete.push(own_span);
    }
    is_left_out
}
