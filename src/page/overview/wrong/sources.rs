//! What is wrong with the sources: requests that were refused or not verified, and silence.

use super::Wrong;
use crate::domain::webhook::Source;
use crate::page::context::Context;
use crate::page::overview::sources_seen;
use crate::page::parts::{Tone, count, duration};
use crate::service::alerts::SilentSource;
use crate::telemetry::history::SourceTotals;

/// The points of the last 10 minutes.
const RECENT_POINTS: usize = 40;

/// How many webhooks a source without `silent_after` has to have sent in the 50 minutes before, so that 10 minutes without
/// one are a warning.
const TALKATIVE: u64 = 20;

/// What is wrong with the sources that the caller sees.
pub(super) fn of_sources(context: &Context) -> Vec<Wrong> {
    let see = |wrong: Wrong, source: &Source| wrong.see(format!("/sources/{source}"), "Look at the source");
    let in_settings = context.service.sources();
    let is_watched = |source: &Source| {
        in_settings.get(source).is_some_and(|settings| settings.rules.silent_after.is_some())
    };
    let silent = context.service.silent_sources();
    let mut wrong = silent.iter().map(|silent| see(of_silence(silent), &silent.source)).collect::<Vec<_>>();
    let totals = sources_seen(&context.caller, context.service.metrics().history().sources());
    // The webhooks of hookbox itself are refused if another replica was faster, and nobody waits for them.
    for (source, totals) in totals.iter().filter(|(source, _)| !source.is_own()) {
        let falls_silent = falls_silent(totals).filter(|_| !is_watched(source));
        let found = unverified(totals).into_iter().chain(refused(totals)).chain(falls_silent);
        wrong.extend(found.map(|one| see(one, source)));
    }
    wrong
}

/// A source from which nothing has come for its `silent_after`.
fn of_silence(silent: &SilentSource) -> Wrong {
    let SilentSource { source, silent_for, silent_after } = silent;
    let text = format!(
        "Nothing has come from the source {source} for {}. It counts as silent after {}.",
        duration(silent_for.as_secs_f64()),
        duration(silent_after.as_secs_f64())
    );
    Wrong::new(Tone::Bad, text)
}

/// A source whose requests were not verified in the last 10 minutes.
fn unverified(totals: &SourceTotals) -> Option<Wrong> {
    let (unverified, accepted) = (recent(&totals.unverified_by_point), recent(&totals.accepted_by_point));
    let source = &totals.source;
    let requests = count(unverified, "request", "requests");
    match (unverified, accepted + recent(&totals.refused_by_point)) {
        (0, _) => None,
        (_, 0) => {
            let text = format!(
                "Nothing of the source {source} was verified in the last 10 minutes: {requests} failed."
            );
            Some(Wrong::new(Tone::Bad, text))
        }
        _ => {
            let text = format!(
                "{requests} to the source {source} could not be verified in the last 10 minutes, beside {}.",
                count(accepted, "accepted webhook", "accepted webhooks")
            );
            Some(Wrong::new(Tone::Warning, text))
        }
    }
}

/// A source of which requests were refused in the last 10 minutes, but for what verifying them found.
fn refused(totals: &SourceTotals) -> Option<Wrong> {
    let (refused, accepted) = (recent(&totals.refused_by_point), recent(&totals.accepted_by_point));
    let source = &totals.source;
    let what = match refused {
        0 => return None,
        1 => format!("1 request of the source {source} was refused in the last 10 minutes"),
        _ => {
            let requests = count(refused, "request", "requests");
            format!("{requests} of the source {source} were refused in the last 10 minutes")
        }
    };
    let (tone, beside) = match accepted {
        0 => (Tone::Bad, "and none was accepted".to_owned()),
        _ => (Tone::Warning, format!("beside {}", count(accepted, "accepted webhook", "accepted webhooks"))),
    };
    let reason = totals.last_refusal.unwrap_or("unknown");
    Some(Wrong::new(tone, format!("{what}, {beside}. The last reason: {reason}.")))
}

/// A source that sent a lot, and nothing in the last 10 minutes.
fn falls_silent(totals: &SourceTotals) -> Option<Wrong> {
    let is_silent = totals.accepted_by_point.len() > RECENT_POINTS && recent(&totals.accepted_by_point) == 0;
    (is_silent && totals.accepted >= TALKATIVE).then(|| {
        let text = format!(
            "The source {} is silent: {} in the 50 minutes before, and nothing in the last 10 minutes.",
            totals.source,
            count(totals.accepted, "webhook", "webhooks")
        );
        Wrong::new(Tone::Warning, text)
    })
}

/// The sum over the last 10 minutes.
fn recent(counts: &[u64]) -> u64 {
    counts.iter().rev().take(RECENT_POINTS).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(accepted: &[u64], unverified: &[u64]) -> SourceTotals {
        SourceTotals {
            source: "shop".to_owned(),
            accepted: accepted.iter().sum(),
            refused: 0,
            last_refusal: None,
            unverified: unverified.iter().sum(),
            accepted_by_point: accepted.to_vec(),
            refused_by_point: Vec::new(),
            unverified_by_point: unverified.to_vec(),
        }
    }

    #[test]
    fn a_source_is_silent_if_it_sent_a_lot_and_then_nothing_for_ten_minutes() {
        let of = |before: u64, since: &[u64]| {
            let counts = [&[before][..], since].concat();
            falls_silent(&totals(&counts, &[])).map(|wrong| wrong.text)
        };
        let nothing = [0; RECENT_POINTS];
        assert!(of(20, &nothing).is_some_and(|text| text.contains("20 webhooks in the 50 minutes before")));
        assert_eq!(of(19, &nothing), None, "too few to tell");
        assert_eq!(of(20, &nothing[1..]), None, "too short");
        assert_eq!(of(20, &[&nothing[1..], &[1][..]].concat()), None);
    }

    #[test]
    fn a_source_that_is_not_verified_is_bad_if_nothing_else_came() {
        let tone =
            |accepted: u64, counts: &[u64]| unverified(&totals(&[accepted], counts)).map(|wrong| wrong.tone);
        assert_eq!(
            (tone(0, &[3]), tone(7, &[3]), tone(7, &[0])),
            (Some(Tone::Bad), Some(Tone::Warning), None)
        );
        let long_ago = [&[3][..], &[0; RECENT_POINTS]].concat();
        assert_eq!(tone(7, &long_ago), None);
    }

    #[test]
    fn refused_requests_are_shown_with_the_last_reason_and_as_bad_if_none_was_accepted() {
        let of = |accepted: u64, counts: &[u64]| {
            let refused_by_point = counts.to_vec();
            let last_refusal = Some("MALFORMED_WEBHOOK");
            refused(&SourceTotals { refused_by_point, last_refusal, ..totals(&[accepted], &[]) })
        };
        let one = of(0, &[1]).expect("something is wrong");
        assert_eq!(
            (one.tone, one.text.as_str()),
            (
                Tone::Bad,
                "1 request of the source shop was refused in the last 10 minutes, and none was accepted. The last reason: \
                 MALFORMED_WEBHOOK."
            )
        );
        let some = of(7, &[2, 1]).expect("something is wrong");
        assert_eq!(some.tone, Tone::Warning);
        assert!(some.text.starts_with("3 requests of the source shop were refused"), "{}", some.text);
        assert!(some.text.contains("beside 7 accepted webhooks"), "{}", some.text);
        let long_ago = [&[3][..], &[0; RECENT_POINTS]].concat();
        assert_eq!((of(0, &[0]), of(0, &long_ago)), (None, None));
    }

    #[test]
    fn a_source_of_which_a_request_was_read_and_refused_has_verified_something() {
        let unverified_beside = |refused: u64| {
            let totals = SourceTotals { refused_by_point: vec![refused], ..totals(&[0], &[3]) };
            unverified(&totals).map(|wrong| wrong.tone)
        };
        assert_eq!((unverified_beside(0), unverified_beside(1)), (Some(Tone::Bad), Some(Tone::Warning)));
    }
}
