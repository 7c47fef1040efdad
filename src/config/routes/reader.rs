//! What reads the members of a route has in common: values with their places, and mistakes.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Origins;
use crate::config::file::{Table, Value};
use crate::config::mistake::Mistake;
use crate::config::parse::{Reader, duration};
use crate::domain::duration::duration_text;

/// Reads the members of one route.
pub(super) struct RouteReader<'r, 'a> {
    pub(super) read: &'r Reader<'a>,
    /// The table of the route, or the inner table that is being read.
    pub(super) table: Table<'r>,
    /// The name of the inner table that is being read.
    pub(super) inner: Option<&'static str>,
    pub(super) origins: Origins,
    pub(super) is_good: bool,
}

impl<'r> RouteReader<'r, '_> {
    pub(super) fn wrong(&mut self, mistake: Mistake) {
        self.is_good = false;
        self.read.wrong(mistake);
    }

    pub(super) fn get(&mut self, member: &'static str) -> Option<Value<'r>> {
        let value = self.table.get(member)?;
        self.origins.insert(self.path(member), value.origin());
        Some(value)
    }

    /// The name of a member of the table that is being read, as in `Origins`.
    pub(super) fn path(&self, member: &str) -> String {
        self.inner.map_or_else(|| member.to_owned(), |inner| format!("{inner}.{member}"))
    }

    /// Parses a member. If `parse` returns none, adds a mistake; `allowed` continues "it must be ...".
    pub(super) fn parsed<T>(
        &mut self,
        member: &'static str,
        allowed: impl Display,
        parse: impl FnOnce(&Value<'r>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(member)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.wrong(value.wrong(allowed));
        }
        parsed
    }

    pub(super) fn text(&mut self, member: &'static str, allowed: &str) -> Option<String> {
        self.parsed(member, allowed, |value| value.text().map(ToOwned::to_owned))
    }

    pub(super) fn flag(&mut self, member: &'static str) -> bool {
        self.parsed(member, "true or false", Value::flag).unwrap_or_default()
    }

    pub(super) fn time(
        &mut self,
        member: &'static str,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let words = between(&allowed);
        self.parsed(member, words, |value| duration(value.text()?, &allowed))
    }

    /// A duration that is at least that of another member. A shorter default is replaced by the other member.
    pub(super) fn time_from(
        &mut self,
        member: &'static str,
        (other, least): (&str, Duration),
        longest: Duration,
        default: Duration,
    ) -> Duration {
        let read = self.time(member, least..=longest);
        if read.is_none()
            && default < least
            && let Some(origin) = self.origins.get(&self.path(other)).cloned()
        {
            self.origins.insert(self.path(member), origin);
        }
        read.unwrap_or(default.max(least))
    }

    pub(super) fn word<T: Copy, const N: usize>(
        &mut self,
        member: &'static str,
        words: [(&str, T); N],
    ) -> Option<T> {
        let known = words.map(|(word, _)| format!("{word:?}")).join(" or ");
        self.parsed(member, known, |value| {
            words.iter().find(|(word, _)| value.text() == Some(word)).map(|(_, meaning)| *meaning)
        })
    }

    /// Parses the items of a list one by one, so that every mistake in them is found. Leaves out items that are wrong.
    pub(super) fn list<T>(
        &mut self,
        member: &'static str,
        parse: impl Fn(&Value<'r>) -> Result<T, Mistake>,
    ) -> Vec<T> {
        self.list_with(member, parse, || None)
    }

    /// As [`list`](Self::list), but `instead` makes what takes the place of an item that is wrong.
    pub(super) fn list_with<T>(
        &mut self,
        member: &'static str,
        parse: impl Fn(&Value<'r>) -> Result<T, Mistake>,
        instead: impl Fn() -> Option<T>,
    ) -> Vec<T> {
        let items = self.get(member).map(|list| list.items()).unwrap_or_default();
        let mut found = Vec::with_capacity(items.len());
        for item in items {
            match parse(&item) {
                Ok(item) => found.push(item),
                Err(mistake) => {
                    self.wrong(mistake);
                    found.extend(instead());
                }
            }
        }
        found
    }

    /// Reads a member that is a table itself.
    pub(super) fn inner<T>(
        &mut self,
        member: &'static str,
        allowed: &str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        let value = self.get(member)?;
        let Some(table) = value.table() else {
            self.wrong(value.wrong(allowed));
            return None;
        };
        let outer = std::mem::replace(&mut self.table, table);
        self.inner = Some(member);
        let found = read(self);
        self.inner = None;
        let inner = std::mem::replace(&mut self.table, outer);
        inner.unknown().into_iter().for_each(|mistake| self.wrong(mistake));
        Some(found)
    }
}

fn between(allowed: &RangeInclusive<Duration>) -> String {
    let (shortest, longest) = (duration_text(*allowed.start()), duration_text(*allowed.end()));
    format!("a duration from {shortest} to {longest}, such as \"10s\"")
}
