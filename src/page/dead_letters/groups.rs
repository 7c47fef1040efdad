//! Groups dead letters by their route and error. Errors that differ only in numbers and ids are in one group.

use std::collections::HashMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookStatus;

/// How many characters of an error count.
const ERROR_CHARS: usize = 500;

/// What stands for a number or an id.
const ANY: char = '#';

/// The words before a number that says what went wrong, such as a status of HTTP or an exit code.
const KEPT_AFTER: [&str; 8] = ["answered", "code", "errno", "error", "http", "returned", "signal", "status"];

/// The most digits of such a number.
const KEPT_DIGITS: usize = 3;

/// Fewer characters say too little of an error to look for them.
const FEWEST_CHARS: usize = 4;

/// How many bytes of the digest are the name of a group.
const NAME_BYTES: usize = 16;

/// Dead letters with the same route and much the same error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The name of the group: the same whenever it is made.
    pub(super) name: String,
    pub(super) route: RouteName,
    /// The error of the latest one.
    pub(super) error: String,
    /// A text that all errors have; none if there is none that says much.
    pub(super) common: Option<String>,
    /// When the first and the last of them became a dead letter.
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// The webhooks, in the order of the list.
    pub(super) webhooks: Vec<WebhookId>,
}

/// The groups of these webhooks, the largest first. With `only`, only dead letters of this route.
pub(super) fn groups(webhooks: &[WebhookStatus], only: Option<&RouteName>) -> Vec<Group> {
    let mut groups = HashMap::<(RouteName, String), Group>::new();
    for webhook in webhooks {
        let dead = webhook.jobs.iter().filter(|job| job.status == Status::DeadLettered);
        for job in dead.filter(|job| only.is_none_or(|only| *only == job.route)) {
            let error = job.last_error.as_deref().unwrap_or_default();
            let pattern = pattern(error);
            let group =
                groups.entry((job.route.clone(), pattern)).or_insert_with_key(|(route, pattern)| Group {
                    name: name(route, pattern),
                    route: route.clone(),
                    error: error.to_owned(),
                    common: common(pattern),
                    first: job.updated_at,
                    last: job.updated_at,
                    webhooks: Vec::new(),
                });
            if job.updated_at > group.last {
                group.error = error.to_owned();
            }
            (group.first, group.last) = (group.first.min(job.updated_at), group.last.max(job.updated_at));
            group.webhooks.push(webhook.id);
        }
    }
    let mut groups = groups.into_values().collect::<Vec<_>>();
    groups.sort_by(|one, other| {
        let by_size = other.webhooks.len().cmp(&one.webhooks.len());
        by_size.then(other.last.cmp(&one.last)).then_with(|| one.name.cmp(&other.name))
    });
    groups
}

fn name(route: &RouteName, pattern: &str) -> String {
    let digest = Sha256::digest(format!("{route} {pattern}"));
    digest.iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// The error without what differs each time: numbers, and words with digits in them.
fn pattern(error: &str) -> String {
    let end = error.char_indices().nth(ERROR_CHARS).map_or(error.len(), |(end, _)| end);
    let mut rest = error.get(..end).unwrap_or_default();
    let mut pattern = String::with_capacity(rest.len());
    let mut before = "";
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()));
        // Punctuation at the end of a sentence is not of the word.
        let word = word.trim_end_matches(is_separator);
        push_word(&mut pattern, word, before);
        before = if word.is_empty() { before } else { word };
        let others = rest.get(word.len()..rest.len() - after.len()).unwrap_or_default();
        pattern.push_str(others);
        let (between, next) = after.split_at(after.find(is_of_word).unwrap_or(after.len()));
        pattern.push_str(between);
        rest = next;
    }
    pattern
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || is_separator(c)
}

/// What can be within an id or a number.
fn is_separator(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | ':')
}

/// Adds a word, with [`ANY`] for its parts that have digits.
fn push_word(pattern: &mut String, word: &str, before: &str) {
    let is_number = word.len() <= KEPT_DIGITS && word.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && KEPT_AFTER.contains(&before.to_ascii_lowercase().as_str()) {
        pattern.push_str(word);
        return;
    }
    if Uuid::try_parse(word).is_ok() {
        pattern.push(ANY);
        return;
    }
    let mut was_any = false;
    let mut separators = "";
    for part in word.split_inclusive(is_separator) {
        let text = part.trim_end_matches(is_separator);
        let is_any = text.contains(|c: char| c.is_numeric());
        if !(was_any && is_any) {
            pattern.push_str(separators);
            if is_any { pattern.push(ANY) } else { pattern.push_str(text) }
        }
        separators = part.get(text.len()..).unwrap_or_default();
        was_any = is_any;
    }
    pattern.push_str(separators);
}

/// The longest text that all errors of a pattern have. It is part of a line, as forms take it.
fn common(pattern: &str) -> Option<String> {
    let ends = |c: char| c == ANY || c.is_control();
    let longest = pattern.split(ends).map(str::trim).max_by_key(|piece| piece.chars().count())?;
    (longest.chars().count() >= FEWEST_CHARS).then(|| longest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::{JobStatus, QueueId};
    use crate::domain::webhook::{EventType, IdempotencyKey, Source};

    #[test]
    fn numbers_and_ids_do_not_tell_errors_apart() {
        for (error, expected) in [
            ("the target answered 503 Service Unavailable", "the target answered 503 Service Unavailable"),
            ("the program ended with exit code 7: no", "the program ended with exit code 7: no"),
            ("no order ORD-1234 of 2026-03-01T12:00:00Z.", "no order ORD-# of #."),
            ("timed out after 1.5s", "timed out after #"),
            ("timed out after 30s", "timed out after #"),
            ("cannot connect to 10.0.0.1:8080", "cannot connect to #"),
            ("cannot connect to orders.internal:80", "cannot connect to orders.internal:#"),
            ("customer abcdabcd-abcd-abcd-abcd-abcdabcdabcd!", "customer #!"),
            ("row 17: 5 of 9", "row #: # of #"),
            ("status 1234", "status #"),
            ("é–ü -- 世界", "é–ü -- 世界"),
            ("...", "..."),
            ("", ""),
        ] {
            assert_eq!(pattern(error), expected, "{error}");
        }
        assert_eq!(pattern(&"é".repeat(ERROR_CHARS + 1)).chars().count(), ERROR_CHARS);
    }

    #[test]
    fn what_all_errors_have_is_part_of_each() {
        for (error, expected) in [
            ("row 17 of the table is wrong: 5", Some("of the table is wrong:")),
            ("no 7", None),
            ("the target answered 503", Some("the target answered 503")),
            ("Traceback:\r\n  in line 7\nKeyError: order", Some("KeyError: order")),
        ] {
            let common = common(&pattern(error));
            assert_eq!(common.as_deref(), expected, "{error}");
            assert!(common.is_none_or(|common| error.contains(&common)));
        }
    }

    fn webhook(number: u8, jobs: &[(&str, Status, &str, i64)]) -> WebhookStatus {
        let job = |(route, status, error, second): &(&str, Status, &str, i64)| JobStatus {
            queue: QueueId(1),
            route: RouteName::new(*route).expect("valid"),
            status: *status,
            attempt_count: 1,
            updated_at: Timestamp::from_second(*second).expect("in range"),
            revision: 1,
            last_error: Some((*error).to_owned()),
            next_attempt_at: None,
        };
        WebhookStatus {
            id: WebhookId::from_bytes([number; 16]),
            source: Source::default(),
            idempotency_key: IdempotencyKey::new("k").expect("valid"),
            event_type: EventType::new("t").expect("valid"),
            accepted_at: Timestamp::UNIX_EPOCH,
            is_quarantined: false,
            jobs: jobs.iter().map(job).collect(),
        }
    }

    #[test]
    fn dead_letters_of_one_route_with_much_the_same_error_are_a_group() {
        use Status::{DeadLettered, Retrying};
        let webhooks = [
            webhook(4, &[("a", DeadLettered, "no order 4", 40), ("b", DeadLettered, "no order 4", 41)]),
            webhook(3, &[("a", DeadLettered, "no order 3", 50), ("b", Retrying, "no order 3", 51)]),
            webhook(2, &[("a", DeadLettered, "no customer 2", 20)]),
            webhook(1, &[("a", DeadLettered, "no order 1", 10)]),
        ];
        let id = |number: &u8| WebhookId::from_bytes([*number; 16]);
        let ids = |numbers: &[u8]| numbers.iter().map(id).collect::<Vec<_>>();
        let all = groups(&webhooks, None);
        let found =
            all.iter().map(|group| (group.route.as_str(), group.error.as_str(), group.webhooks.clone()));
        let expected = [
            ("a", "no order 3", ids(&[4, 3, 1])),
            ("b", "no order 4", ids(&[4])),
            ("a", "no customer 2", ids(&[2])),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let [first, ..] = &all[..] else { panic!("three groups") };
        assert_eq!((first.first.as_second(), first.last.as_second()), (10, 50));
        let of_a = groups(&webhooks, Some(&RouteName::new("a").expect("valid")));
        assert_eq!(of_a.iter().map(|group| &group.name).collect::<Vec<_>>(), [&all[0].name, &all[2].name]);
    }
}
