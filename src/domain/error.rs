//! The one error of the domain, and the table of reasons that both APIs share.
//!
//! It becomes a transport's error last: in `http/problem.rs` and `grpc/status.rs`.

use std::fmt;
use std::time::Duration;

/// What every fallible operation of the domain answers.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $title:literal;)*) => {
        /// Why a request was refused. The same words in both APIs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The reason in UPPER_SNAKE, as clients compare it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// One line for people, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

reasons! {
    /// The body is not JSON.
    MalformedJson = "MALFORMED_JSON", "The body is not valid JSON";
    /// A field is missing, or its value is not allowed.
    InvalidField = "INVALID_FIELD", "A field is missing or its value is not allowed";
    /// The key was used for another webhook of the same source.
    KeyReused = "IDEMPOTENCY_KEY_REUSED", "The idempotency key was used for another webhook";
    /// No such webhook.
    WebhookNotFound = "WEBHOOK_NOT_FOUND", "There is no such webhook";
    /// The webhook's status does not allow it.
    WrongStatus = "WRONG_STATUS", "The webhook's status does not allow this";
    /// Over the source's rate limit.
    RateLimited = "RATE_LIMITED", "The source sends more than its rate limit allows";
    /// As many jobs wait as may.
    BacklogFull = "BACKLOG_FULL", "The backlog is full";
    /// The store cannot write, or cannot be read.
    StoreUnavailable = "STORE_UNAVAILABLE", "The store is not available";
    /// The process is stopping.
    ShuttingDown = "SHUTTING_DOWN", "The server is shutting down";
    /// The body is larger than allowed.
    BodyTooLarge = "BODY_TOO_LARGE", "The body is too large";
    /// The body did not arrive in time.
    BodyTimeout = "BODY_TIMEOUT", "The body did not arrive in time";
    /// The body is not declared as JSON.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", "The body must be application/json";
    /// No such path.
    PathNotFound = "PATH_NOT_FOUND", "There is nothing at this path";
    /// The path exists, the method does not.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", "The path does not take this method";
    /// A fault of hookbox itself.
    Internal = "INTERNAL", "Something went wrong inside hookbox";
}

/// Why something was refused or failed, in words for people.
#[derive(Debug)]
pub struct Error {
    reason: Reason,
    detail: String,
    field: Option<String>,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with its reason and what a person should know of it: what, why, what next.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), field: None, retry_after: None, cause: None }
    }

    /// A field is missing, or its value is not allowed.
    pub fn invalid(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        let field = field.into();
        Self { field: Some(field.clone()), ..Self::new(Reason::InvalidField, format!("`{field}` {problem}")) }
    }

    /// There is no webhook by that name.
    pub fn not_found(name: impl fmt::Display) -> Self {
        Self::new(
            Reason::WebhookNotFound,
            format!("no webhook {name} is kept here; it was never accepted, or its retention is over"),
        )
    }

    /// A webhook's status does not allow `action`.
    pub fn wrong_status(status: impl fmt::Display, action: &str) -> Self {
        Self::new(Reason::WrongStatus, format!("a webhook that is {status} cannot be {action}"))
    }

    /// The store cannot be written or read now; nothing was stored.
    pub fn store_unavailable(
        detail: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            retry_after: Some(STORE_RETRY_AFTER),
            cause: Some(cause.into()),
            ..Self::new(Reason::StoreUnavailable, detail)
        }
    }

    /// A fault of hookbox itself. The cause is logged, never shown.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                Reason::Internal,
                "hookbox failed to answer; the log has the cause under this trace_id",
            )
        }
    }

    /// The process is stopping; another try reaches its successor.
    pub fn shutting_down() -> Self {
        Self::new(Reason::ShuttingDown, "hookbox is shutting down; try again in a moment")
            .retry_after(STORE_RETRY_AFTER)
    }

    /// Says after which time another try makes sense.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The reason, from the table.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What happened, why, and what to do next.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The field at fault, if it is one.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// After which time another try makes sense, if it does.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// A store that cannot write is looked at again this often; senders are told the same.
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
