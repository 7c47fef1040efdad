//! Why a hookbox could not be asked.

/// How much of an unknown answer is shown, in characters.
pub(super) const SHOWN_CHARS: usize = 200;

/// Why a hookbox could not be asked, or did not do what it was asked for. The texts can have parts that senders or
/// servers chose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// There is no answer.
    #[error(
        "no answer from {url}: {cause}; is hookbox running there? Set HOOKBOX_URL or --url if it is elsewhere"
    )]
    Unreachable {
        /// The URL of hookbox.
        url: String,
        /// What has failed.
        cause: String,
    },
    /// The answer is not a success.
    #[error("{detail}")]
    Refused {
        /// The status.
        status: u16,
        /// The reason of the problem document; empty if the answer has none.
        reason: String,
        /// What happened, why, and what to do next.
        detail: String,
    },
    /// The answer is not one of hookbox.
    #[error(
        "{url} answers otherwise than hookbox does: {cause}; check the URL, and that both have the same version"
    )]
    Unexpected {
        /// The URL of hookbox.
        url: String,
        /// What is unexpected.
        cause: String,
    },
}

impl ClientError {
    /// Whether the same call can succeed later: nothing answers, or the server is overloaded or stops. A 404 without a
    /// reason is that of a proxy which does not reach hookbox at the moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status: 404, reason, .. } => reason.is_empty(),
            Self::Refused { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Unexpected { .. } => false,
        }
    }

    /// What has failed, for a call that is tried again: without the advice of the error.
    pub fn why(&self) -> String {
        match self {
            Self::Unreachable { cause, .. } => cause.clone(),
            other => other.to_string(),
        }
    }
}

/// Why a request got no answer. `problem_of_authorities` can be why there is no connection.
pub(super) fn cause_of(error: &reqwest::Error, problem_of_authorities: Option<&str>) -> String {
    let root = root_of(error);
    match problem_of_authorities.filter(|_| error.is_connect()) {
        Some(problem) => format!("{root} ({problem})"),
        None => root,
    }
}

/// The innermost cause of an error: the others only say that a request has failed.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_hookbox_has_decided() {
        let is_passing = |status: u16, reason: &str| {
            let (reason, detail) = (reason.to_owned(), String::new());
            ClientError::Refused { status, reason, detail }.is_passing()
        };
        for (status, reason) in [(503, "SHUTTING_DOWN"), (502, ""), (429, "RATE_LIMITED"), (404, "")] {
            assert!(is_passing(status, reason), "{status} {reason}");
        }
        for (status, reason) in [(404, "WEBHOOK_NOT_FOUND"), (401, ""), (400, "INVALID_FIELD"), (409, "")] {
            assert!(!is_passing(status, reason), "{status} {reason}");
        }
    }
}
