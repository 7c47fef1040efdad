//! What verifying a request found, in words. For every view that shows a verdict or a rejection.

use maud::{Markup, html};

use super::parts::{Tone, badge};
use crate::domain::verdict::{Cause, Verdict};

/// A verdict, with its cause.
pub(super) fn verdict(verdict: Verdict) -> Markup {
    match verdict {
        Verdict::None => html! {
            (badge(Tone::Plain, "none")) " " span.muted { "the source does not verify its requests" }
        },
        Verdict::Verified => badge(Tone::Good, "verified"),
        Verdict::Unverified(cause) => {
            html! { (badge(Tone::Bad, "unverified")) " " code { (cause.as_str()) } }
        }
    }
}

/// What a cause means.
pub(super) const fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::KeyUnavailable => "There was no key to verify the request with.",
        Cause::SignatureMissing => "The request has no signature.",
        Cause::SignatureMalformed => {
            "The signature does not have the form that the source expects, or something that is signed is missing."
        }
        Cause::TimestampMissing => "The request has no timestamp, or the timestamp is not a time.",
        Cause::SignatureMismatch => "The signature is not that of this request by any key of the source.",
        Cause::CredentialsWrong => {
            "The token or password is not one of the source's secrets, or the request is meant for somebody else."
        }
        Cause::TimestampTooOld => "The signature is right, but the timestamp is too old.",
        Cause::TimestampInFuture => "The signature is right, but the timestamp is in the future.",
    }
}

/// The usual reasons for a cause, and what to look at first.
pub(super) const fn what_next(cause: Cause) -> &'static str {
    match cause {
        Cause::KeyUnavailable => {
            "Look into the log: the key of the sender could not be fetched, the source has no key for this scheme, or \
             `public_url` is not set."
        }
        Cause::SignatureMissing => {
            "Somebody else found the URL, or signing is off at the sender. Ask the sender what it sent."
        }
        Cause::SignatureMalformed | Cause::TimestampMissing => {
            "The preset is that of another sender, or a proxy changes the headers. Compare the headers with what the \
             sender documents."
        }
        Cause::SignatureMismatch => {
            "The secret is a wrong one, a proxy changes the body, or `public_url` is not exactly the URL that the \
             sender has. Compare the secret first."
        }
        Cause::CredentialsWrong => {
            "Compare the token, or user and password, with the settings of the sender. Of some senders, the topic, the \
             audience or the service account has to match, too."
        }
        Cause::TimestampTooOld | Cause::TimestampInFuture => {
            "The clock of this machine is wrong, or somebody sends old requests again. Compare the clock first."
        }
    }
}
