//! What verifying a request found, in words. For every view that shows a verdict.

use maud::{Markup, html};

use super::parts::{Tone, badge};
use crate::domain::verdict::Verdict;

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
