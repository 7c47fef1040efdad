//! The error type of the domain, and the table of reasons that both APIs share.
//!
//! `http/problem.rs` and `grpc/status.rs` convert the error to that of a transport. Reasons that only one
//! transport has are defined there.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::conflict::OtherWebhook;
use super::id::WebhookId;
use super::verdict::Cause;

/// The result of every fallible operation of the domain.
pub type Result<T> = std::result::Result<T, Error>;

/// Defines an enum of reasons, each with a word for programs and a title for people.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $text:literal, $title:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The reason in UPPER_SNAKE_CASE, which clients compare.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// One line for people, the same for all errors with this reason. So it has to fit each of them.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}
pub(crate) use reasons;

reasons! {
    /// Why a request was refused or failed. Both APIs use the same words.
    Reason {
        /// The body is not JSON.
        MalformedJson = "MALFORMED_JSON", "The body is not valid JSON";
        /// A field is missing, or its value is not allowed.
        InvalidField = "INVALID_FIELD", "A field is missing or its value is not allowed";
        /// The key was used for another webhook of the same source.
        KeyReused = "IDEMPOTENCY_KEY_REUSED", "The idempotency key was used for another webhook";
        /// No webhook has this id or key; it was never accepted, or was removed. In quarantine it has no key. Or its body was
        /// removed.
        WebhookNotFound = "WEBHOOK_NOT_FOUND", "There is no such webhook, or its body is gone";
        /// The status of the webhook or job does not allow the operation.
        WrongStatus = "WRONG_STATUS", "The status does not allow this";
        /// The route is neither in the settings nor in the store, or the webhook has no job of it.
        RouteNotFound = "ROUTE_NOT_FOUND", "There is no such route";
        /// The route is in the settings, but the operation needs a route that is gone.
        RouteInForce = "ROUTE_IN_FORCE", "The route is in the settings";
        /// No replay has this number.
        ReplayNotFound = "REPLAY_NOT_FOUND", "There is no such replay";
        /// A replay cannot start while another one is running.
        ReplayRunning = "REPLAY_RUNNING", "Another replay is running";
        /// Workers ask for jobs of a route whose handler is not `pull`.
        RouteNotPulled = "ROUTE_NOT_PULLED", "The handler of the route is not `pull`";
        /// No source of the settings has this name.
        SourceNotFound = "SOURCE_NOT_FOUND", "There is no such source";
        /// It is not proved that a request is from the sender of its source.
        NotVerified = "NOT_VERIFIED", "The request could not be verified";
        /// A request to the URL of a source has no webhooks that can be read.
        MalformedWebhook = "MALFORMED_WEBHOOK", "The webhooks of the request cannot be read";
        /// The settings have mistakes.
        SettingsInvalid = "SETTINGS_INVALID", "The settings have mistakes";
        /// The source is over its rate limit.
        RateLimited = "RATE_LIMITED", "The source sends more than its rate limit allows";
        /// As many jobs are unfinished as `max_backlog` allows, or too many requests arrive or wait to be stored.
        BacklogFull = "BACKLOG_FULL", "There is no room for it at the moment";
        /// The store cannot be written or read now, or a limit of what is done at the same time is reached.
        StoreUnavailable = "STORE_UNAVAILABLE", "Not available at the moment";
        /// The process is stopping.
        ShuttingDown = "SHUTTING_DOWN", "The server is shutting down";
        /// The body is larger than allowed.
        BodyTooLarge = "BODY_TOO_LARGE", "The body is too large";
        /// The request has no token, or none that the settings have.
        Unauthenticated = "UNAUTHENTICATED", "A valid token is needed";
        /// The token does not have the role for the request, or is limited to other sources or routes.
        Forbidden = "FORBIDDEN", "The token does not allow this";
        /// Too many tokens from the address of the client have failed.
        TooManyFailedTokens = "TOO_MANY_FAILED_TOKENS", "Too many tokens from this address were wrong";
        /// A fault of hookbox itself.
        Internal = "INTERNAL", "Something went wrong inside hookbox";
    }
}

/// A field at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the field.
    pub field: String,
    /// What is wrong with the field; the text names it.
    pub detail: String,
}

/// Why a request was refused or failed: a reason for programs, and a text for people. Cloned for callers that share a
/// result.
#[derive(Clone, Debug)]
pub struct Error {
    reason: Reason,
    detail: String,
    violations: Vec<Violation>,
    in_the_way: Option<Box<InTheWay>>,
    unverified: Option<Cause>,
    retry_after: Option<Duration>,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What stands in the way of a webhook.
#[derive(Clone, Debug)]
struct InTheWay {
    webhook: WebhookId,
    refused: Option<OtherWebhook>,
}

impl Error {
    /// An error with its reason. `detail` tells a person what happened, why, and what to do next.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            violations: Vec::new(),
            in_the_way: None,
            unverified: None,
            retry_after: None,
            cause: None,
        }
    }

    /// The error for a field that is missing or has a value that is not allowed. `problem` continues a
    /// sentence that begins with the name of the field.
    pub fn invalid(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        let field = field.into();
        let detail = format!("`{field}` {problem}");
        let violations = vec![Violation { field, detail: detail.clone() }];
        Self { violations, ..Self::new(Reason::InvalidField, detail) }
    }

    /// Joins two errors of one request. The first decides the reason.
    fn and(mut self, other: Self) -> Self {
        self.detail = format!("{}; {}", self.detail, other.detail);
        self.violations.extend(other.violations);
        self
    }

    /// The error for a webhook that is not in the store.
    pub fn not_found(name: impl fmt::Display) -> Self {
        Self::new(
            Reason::WebhookNotFound,
            format!(
                "there is no webhook {name}; it was never accepted, or was removed: at the end of its retention, or from \
                 quarantine; one that is in quarantine is found by its id alone"
            ),
        )
    }

    /// The error for a body that was removed at the end of its retention.
    pub fn body_gone(id: WebhookId) -> Self {
        let detail = format!(
            "the body of webhook {id} was removed at the end of its retention; its names, jobs and attempts are kept \
             longer"
        );
        Self::new(Reason::WebhookNotFound, detail)
    }

    /// The error for a request that is not verified.
    pub fn not_verified(cause: Cause, detail: impl Into<String>) -> Self {
        Self { unverified: Some(cause), ..Self::new(Reason::NotVerified, detail) }
    }

    /// The error for a store that cannot be written or read now. Clients may try again after a second.
    pub fn store_unavailable(
        detail: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let cause: Box<dyn std::error::Error + Send + Sync> = cause.into();
        Self {
            retry_after: Some(STORE_RETRY_AFTER),
            cause: Some(cause.into()),
            ..Self::new(Reason::StoreUnavailable, detail)
        }
    }

    /// The error for a fault of hookbox itself. The cause is logged, and not shown to clients.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause: Box<dyn std::error::Error + Send + Sync> = cause.into();
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                Reason::Internal,
                "hookbox failed to answer; the log has the cause, with this trace_id",
            )
        }
    }

    /// The error for a process that is stopping. Another try reaches another process, or the next one.
    pub fn shutting_down() -> Self {
        Self::new(Reason::ShuttingDown, "hookbox is shutting down; try again in a moment")
            .retry_after(STORE_RETRY_AFTER)
    }

    /// Sets the webhook that stands in the way, for programs.
    #[must_use]
    pub fn because_of(mut self, webhook: WebhookId) -> Self {
        self.in_the_way = Some(Box::new(InTheWay { webhook, refused: None }));
        self
    }

    /// As [`because_of`](Self::because_of), with the webhook that is refused.
    #[must_use]
    pub fn because_of_other(mut self, webhook: WebhookId, refused: OtherWebhook) -> Self {
        self.in_the_way = Some(Box::new(InTheWay { webhook, refused: Some(refused) }));
        self
    }

    /// Says in the text where the fault is, such as `item 3 of the batch`.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.detail = format!("{place}: {}", self.detail);
        self
    }

    /// Sets the time after which the client may try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The reason, for programs.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What happened, why, and what to do next.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The first field at fault, if there is one.
    pub fn field(&self) -> Option<&str> {
        self.violations.first().map(|violation| violation.field.as_str())
    }

    /// Every field at fault.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The webhook that stands in the way: of `KeyReused`, the one that has the key.
    pub fn webhook(&self) -> Option<WebhookId> {
        self.in_the_way.as_ref().map(|other| other.webhook)
    }

    /// Takes the webhook that is refused out of a `KeyReused`, so that the error no longer holds its body. Returns it after
    /// the one that has the key; none if the error does not have it.
    pub fn take_refused(&mut self) -> Option<(WebhookId, OtherWebhook)> {
        let in_the_way = self.in_the_way.as_mut()?;
        Some((in_the_way.webhook, in_the_way.refused.take()?))
    }

    /// Why the request is not verified; none if that is not the reason.
    pub fn unverified(&self) -> Option<Cause> {
        self.unverified
    }

    /// After which time the client may try again; none if another try cannot help.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// After which time clients may try again when the store is not available or the process is stopping.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(1);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// A text of an error as a client gets it: cut off after `most_bytes` at the boundary of a character. It can quote what a
/// request has, of any length.
pub fn cut(text: &str, most_bytes: usize) -> Cow<'_, str> {
    if text.len() <= most_bytes {
        return Cow::Borrowed(text);
    }
    let end = (0..=most_bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}

/// The text of an error with the texts of all its causes.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// An error, its cause, the cause of that, and so on.
pub fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // `source` of an I/O error that contains another error is the source of the latter.
        let contained = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match contained {
            Some(contained) => Some(contained as &(dyn std::error::Error + 'static)),
            None => error.source(),
        }
    })
}

/// The message of a panic that was caught.
pub fn message_of_panic(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "without a message"
    }
}

/// Both values of a request, or one error with everything that is wrong with them.
pub fn both<A, B>(one: Result<A>, two: Result<B>) -> Result<(A, B)> {
    match (one, two) {
        (Ok(one), Ok(two)) => Ok((one, two)),
        (Err(one), Err(two)) => Err(one.and(two)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
    }
}

/// The same of three values.
pub fn all_of<A, B, C>(one: Result<A>, two: Result<B>, three: Result<C>) -> Result<(A, B, C)> {
    let (one, (two, three)) = both(one, both(two, three))?;
    Ok((one, two, three))
}

#[cfg(test)]
mod tests;
