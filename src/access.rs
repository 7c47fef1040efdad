//! Access control: bearer tokens with roles, some of them limited to sources or routes. Knows neither an API nor a
//! store.

mod caller;
mod digest;
mod failures;
mod operations;
mod presented;
mod tokens;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

pub use self::caller::{Caller, Limit, Role};
pub use self::digest::Digest;
use self::failures::Failures;
pub use self::operations::{
    Need, OPERATIONS, Operation, need_of_call, need_of_path, operation_of_call, role_of_form,
};
use self::presented::Presented;
pub use self::tokens::Tokens;
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Reason, Result};

/// The most bytes that a token may have.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// An extension of each request over HTTP: the address that it came from.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub IpAddr);

/// The tokens in force, and the failed ones of each address.
#[derive(Debug)]
pub struct Access {
    tokens: RwLock<Arc<Tokens>>,
    failures: Mutex<Failures>,
    clock: Arc<dyn Clock>,
}

impl Access {
    /// Puts `tokens` in force.
    pub fn new(tokens: Arc<Tokens>, clock: Arc<dyn Clock>) -> Self {
        Self { tokens: RwLock::new(tokens), failures: Mutex::default(), clock }
    }

    /// Puts other tokens in force.
    pub fn set(&self, tokens: Arc<Tokens>) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// Whether requests need a token. If not, every client may do everything.
    pub fn needs_tokens(&self) -> bool {
        self.tokens().are_needed()
    }

    /// Returns the caller of a request. `authorization` are the values of the header `Authorization`, and `client` is the
    /// address that the request came from.
    ///
    /// Errors: `Unauthenticated` without a valid token; `TooManyFailedTokens` instead, if too many tokens from this
    /// address have failed; `Forbidden` if the token does not have the role.
    pub fn admit<'a>(
        &self,
        need: Need,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        client: Option<IpAddr>,
    ) -> Result<Arc<Caller>> {
        self.admit_by(&self.tokens(), need, authorization, client)
    }

    /// Like [`admit`](Self::admit), by tokens that were in force when the request came.
    pub fn admit_by<'a>(
        &self,
        tokens: &Tokens,
        need: Need,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        client: Option<IpAddr>,
    ) -> Result<Arc<Caller>> {
        if !tokens.are_needed() {
            return Ok(Caller::anonymous());
        }
        let role = match need {
            Need::Nothing => return Ok(Caller::unknown()),
            Need::Metrics if tokens.are_metrics_open() => return Ok(Caller::unknown()),
            Need::Metrics => Role::Read,
            Need::Role(role) => role,
        };
        let caller = match Presented::read(authorization) {
            Presented::Nothing => return Err(unauthenticated(NO_TOKEN)),
            Presented::Other => return Err(unauthenticated(NOT_A_TOKEN)),
            Presented::Token(token) => tokens.find(token).ok_or_else(|| self.failed(client))?,
        };
        caller.check_role(role)?;
        if need == Need::Metrics && caller.is_limited() {
            return Err(caller.too_limited("the metrics are those of all sources and routes"));
        }
        Ok(caller)
    }

    /// Whether a caller who was admitted still would be. Errors: those of [`Tokens::check`].
    pub fn check(&self, caller: &Caller) -> Result<()> {
        self.tokens().check(caller)
    }

    /// The tokens in force now.
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The error for a token that is not in the settings.
    fn failed(&self, client: Option<IpAddr>) -> Error {
        let Some(client) = client else { return unauthenticated(UNKNOWN_TOKEN) };
        let now = self.clock.monotonic();
        let added = self.failures.lock().unwrap_or_else(PoisonError::into_inner).add(client, now);
        tracing::debug!(%client, slowed = added.is_err(), "a token is refused: the settings do not have it");
        match added {
            Ok(()) => unauthenticated(UNKNOWN_TOKEN),
            Err(wait) => too_many_failures(wait),
        }
    }
}

const NO_TOKEN: &str = "this request needs a token, and has none; send the header `Authorization: Bearer <token>` \
    (in gRPC the metadata `authorization`). `hookbox token` makes a token";

const NOT_A_TOKEN: &str = "the header Authorization has to be given once, as `Authorization: Bearer <token>`";

const UNKNOWN_TOKEN: &str =
    "the token is not one of this hookbox; it may be mistyped, or was removed from the settings";

const REMOVED: &str = "the token of this call was changed or removed by a reload of the settings; call again with a \
    token that is in force";

fn unauthenticated(detail: &str) -> Error {
    Error::new(Reason::Unauthenticated, detail)
}

fn too_many_failures(wait: Duration) -> Error {
    let detail =
        "too many tokens from this address were not those of this hookbox; a valid token is still taken";
    Error::new(Reason::TooManyFailedTokens, detail).retry_after(wait)
}

#[cfg(test)]
mod tests;
