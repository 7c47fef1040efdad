//! What to do about requests of a source that are refused.

use crate::domain::verdict::Cause;
use crate::service::activity::Rejection;

/// What else the cause of a wrong signature can be. The detail of such a request says that it is `once`.
const ALSO_ONCE: &str = " If a request below was refused because of the setting once, its secret is correct, but its \
                         signature came with another key before.";

/// The cause of a rejection as a word; its reason if it is not about verifying.
pub(super) fn word(rejection: &Rejection) -> &'static str {
    rejection.cause.map_or(rejection.reason, Cause::as_str)
}

/// What to do about a rejection. None if its text has to say it.
pub(super) fn advice(rejection: &Rejection) -> Option<String> {
    match rejection.cause.map(|cause| (cause, cause.advice())) {
        Some((cause, advice)) => {
            let also = if cause == Cause::SignatureMismatch { ALSO_ONCE } else { "" };
            Some(format!("{} {}{also}", advice.meaning, advice.what_next))
        }
        // The text of a rejected handshake says what to do about it.
        None if rejection.reason == "MALFORMED_WEBHOOK" && rejection.method != "POST" => None,
        None => of_reason(rejection.reason).map(ToOwned::to_owned),
    }
}

fn of_reason(reason: &str) -> Option<&'static str> {
    match reason {
        "MALFORMED_WEBHOOK" => Some(
            "The webhooks of the request cannot be read. Compare key, event_type, split and handshakes of this source with \
             what the sender sends.",
        ),
        "UNAUTHENTICATED" | "TOO_MANY_FAILED_TOKENS" | "FORBIDDEN" | "SOURCE_NOT_FOUND" => Some(
            "The source verifies nothing, so every request needs a token with the role submit that sees the source. Give the \
             sender one. If it cannot send tokens, let the source verify its requests.",
        ),
        "IDEMPOTENCY_KEY_REUSED" => Some(
            "The key is taken by a webhook with another body. If retries of the sender differ, set on_conflict to keep_first. \
             If the key is not unique, choose other parts of the request for key.",
        ),
        "BODY_TOO_LARGE" => Some("The body is larger than max_body. Raise it, or have the sender send less."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::error::Reason;

    fn rejection(cause: Option<Cause>, reason: &'static str) -> Rejection {
        Rejection {
            at: Timestamp::UNIX_EPOCH,
            cause,
            reason,
            detail: String::new(),
            client: None,
            method: "POST".to_owned(),
            content_type: None,
            body_bytes: 0,
            trace_id: String::new(),
        }
    }

    #[test]
    fn the_advice_about_a_cause_says_what_it_means_and_what_to_do() {
        let too_old = rejection(Some(Cause::TimestampTooOld), "NOT_VERIFIED");
        let text = advice(&too_old).expect("an advice");
        assert!(text.contains("too old") && text.contains("Check the clock"), "{text}");
        assert_eq!(word(&too_old), "timestamp_too_old");
        let mismatch = advice(&rejection(Some(Cause::SignatureMismatch), "NOT_VERIFIED"));
        assert!(mismatch.as_ref().is_some_and(|text| text.contains("the setting once")), "{mismatch:?}");
        assert!(!text.contains("the setting once"), "{text}");
    }

    #[test]
    fn a_reason_without_a_cause_has_an_advice_or_its_own_text() {
        let malformed = rejection(None, "MALFORMED_WEBHOOK");
        assert!(advice(&malformed).is_some_and(|text| text.contains("event_type")));
        assert_eq!(word(&malformed), "MALFORMED_WEBHOOK");
        assert_eq!(advice(&Rejection { method: "GET".to_owned(), ..malformed }), None, "no handshake");
        assert_eq!(advice(&rejection(None, "UNSUPPORTED_MEDIA_TYPE")), None);
    }

    #[test]
    fn advice_names_what_to_do_about_the_reasons_that_senders_get() {
        for (reason, part) in [
            (Reason::MalformedWebhook, "event_type"),
            (Reason::Unauthenticated, "role submit"),
            (Reason::TooManyFailedTokens, "role submit"),
            (Reason::Forbidden, "role submit"),
            (Reason::SourceNotFound, "role submit"),
            (Reason::KeyReused, "on_conflict"),
            (Reason::BodyTooLarge, "max_body"),
        ] {
            let advice = of_reason(reason.as_str());
            assert!(advice.is_some_and(|text| text.contains(part)), "{reason:?}: {advice:?}");
        }
    }
}
