//! What to do about requests of a source that are refused.

use crate::domain::verdict::Cause;
use crate::service::activity::Rejection;

/// The cause of a rejection as a word; its reason if it is not about verifying.
pub(super) fn word(rejection: &Rejection) -> &'static str {
    rejection.cause.map_or(rejection.reason, Cause::as_str)
}

/// What to do about a rejection. None if its text has to say it.
pub(super) fn advice(rejection: &Rejection) -> Option<&'static str> {
    match rejection.cause {
        Some(cause) => Some(of_cause(cause)),
        None => of_reason(rejection.reason),
    }
}

fn of_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::SignatureMissing => {
            "The request has no signature where this source looks for one. Turn on signing at the sender, and enter the \
             secret there. If the sender has its signature elsewhere, name another preset or change verify."
        }
        Cause::SignatureMalformed => {
            "The signature has another form than this source expects, or something that is signed is missing. Compare the \
             preset with what the sender documents. A proxy in front of hookbox must not change or remove headers."
        }
        Cause::SignatureMismatch => {
            "No secret of this source gives this signature. Copy the secret from the sender again, without spaces. After a \
             rotation, list the new and the old secret. A proxy must not change the body. If the sender signs the URL, \
             public_url has to be exactly what the sender has."
        }
        Cause::CredentialsWrong => {
            "The token or password is not one of the secrets of this source, or the request is meant for somebody else, such \
             as for another topic. Compare both with what the sender has."
        }
        Cause::TimestampMissing => {
            "The request has no time where this source looks for one, or it is no time. Compare the preset with what the \
             sender documents. A proxy in front of hookbox must not remove headers."
        }
        Cause::TimestampTooOld => {
            "The signature is right, but was made too long ago. Check that the clock of this machine is right. If the sender \
             or a proxy holds requests back, or retries with the first signature, raise the tolerance in verify."
        }
        Cause::TimestampInFuture => {
            "The signature is right, but its time has not come yet. Check the clock of this machine, and that of the sender."
        }
        Cause::KeyUnavailable => {
            "There is no key to verify the request with. Set secrets or public_keys of this source, and public_url if the \
             sender signs the URL. If hookbox has to fetch the key from the sender, the log says why it could not."
        }
    }
}

fn of_reason(reason: &str) -> Option<&'static str> {
    match reason {
        "MALFORMED_WEBHOOK" => Some(
            "The request is verified, but its webhooks cannot be read. Compare key, event_type and split of this source with \
             what the sender sends.",
        ),
        "KEY_REUSED" => Some(
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
    fn every_cause_has_an_advice_of_its_own() {
        let advices =
            Cause::ALL.map(|cause| advice(&rejection(Some(cause), "NOT_VERIFIED")).expect("an advice"));
        let distinct = advices.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), Cause::ALL.len());
        let too_old = rejection(Some(Cause::TimestampTooOld), "NOT_VERIFIED");
        assert_eq!(word(&too_old), "timestamp_too_old");
    }

    #[test]
    fn a_reason_without_a_cause_has_an_advice_or_its_own_text() {
        let malformed = rejection(None, "MALFORMED_WEBHOOK");
        assert!(advice(&malformed).is_some_and(|text| text.contains("event_type")));
        assert_eq!(word(&malformed), "MALFORMED_WEBHOOK");
        assert_eq!(advice(&rejection(None, "UNSUPPORTED_MEDIA_TYPE")), None);
    }
}
