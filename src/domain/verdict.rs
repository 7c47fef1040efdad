//! What verifying a request found.

mod advice;

use std::ops::RangeInclusive;
use std::str::FromStr;

pub use self::advice::{Advice, told_without_key};
use super::error::{Error, Result};

/// What verifying the request of a webhook found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// The source verifies nothing.
    #[default]
    None,
    /// The request is from its sender.
    Verified,
    /// It is not proved that the request is from its sender.
    Unverified(Cause),
}

/// Why a request is not verified. Of several schemes and signatures, the greatest cause is told: it was closest to
/// being verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// There is no key, it could not be fetched, or `public_url` is not set.
    KeyUnavailable = 0,
    /// The request has no signature.
    SignatureMissing = 1,
    /// The signature has a wrong form, or something that is signed is missing.
    SignatureMalformed = 2,
    /// There is no timestamp, or it is not a time.
    TimestampMissing = 3,
    /// The signature is not that of the request by any key, or it came with another idempotency key before.
    SignatureMismatch = 4,
    /// The token or the password is not one of the secrets, or the request has another topic, audience, issuer, account
    /// or claim than the settings name.
    CredentialsWrong = 5,
    /// The signature is right, but the timestamp is older than the tolerance.
    TimestampTooOld = 6,
    /// The signature is right, but the timestamp is further in the future than the tolerance.
    TimestampInFuture = 7,
}

/// The number of the first cause in a stored verdict.
const FIRST_CAUSE: i16 = 2;

impl Verdict {
    /// The word of the contract, without the cause.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Verified => "verified",
            Self::Unverified(_) => "unverified",
        }
    }

    /// Why the request is not verified.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Unverified(cause) => Some(cause),
            Self::None | Self::Verified => None,
        }
    }

    /// The number that stores keep: 0 none, 1 verified, from 2 on unverified, by the cause.
    pub fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Verified => 1,
            Self::Unverified(cause) => FIRST_CAUSE + cause as i16,
        }
    }

    /// The verdict with this number; none if no verdict has it.
    pub fn from_number(number: i64) -> Option<Self> {
        let causes = Cause::ALL.into_iter().map(Self::Unverified);
        [Self::None, Self::Verified]
            .into_iter()
            .chain(causes)
            .find(|verdict| i64::from(verdict.number()) == number)
    }
}

impl Cause {
    /// All causes, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::KeyUnavailable,
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::TimestampMissing,
        Self::SignatureMismatch,
        Self::CredentialsWrong,
        Self::TimestampTooOld,
        Self::TimestampInFuture,
    ];

    /// Whether the same request may be verified a little later: a key could not be fetched. The sender should come
    /// again then, as after an overload.
    pub fn is_temporary(self) -> bool {
        self == Self::KeyUnavailable
    }

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature_missing",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignatureMismatch => "signature_mismatch",
            Self::TimestampMissing => "timestamp_missing",
            Self::TimestampTooOld => "timestamp_too_old",
            Self::TimestampInFuture => "timestamp_in_future",
            Self::KeyUnavailable => "key_unavailable",
            Self::CredentialsWrong => "credentials_wrong",
        }
    }
}

impl FromStr for Cause {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word).ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid("cause", format_args!("must be one of {words}"))
        })
    }
}

/// Which verdicts a list takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictFilter {
    /// Of webhooks whose source verifies nothing.
    None,
    /// Of webhooks that are from their sender.
    Verified,
    /// Of webhooks of which that is not proved.
    Unverified,
    /// Of webhooks of which it is not proved for this cause.
    Because(Cause),
}

impl VerdictFilter {
    /// The filter for a verdict and a cause, or for one of both; none if neither is given. Errors: `InvalidField` if the
    /// verdict has no causes.
    pub fn new(verdict: Option<Self>, cause: Option<Cause>) -> Result<Option<Self>> {
        match (verdict, cause) {
            (verdict, None) => Ok(verdict),
            (None | Some(Self::Unverified | Self::Because(_)), Some(cause)) => Ok(Some(Self::Because(cause))),
            (Some(Self::None | Self::Verified), Some(_)) => Err(Error::invalid(
                "cause",
                "is only there for the verdict unverified; leave out `verdict`, or set it to unverified",
            )),
        }
    }

    /// The numbers of these verdicts.
    pub fn numbers(self) -> RangeInclusive<i16> {
        match self {
            Self::None => only(Verdict::None),
            Self::Verified => only(Verdict::Verified),
            Self::Unverified => FIRST_CAUSE..=i16::MAX,
            Self::Because(cause) => only(Verdict::Unverified(cause)),
        }
    }
}

impl FromStr for VerdictFilter {
    type Err = Error;

    /// Reads the word of a verdict.
    fn from_str(word: &str) -> Result<Self> {
        match word {
            "none" => Ok(Self::None),
            "verified" => Ok(Self::Verified),
            "unverified" => Ok(Self::Unverified),
            _ => Err(Error::invalid("verdict", "must be one of none, verified, unverified")),
        }
    }
}

fn only(verdict: Verdict) -> RangeInclusive<i16> {
    verdict.number()..=verdict.number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_comes_back_from_its_number() {
        let causes = Cause::ALL.map(Verdict::Unverified);
        for (number, verdict) in [Verdict::None, Verdict::Verified].into_iter().chain(causes).enumerate() {
            assert_eq!(usize::try_from(verdict.number()), Ok(number), "{verdict:?}");
            assert_eq!(Verdict::from_number(number as i64), Some(verdict));
        }
        for number in [-1, 10, i64::MAX] {
            assert_eq!(Verdict::from_number(number), None);
        }
    }

    #[test]
    fn only_a_verdict_of_unverified_has_a_cause() {
        let verdict = Verdict::Unverified(Cause::TimestampTooOld);
        assert_eq!((verdict.as_str(), verdict.cause()), ("unverified", Some(Cause::TimestampTooOld)));
        assert_eq!((Verdict::None.cause(), Verdict::Verified.cause()), (None, None));
    }

    #[test]
    fn only_a_key_that_is_not_there_may_be_there_later() {
        let temporary = Cause::ALL.into_iter().filter(|cause| cause.is_temporary());
        assert_eq!(temporary.collect::<Vec<_>>(), [Cause::KeyUnavailable]);
    }

    /// The filter for the words of a verdict and of a cause; an empty one is not given.
    fn filter(verdict: &str, cause: &str) -> Result<Option<VerdictFilter>> {
        let verdict = (!verdict.is_empty()).then(|| verdict.parse::<VerdictFilter>()).transpose()?;
        let cause = (!cause.is_empty()).then(|| cause.parse::<Cause>()).transpose()?;
        VerdictFilter::new(verdict, cause)
    }

    #[test]
    fn a_filter_takes_the_verdicts_that_its_words_name() {
        let causes = Cause::ALL.map(Cause::as_str);
        let pairs = causes.into_iter().flat_map(|cause| [("", cause), ("unverified", cause)]);
        for (verdict, cause) in pairs.chain([("none", ""), ("verified", ""), ("unverified", "")]) {
            let numbers = filter(verdict, cause).expect("valid").expect("given").numbers();
            let unverified = Cause::ALL.map(Verdict::Unverified);
            for found in unverified.into_iter().chain([Verdict::None, Verdict::Verified]) {
                let fits = (verdict.is_empty() || verdict == found.as_str())
                    && (cause.is_empty() || found.cause().map(Cause::as_str) == Some(cause));
                assert_eq!(numbers.contains(&found.number()), fits, "{verdict} {cause} {found:?}");
            }
        }
        assert_eq!(filter("", "").expect("valid"), None);
    }

    #[test]
    fn words_that_are_unknown_or_contradict_each_other_are_refused() {
        for (verdict, cause, field) in [
            ("true", "", "verdict"),
            ("Verified", "signature_missing", "verdict"),
            ("", "missing", "cause"),
            ("verified", "signature_missing", "cause"),
            ("none", "signature_missing", "cause"),
        ] {
            let error = filter(verdict, cause).expect_err("refused");
            assert_eq!(error.field(), Some(field), "{error}");
        }
    }
}
