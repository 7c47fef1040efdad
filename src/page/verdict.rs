//! What verifying a request found, in words: for every view that shows a verdict, and every form that asks for one.

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

/// The verdicts to choose from, each with what is shown.
pub(super) fn verdicts() -> Vec<(String, String)> {
    ["verified", "unverified", "none"].map(|word| (word.to_owned(), word.to_owned())).into()
}

/// The causes to choose from, each with what is shown.
pub(super) fn causes() -> Vec<(String, String)> {
    Cause::ALL.map(|cause| (cause.as_str().to_owned(), cause.as_str().replace('_', " "))).into()
}
