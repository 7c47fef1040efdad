//! The HTTP status of each error reason, and the reasons that only REST has.

use axum::http::StatusCode;

use crate::domain::error::{Reason, reasons};

reasons! {
    /// Why REST refuses a request before calling the service.
    RestReason {
        /// The body did not arrive in time.
        BodyTimeout = "BODY_TIMEOUT", "The body did not arrive in time";
        /// The body is not of a type that the path takes, or is compressed.
        UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", "The type or the encoding of the body is not supported";
        /// Nothing is served at this path.
        PathNotFound = "PATH_NOT_FOUND", "There is nothing at this path";
        /// The path is served, but not with this method.
        MethodNotAllowed = "METHOD_NOT_ALLOWED", "The path does not take this method";
        /// The request names no host, or several, or something that is no host.
        InvalidHost = "INVALID_HOST", "The request does not name a host";
        /// The host that the request names is not one of this server.
        HostNotAllowed = "HOST_NOT_ALLOWED", "The host is not one of this server";
        /// A browser sent the request for a page of another server.
        OriginNotAllowed = "ORIGIN_NOT_ALLOWED", "Pages of other servers may not send this request";
    }
}

impl RestReason {
    /// The HTTP status of a reason that only REST has.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::PathNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidHost => StatusCode::BAD_REQUEST,
            Self::HostNotAllowed | Self::OriginNotAllowed => StatusCode::FORBIDDEN,
        }
    }
}

/// The HTTP status of a reason.
pub const fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::MalformedJson | Reason::InvalidField | Reason::MalformedWebhook => StatusCode::BAD_REQUEST,
        Reason::WebhookNotFound | Reason::RouteNotFound | Reason::SourceNotFound | Reason::ReplayNotFound => {
            StatusCode::NOT_FOUND
        }
        Reason::WrongStatus | Reason::RouteInForce | Reason::RouteNotPulled | Reason::ReplayRunning => {
            StatusCode::CONFLICT
        }
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::KeyReused | Reason::SettingsInvalid => StatusCode::UNPROCESSABLE_ENTITY,
        Reason::RateLimited | Reason::TooManyFailedTokens => StatusCode::TOO_MANY_REQUESTS,
        Reason::Unauthenticated | Reason::NotVerified => StatusCode::UNAUTHORIZED,
        Reason::Forbidden => StatusCode::FORBIDDEN,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::BacklogFull | Reason::StoreUnavailable | Reason::ShuttingDown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
