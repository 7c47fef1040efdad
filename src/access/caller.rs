//! The caller of a request, and its permissions.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use super::Digest;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::routes::glob::Names;

/// A permission of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Submitting webhooks.
    Submit,
    /// Looking at webhooks, routes, numbers and metrics.
    Read,
    /// Leasing jobs of routes with the handler `pull`, and reporting their outcomes.
    Work,
    /// Everything that changes what is stored or in force, and all of `Read`.
    Operate,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Submit, Self::Read, Self::Work, Self::Operate];

    /// The word in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Work => "work",
            Self::Operate => "operate",
        }
    }

    /// The role with this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which sources, or which routes, a caller sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All of them.
    Everything,
    /// Those that match one of the globs.
    To(Names),
    /// None of them.
    Nothing,
}

impl Limit {
    /// Whether a name is within the limit.
    fn takes(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::To(names) => names.matches(name),
            Self::Nothing => false,
        }
    }

    /// The only name within the limit, if it says one.
    fn only(&self) -> Option<&str> {
        match self {
            Self::To(names) => names.only(),
            Self::Everything | Self::Nothing => None,
        }
    }
}

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: Box<str>,
    roles: BTreeSet<Role>,
    sources: Limit,
    routes: Limit,
    /// The digest of the token; none if the caller has none.
    pub(super) token: Option<Digest>,
}

static ANONYMOUS: LazyLock<Arc<Caller>> =
    LazyLock::new(|| Arc::new(Caller::unlimited(Caller::ANONYMOUS, None)));

static UNKNOWN: LazyLock<Arc<Caller>> = LazyLock::new(|| {
    let (sources, routes) = (Limit::Nothing, Limit::Nothing);
    Arc::new(Caller { name: "unknown".into(), roles: BTreeSet::new(), sources, routes, token: None })
});

impl Caller {
    /// The name of every caller where no token is needed.
    pub const ANONYMOUS: &'static str = "anonymous";

    /// The name of hookbox itself, which reloads its settings at a SIGHUP.
    pub const ITSELF: &'static str = "hookbox";

    /// The owner of a token.
    pub fn new(
        name: &str,
        token: Digest,
        roles: impl IntoIterator<Item = Role>,
        sources: Limit,
        routes: Limit,
    ) -> Self {
        Self { name: name.into(), roles: roles.into_iter().collect(), sources, routes, token: Some(token) }
    }

    /// A caller with every role and without limits.
    pub fn unlimited(name: &str, token: Option<Digest>) -> Self {
        let (sources, routes) = (Limit::Everything, Limit::Everything);
        Self { name: name.into(), roles: Role::ALL.into(), sources, routes, token }
    }

    /// Every caller, where no token is needed.
    pub fn anonymous() -> Arc<Self> {
        Arc::clone(&ANONYMOUS)
    }

    /// A caller that is not known, and may see and do nothing.
    pub fn unknown() -> Arc<Self> {
        Arc::clone(&UNKNOWN)
    }

    /// The name of the token, or what logs call a caller without one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the token; none if the caller has none.
    pub fn token_name(&self) -> Option<&str> {
        self.token.as_ref().map(|_| self.name())
    }

    /// Whether the caller has a role. `Operate` includes `Read`.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role) || (role == Role::Read && self.roles.contains(&Role::Operate))
    }

    /// Refuses a caller who does not have a role. Errors: `Forbidden`.
    pub fn check_role(&self, role: Role) -> Result<()> {
        if self.has(role) {
            return Ok(());
        }
        let detail = format!(
            "the token `{}` does not have the role `{role}`; add it to `roles` of the token in the settings and reload, \
             or use another token",
            self.name
        );
        Err(Error::new(Reason::Forbidden, detail))
    }

    /// Whether the caller sees some sources or routes only.
    pub fn is_limited(&self) -> bool {
        self.has_limited_sources() || self.has_limited_routes()
    }

    /// Whether the caller sees some sources only.
    pub fn has_limited_sources(&self) -> bool {
        self.sources != Limit::Everything
    }

    /// Whether the caller sees some routes only.
    pub fn has_limited_routes(&self) -> bool {
        self.routes != Limit::Everything
    }

    /// Whether the caller sees webhooks of a source.
    pub fn sees_source(&self, source: &Source) -> bool {
        self.sources.takes(source.as_str())
    }

    /// Whether the caller sees a route and its jobs.
    pub fn sees_route(&self, route: &RouteName) -> bool {
        self.routes.takes(route.as_str())
    }

    /// The only source that the caller sees; none if there are several, or it cannot be told.
    pub fn only_source(&self) -> Option<Source> {
        self.sources.only().and_then(|name| Source::new(name).ok())
    }

    /// The only route that the caller sees; none if there are several, or it cannot be told.
    pub fn only_route(&self) -> Option<RouteName> {
        self.routes.only().and_then(|name| RouteName::new(name).ok())
    }

    /// The error for a call that cannot be limited to what the caller sees. `why` says why not.
    pub fn too_limited(&self, why: &str) -> Error {
        let detail = format!(
            "the token `{}` is limited to some sources or routes, and {why}; use a token that is not",
            self.name
        );
        Error::new(Reason::Forbidden, detail)
    }
}
