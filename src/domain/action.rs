//! What operators do, and why.

use std::fmt;

use super::error::{Error, Result};

/// The most characters that a reason may have.
pub const MAX_REASON_CHARS: usize = 500;

/// Defines the kinds of actions, each with the word that is stored and shown.
macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in lower case, as the store keeps it and both APIs show it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

kinds! {
    /// What an operator did.
    ActionKind {
        /// Retried jobs of a webhook.
        RetryWebhook = "retry_webhook";
        /// Cancelled jobs of a webhook.
        CancelWebhook = "cancel_webhook";
        /// Ran the finished jobs of a webhook again.
        ReplayWebhook = "replay_webhook";
        /// Released a webhook from quarantine.
        ReleaseWebhook = "release_webhook";
        /// Discarded a webhook in quarantine.
        DiscardWebhook = "discard_webhook";
        /// Sent a test to a source.
        SendTest = "send_test";
        /// Edited a webhook, and sent it as a new one.
        SendEdited = "send_edited";
        /// Paused a route, a source, or everything.
        Pause = "pause";
        /// Resumed a route, a source, or everything.
        Resume = "resume";
        /// Moved the jobs of a route that is gone to another route.
        MoveJobs = "move_jobs";
        /// Cancelled the jobs of a route that is gone.
        CancelJobs = "cancel_jobs";
        /// Reloaded the settings.
        ReloadSettings = "reload_settings";
        /// Started a replay.
        StartReplay = "start_replay";
        /// Cancelled a replay.
        CancelReplay = "cancel_replay";
        /// Asked the page for a payload that it hides.
        ShowPayload = "show_payload";
    }
}

impl ActionKind {
    /// The kind with this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an operator acts, in the operator's own words: 1 to 500 characters without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionReason(Box<str>);

impl ActionReason {
    /// Reads the field `reason` of a request. A text without visible characters counts as absent. Errors:
    /// `InvalidField`.
    pub fn of_field(text: Option<String>) -> Result<Option<Self>> {
        text.map_or(Ok(None), |text| Self::new(text.trim()))
    }

    fn new(text: &str) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > MAX_REASON_CHARS && text.chars().nth(MAX_REASON_CHARS).is_some() {
            let problem = format_args!("is longer than {MAX_REASON_CHARS} characters; say it shorter");
            return Err(Error::invalid("reason", problem));
        }
        if let Some(at) = text.chars().position(char::is_control) {
            return Err(Error::invalid(
                "reason",
                format_args!("has a control character (character {}); write it in one line", at + 1),
            ));
        }
        Ok(Some(Self(text.into())))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Result<Option<String>> {
        Ok(ActionReason::of_field(Some(text.to_owned()))?.map(|reason| reason.to_string()))
    }

    #[test]
    fn a_reason_is_one_line_of_at_most_500_characters() {
        let read = reason("  the target is mended ").expect("allowed");
        assert_eq!(read.as_deref(), Some("the target is mended"));
        let longest = "ż".repeat(MAX_REASON_CHARS);
        assert_eq!(reason(&longest).expect("allowed"), Some(longest));
        for bad in ["a\nb", "\u{85}a\u{7f}b", &"ż".repeat(MAX_REASON_CHARS + 1)] {
            assert_eq!(reason(bad).expect_err(bad).field(), Some("reason"), "{bad:?}");
        }
    }

    #[test]
    fn a_reason_that_says_nothing_counts_as_absent() {
        assert_eq!(ActionReason::of_field(None).expect("allowed"), None);
        for empty in ["", "  ", "\n"] {
            assert_eq!(reason(empty).expect("allowed"), None, "{empty:?}");
        }
    }

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in ActionKind::ALL {
            assert_eq!(ActionKind::named(kind.as_str()), Some(*kind));
        }
        assert_eq!(ActionKind::named("Pause"), None);
    }
}
