//! What the causes of an unverified request mean, and what to do about each: the one table of these texts.

use super::Cause;

/// What a cause means, and what to do about it.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// For the answer to the sender, and for the log. Continues "the request is not verified: ".
    pub told: &'static str,
    /// For operators of hookbox: what was found, as a sentence.
    pub meaning: &'static str,
    /// For operators of hookbox: what to look at and to do, as sentences.
    pub what_next: &'static str,
}

/// As [`Advice::told`] of `KeyUnavailable`, if the settings of the source have no key for `signatures`, such as "the header
/// `X-Signature`". `member` would have it.
pub fn told_without_key(signatures: &str, member: &str) -> String {
    format!(
        "the source has no key for a signature in {signatures}; add the key of the sender to `{member}` of the source and \
         reload, and hookbox verifies the request when the sender sends it again"
    )
}

impl Cause {
    /// What it means, and what to do about it.
    pub const fn advice(self) -> Advice {
        match self {
            Self::KeyUnavailable => Advice {
                told: "its key cannot be fetched from the sender now, or is not there; hookbox tries again when the sender \
                       does, and the log says what fails",
                meaning: "There was no key to verify the request with.",
                what_next: "If hookbox fetches the keys of this sender, the log says why it could not. Otherwise set secrets \
                            or public_keys of the source, and public_url if the sender signs the URL.",
            },
            Self::SignatureMissing => Advice {
                told: "it has no signature where the source looks for one; turn on signing at the sender, or correct the \
                       preset",
                meaning: "The request has no signature where the source looks for one.",
                what_next: "Turn on signing at the sender, and enter the secret there. If the signature is elsewhere in its \
                            requests, name another preset or change verify. If the sender did not send the request, \
                            another client has found the URL.",
            },
            Self::SignatureMalformed => Advice {
                told: "its signature has a wrong form, or something that is signed is missing; check the preset of the \
                       source, and that no proxy changes headers",
                meaning: "The signature does not have the form that the source expects, or something that is signed is \
                          missing.",
                what_next: "Compare the preset and the headers of the request with what the sender documents. A proxy in \
                            front of hookbox must not change or remove headers.",
            },
            Self::TimestampMissing => Advice {
                told: "it has no timestamp, or its timestamp is not a time; check the preset of the source, and that no proxy \
                       changes headers",
                meaning: "The request has no timestamp where the source looks for one, or the timestamp is not a time.",
                what_next: "Compare the preset and the headers of the request with what the sender documents. A proxy in \
                            front of hookbox must not remove headers.",
            },
            Self::SignatureMismatch => Advice {
                told: "its signature is not that of this request by any key of the source; check the secret on both \
                       sides, that no proxy changes the body, that `public_url` is the URL that the sender has, and, \
                       for PayPal, that `verify.webhook_id` is the id of this webhook",
                meaning: "The signature is not that of this request by any key of the source.",
                what_next: "Copy the secret from the sender again, without spaces. After a rotation, list the new and the \
                            old secret. A proxy must not change the body. If the sender signs the URL, public_url has to \
                            be exactly the URL that the sender has. For PayPal, verify.webhook_id has to be the id of \
                            this webhook; Sandbox and Live have different ones.",
            },
            Self::CredentialsWrong => Advice {
                told: "its token or password is not one of the secrets of the source, or it has another topic, audience, \
                       issuer, account or claim than `verify` of the source names; compare both with the sender",
                meaning: "The token or password is not one of the secrets of the source, or the request has another topic, \
                          audience, issuer, account or claim than verify of the source names.",
                what_next: "Compare the token, or user and password, with the settings of the sender. If the sender sends \
                            signed tokens, or is Amazon SNS, its signature is right: compare topics, issuer, audience, \
                            email and claims in verify with what it sends.",
            },
            Self::TimestampTooOld => Advice {
                told: "its timestamp is older than the source tolerates; check the clock of this machine, or send the event \
                       anew",
                meaning: "The signature is right, but the timestamp is too old.",
                what_next: "Check the clock of this machine. If the sender or a proxy holds requests back, or retries with \
                            the first signature, raise the tolerance in verify. A recorded request that is sent again has \
                            this cause, too.",
            },
            Self::TimestampInFuture => Advice {
                told: "its timestamp is further in the future than the source tolerates; check the clocks of both machines",
                meaning: "The signature is right, but the timestamp is in the future.",
                what_next: "Check the clock of this machine, and that of the sender.",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn causes_name_the_members_of_verify_that_can_be_wrong() {
        for (cause, named) in [
            (Cause::SignatureMismatch, &["webhook_id"][..]),
            (Cause::CredentialsWrong, &["topic", "audience", "issuer", "account", "claim"]),
        ] {
            let Advice { told, what_next, .. } = cause.advice();
            assert!(named.iter().all(|member| told.contains(member)), "{told}");
            assert!(what_next.contains("verify"), "{what_next}");
        }
    }

    #[test]
    fn every_cause_has_texts_of_its_own() {
        let advices = Cause::ALL.map(Cause::advice);
        for texts in [advices.map(|advice| advice.told), advices.map(|advice| advice.meaning)] {
            assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), Cause::ALL.len(), "{texts:?}");
        }
    }
}
