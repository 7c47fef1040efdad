//! How far a client has come with the webhooks that come in. Pure.

use std::collections::BTreeSet;

/// The most ids that are remembered: as many as a server remembers of a stream.
const MAX_HANDLED: usize = 100_000;

/// The length of an id as text.
const ID_CHARS: usize = 36;

/// The position after which a stream has to begin, and the webhooks after it that were handled. Ids are in lower case,
/// so that they sort as their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    resume_after: String,
    handled: BTreeSet<String>,
}

impl Place {
    /// The place after a position or the id of a webhook; none if the text is neither.
    pub fn after(position: &str) -> Option<Self> {
        let position = position.to_ascii_lowercase();
        is_id(&position).then(|| Self { resume_after: position, handled: BTreeSet::new() })
    }

    /// The position after which a stream has to begin; empty to begin with what comes from now on.
    pub fn resume_after(&self) -> &str {
        &self.resume_after
    }

    /// The webhooks after that position that were handled.
    pub fn handled(&self) -> impl Iterator<Item = &str> {
        self.handled.iter().map(String::as_str)
    }

    /// Whether a webhook was handled. Those up to the position are not known: a stream after it does not send them.
    pub fn has(&self, id: &str) -> bool {
        self.handled.contains(id)
    }

    /// Notes that a webhook was handled, and the position of the stream after it.
    pub fn handle(&mut self, id: &str, resume_after: &str) {
        self.handled.insert(id.to_owned());
        self.advance(resume_after);
    }

    /// Notes the position of the stream. It never goes back.
    pub fn advance(&mut self, resume_after: &str) {
        if is_id(resume_after) && resume_after > self.resume_after.as_str() {
            resume_after.clone_into(&mut self.resume_after);
        }
        while self.handled.len() > MAX_HANDLED
            || self.handled.first().is_some_and(|first| *first <= self.resume_after)
        {
            self.handled.pop_first();
        }
    }
}

/// Whether a text has the form of a UUID in lower case.
pub(super) fn is_id(text: &str) -> bool {
    let is_allowed = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == ID_CHARS && text.bytes().enumerate().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> String {
        format!("0193811c-2b7b-7000-8000-{number:012}")
    }

    #[test]
    fn what_was_handled_is_known_until_the_position_is_past_it() {
        let mut place = Place::after(&id(1).to_uppercase()).expect("an id");
        assert_eq!(place.resume_after(), id(1));
        place.handle(&id(3), &id(1));
        place.handle(&id(2), &id(1));
        assert_eq!([1, 2, 3, 4].map(|number| place.has(&id(number))), [false, true, true, false]);
        assert_eq!(place.handled().collect::<Vec<_>>(), [id(2), id(3)]);
        place.handle(&id(4), &id(2));
        assert_eq!(place.handled().collect::<Vec<_>>(), [id(3), id(4)]);
        place.advance(&id(1));
        assert_eq!(place.resume_after(), id(2), "the position does not go back");
    }

    #[test]
    fn only_a_uuid_is_a_position() {
        let wrong = [String::new(), "now".to_owned(), format!("{}0", id(1)), id(1).replacen('-', "0", 1)];
        for text in wrong {
            assert_eq!(Place::after(&text), None, "{text}");
        }
    }
}
