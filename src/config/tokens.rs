//! Reads `[tokens.NAME]` of the settings file and `admin_token`, with the place of each value.

use std::fmt;

use super::file::{Table, Value};
use super::layers::Origin;
use super::mistake::{Mistake, suggestion};
use super::parse::Reader;
use crate::access::{Caller, Digest, Limit, MAX_TOKEN_BYTES, Role, Tokens};
use crate::domain::route::MAX_ROUTE_CHARS;
use crate::domain::secret::{HIDDEN, Secret};
use crate::routes::glob::{Names, check_route, check_source};

/// The name in logs of a caller with `admin_token`. No token can have it while `admin_token` is set.
pub const ADMIN: &str = "admin";

/// The fewest bytes of `admin_token`. It is hard to guess only if it is random, too.
const MIN_ADMIN_TOKEN_BYTES: usize = 16;

/// A token as the settings file has it, for `hookbox config`.
#[derive(Clone, Debug)]
pub(super) struct ReadToken {
    name: String,
    digest: Option<Digest>,
    roles: Vec<Role>,
    sources: Option<Vec<String>>,
    routes: Option<Vec<String>>,
    origin: Origin,
}

/// Reads `admin_token`; the inner value is none if it is not set.
pub(super) fn admin_token(read: &Reader<'_>) -> Option<Option<Secret>> {
    read.secret("admin_token", |token| {
        (MIN_ADMIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// Reads the tokens of the settings file. The mistakes are in `read`.
pub(super) fn read_tokens(
    read: &Reader<'_>,
    tokens: Option<Value<'_>>,
    admin: Option<&Secret>,
) -> Vec<ReadToken> {
    let Some(value) = tokens else { return Vec::new() };
    let Some(table) = value.table() else {
        read.wrong(value.wrong_secret("a table of tokens; write [tokens.NAME], and its members below"));
        return Vec::new();
    };
    let mut known: Vec<(Digest, String)> = admin
        .map(|token| (Digest::of(token.expose().as_bytes()), "admin_token".to_owned()))
        .into_iter()
        .collect();
    let mut found = Vec::new();
    for (name, value) in table.entries() {
        let is_taken = admin.is_some() && name == ADMIN;
        let taken = is_taken.then_some("logs use this name for admin_token, which is also set");
        if let Some(problem) = wrong_token_name(name).or(taken) {
            let text = format!("a token cannot have the name {name:?}: {problem}");
            read.wrong(Mistake { origin: value.origin(), text });
        }
        let Some(table) = value.table() else {
            read.wrong(value.wrong_secret("a table; write [tokens.NAME], and its members below"));
            continue;
        };
        let token = read_token(read, name, &value, table);
        if let Some(digest) = &token.digest {
            if let Some((_, other)) = known.iter().find(|(known, _)| known == digest) {
                let text =
                    format!("tokens.{name} is the same token as {other}; make one with `hookbox token`");
                read.wrong(Mistake { origin: value.origin(), text });
            }
            known.push((digest.clone(), format!("tokens.{name}")));
        }
        found.push(token);
    }
    found
}

/// The tokens in force.
pub(super) fn compiled(tokens: &[ReadToken], admin: Option<&Secret>, are_metrics_open: bool) -> Tokens {
    let admin = admin.map(|token| Caller::unlimited(ADMIN, Some(Digest::of(token.expose().as_bytes()))));
    let limit = |globs: &Option<Vec<String>>| {
        globs.as_ref().map_or(Limit::Everything, |globs| Limit::To(Names::new(globs)))
    };
    let callers = tokens.iter().filter_map(|token| {
        let ReadToken { name, digest, roles, sources, routes, .. } = token;
        Some(Caller::new(name, digest.clone()?, roles.iter().copied(), limit(sources), limit(routes)))
    });
    Tokens::new(admin.into_iter().chain(callers), are_metrics_open)
}

/// Why no token can have a name; none if one can.
pub fn wrong_token_name(name: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_allowed = (1..=MAX_ROUTE_CHARS).contains(&name.len()) && name.bytes().all(allowed);
    match name {
        Caller::ANONYMOUS => Some("logs and actions use this name for callers without a token"),
        Caller::ITSELF => Some("logs and actions use this name for hookbox itself"),
        _ => (!is_allowed).then_some("it must be 1 to 63 of a-z, 0-9, - and _"),
    }
}

fn read_token(read: &Reader<'_>, name: &str, value: &Value<'_>, mut table: Table<'_>) -> ReadToken {
    let missing = |problem: &str| {
        let text = format!("tokens.{name} has no {problem}");
        read.wrong(Mistake { origin: value.origin(), text });
    };
    let digest = table.get("sha256").map(|value| {
        let digest = value.text().and_then(Digest::from_hex);
        if digest.is_none() {
            let allowed = "the SHA-256 of a token, as 64 hex digits; `hookbox token` prints it";
            let is_hidden = value.text() == Some(HIDDEN);
            let hidden = if is_hidden { "; `***` stands for one that was hidden" } else { "" };
            read.wrong(value.wrong_secret(format_args!("{allowed}{hidden}")));
        }
        digest
    });
    if digest.is_none() {
        missing("`sha256`; `hookbox token` makes a token and prints it");
    }
    let roles = table.get("roles").map(|value| roles(read, &value));
    if roles.is_none() {
        missing("`roles`; give it some of submit, read, work and operate, such as roles = [\"submit\"]");
    }
    let roles = roles.unwrap_or_default();
    let routes = table.get("routes").map(|value| globs(read, &value, check_route));
    let sources = table.get("sources");
    if let Some(sources) = sources.as_ref().filter(|_| roles.contains(&Role::Work)) {
        let allowed = "absent for a token with the role work: workers lease the jobs of routes, from every source; \
            limit it with `routes`";
        read.wrong(sources.wrong(allowed));
    }
    let sources = sources.map(|value| globs(read, &value, check_source));
    table.unknown().into_iter().for_each(|mistake| read.wrong(mistake));
    ReadToken {
        name: name.to_owned(),
        digest: digest.flatten(),
        roles,
        sources,
        routes,
        origin: value.origin(),
    }
}

fn roles(read: &Reader<'_>, value: &Value<'_>) -> Vec<Role> {
    let items = value.items();
    if items.is_empty() {
        read.wrong(value.wrong("a list of at least one of submit, read, work and operate"));
    }
    let mut roles = Vec::with_capacity(items.len());
    for item in items {
        let word = item.text().unwrap_or_default();
        match Role::named(word) {
            Some(role) => roles.push(role),
            None => {
                let nearest = suggestion(word, Role::ALL.map(Role::as_str));
                read.wrong(item.wrong(format_args!("submit, read, work or operate{nearest}")));
            }
        }
    }
    roles
}

fn globs(read: &Reader<'_>, value: &Value<'_>, check: fn(&str) -> Result<(), String>) -> Vec<String> {
    let items = value.items();
    if items.is_empty() {
        read.wrong(value.wrong("a list of at least one name; without the list the token is not limited"));
    }
    let mut globs = Vec::with_capacity(items.len());
    for item in items {
        let checked =
            item.text().map_or_else(|| Err("a string".to_owned()), |glob| check(glob).map(|()| glob));
        match checked {
            Ok(glob) => globs.push(glob.to_owned()),
            Err(allowed) => read.wrong(item.wrong(allowed)),
        }
    }
    globs
}

impl fmt::Display for ReadToken {
    /// The token in the form of the settings file, without its digest. The origin is a comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |items: Vec<&str>| items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ");
        let header = format!("[tokens.{}]", self.name);
        writeln!(f, "\n{header:<44} # {}", self.origin)?;
        writeln!(f, "sha256 = \"{HIDDEN}\"")?;
        writeln!(f, "roles = [{}]", list(self.roles.iter().map(|role| role.as_str()).collect()))?;
        for (member, globs) in [("sources", &self.sources), ("routes", &self.routes)] {
            if let Some(globs) = globs {
                writeln!(f, "{member} = [{}]", list(globs.iter().map(String::as_str).collect()))?;
            }
        }
        Ok(())
    }
}
