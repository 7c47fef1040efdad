//! A JSON text as a tree that can be folded. Numbers are shown as they are written, and strings as what they say.

use std::borrow::Cow;

use json_event_parser::{JsonEvent, SliceJsonParser};
use maud::{Markup, html};

use crate::domain::surrogates;
use crate::page::parts::{count, cut, nothing, number};

/// The largest text that is read as a tree, in bytes.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// How many levels are unfolded at first.
const OPEN_LEVELS: usize = 3;

/// How many characters of a name are shown.
const NAME_CHARS: usize = 200;

/// How much of a text is shown.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The most values, arrays and objects among them.
    values: usize,
    /// The most levels.
    levels: usize,
    /// The most characters of one string or number.
    value_chars: usize,
    /// The most characters of all names, strings and numbers.
    all_chars: usize,
}

impl Limits {
    /// As much as can be looked over.
    const BEGINNING: Self = Self { values: 500, levels: 16, value_chars: 500, all_chars: 50_000 };

    /// As much as a browser can show.
    const MOST: Self = Self { values: 20_000, levels: 128, value_chars: 20_000, all_chars: 300_000 };
}

/// The beginning of a JSON text.
#[derive(Debug)]
struct Tree<'a> {
    root: Node<'a>,
    limits: Limits,
    /// Whether all values are there.
    is_whole: bool,
}

#[derive(Debug)]
enum Node<'a> {
    String(Cow<'a, str>),
    Number(Cow<'a, str>),
    Word(&'static str),
    Container(Container<'a>),
}

#[derive(Debug)]
struct Container<'a> {
    kind: Kind,
    /// The first items, each of an object with its name.
    items: Vec<(Option<Cow<'a, str>>, Node<'a>)>,
    /// How many items there are in the text.
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Array,
    Object,
}

/// A container of which the end is still to come.
struct Open<'a> {
    container: Container<'a>,
    /// The name of the item that comes next, or is being read.
    name: Option<Cow<'a, str>>,
}

/// The tree of a body, and whether all of the body is in it: its beginning, or with `is_all` as much as a browser can show.
/// Errors: the body is not valid JSON, in words.
pub fn body_as_tree(body: &[u8], is_all: bool) -> Result<(Markup, bool), String> {
    let limits = if is_all { Limits::MOST } else { Limits::BEGINNING };
    parse(&surrogates::replaced(body), limits).map(|tree| tree.render())
}

/// Reads a JSON text to its end, and keeps its beginning. Errors: it is not valid, in words.
fn parse(json: &[u8], limits: Limits) -> Result<Tree<'_>, String> {
    let mut parser = SliceJsonParser::new(json);
    let mut reader = Reader { limits, open: Vec::new(), skipped: 0, values: 0, root: None, is_whole: true };
    loop {
        let event = parser.parse_next().map_err(|fault| {
            let at = fault.location().start;
            format!("{} at line {} column {}", fault.message(), at.line + 1, at.column + 1)
        })?;
        match event {
            JsonEvent::Null => reader.value(Node::Word("null")),
            JsonEvent::Boolean(true) => reader.value(Node::Word("true")),
            JsonEvent::Boolean(false) => reader.value(Node::Word("false")),
            JsonEvent::Number(text) => reader.value(Node::Number(text)),
            JsonEvent::String(text) => reader.value(Node::String(text)),
            JsonEvent::StartArray => reader.begin(Kind::Array),
            JsonEvent::StartObject => reader.begin(Kind::Object),
            JsonEvent::ObjectKey(name) => reader.name(name),
            JsonEvent::EndArray | JsonEvent::EndObject => reader.end(),
            JsonEvent::Eof => break,
        }
    }
    let Reader { root, is_whole, .. } = reader;
    root.map(|root| Tree { root, limits, is_whole }).ok_or_else(|| "it is empty".to_owned())
}

/// Builds a tree of the first values.
struct Reader<'a> {
    limits: Limits,
    /// The containers around the next value that are kept, from the outermost on.
    open: Vec<Open<'a>>,
    /// How many containers around it are not kept.
    skipped: usize,
    /// How many values are kept.
    values: usize,
    root: Option<Node<'a>>,
    is_whole: bool,
}

impl<'a> Reader<'a> {
    fn name(&mut self, name: Cow<'a, str>) {
        if self.skipped == 0
            && let Some(open) = self.open.last_mut()
        {
            open.name = Some(name);
        }
    }

    /// Counts the next value in its container, and decides whether it is kept.
    fn keeps_next(&mut self) -> bool {
        if self.skipped > 0 {
            return false;
        }
        if let Some(open) = self.open.last_mut() {
            open.container.count += 1;
        }
        let has_room = self.values < self.limits.values;
        self.values += usize::from(has_room);
        self.is_whole &= has_room;
        has_room
    }

    fn value(&mut self, node: Node<'a>) {
        if self.keeps_next() {
            self.put(node);
        }
    }

    fn begin(&mut self, kind: Kind) {
        if !self.keeps_next() {
            self.skipped += 1;
        } else if self.open.len() < self.limits.levels {
            let container = Container { kind, items: Vec::new(), count: 0 };
            self.open.push(Open { container, name: None });
        } else {
            self.put(Node::Word(if kind == Kind::Array { "[…]" } else { "{…}" }));
            self.is_whole = false;
            self.skipped = 1;
        }
    }

    fn end(&mut self) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else if let Some(Open { container, .. }) = self.open.pop() {
            self.put(Node::Container(container));
        }
    }

    fn put(&mut self, node: Node<'a>) {
        match self.open.last_mut() {
            Some(open) => {
                let name = open.name.take();
                open.container.items.push((name, node));
            }
            None => self.root = Some(node),
        }
    }
}

impl Tree<'_> {
    /// The tree, and whether all of the text is in it.
    fn render(&self) -> (Markup, bool) {
        let mut shown = Shown { limits: self.limits, chars: 0, is_whole: self.is_whole };
        let markup = html! {
            div.tree tabindex="0" role="region" aria-label="The body as a tree" {
                (shown.item(&nothing(), &self.root, 0))
            }
        };
        (markup, shown.is_whole)
    }
}

/// What of a tree is already shown.
struct Shown {
    limits: Limits,
    chars: usize,
    is_whole: bool,
}

impl Shown {
    /// An item with what is shown before it: its name, or its place.
    fn item(&mut self, name: &Markup, node: &Node<'_>, level: usize) -> Markup {
        match node {
            Node::String(text) => html! { (name) span.str { "\"" (self.text(text)) "\"" } },
            Node::Number(text) => html! { (name) span.num-lit { (self.text(text)) } },
            Node::Word(word) => html! { (name) span.lit { (word) } },
            Node::Container(container) => self.container(name, container, level),
        }
    }

    fn container(&mut self, name: &Markup, container: &Container<'_>, level: usize) -> Markup {
        let (begin, end, one, many) = match container.kind {
            Kind::Array => ("[", "]", "item", "items"),
            Kind::Object => ("{", "}", "member", "members"),
        };
        if container.count == 0 {
            return html! { (name) span.punct { (begin) (end) } };
        }
        let missing = container.count - container.items.len() as u64;
        html! {
            details open[level < OPEN_LEVELS] {
                summary { (name) span.punct { (begin) } " " span.size { (count(container.count, one, many)) } }
                ul {
                    @for (at, (name, node)) in container.items.iter().enumerate() {
                        @let name = self.name(name.as_deref(), at);
                        li { (self.item(&name, node, level + 1)) }
                    }
                    @if missing > 0 { li.size { "… " (number(missing)) " more" } }
                }
                span.punct { (end) }
            }
        }
    }

    fn name(&mut self, name: Option<&str>, at: usize) -> Markup {
        match name {
            Some(name) => html! { span.key { (self.cut(name, NAME_CHARS)) } span.punct { ": " } },
            None => html! { span.size { (at) } span.punct { ": " } },
        }
    }

    fn text(&mut self, text: &str) -> Markup {
        self.cut(text, self.limits.value_chars)
    }

    /// The first `chars` characters of a text, or fewer if not as many are left.
    fn cut(&mut self, text: &str, chars: usize) -> Markup {
        let room = self.limits.all_chars.saturating_sub(self.chars).min(chars);
        // A text has at most as many characters as bytes.
        self.chars += text.len().min(room);
        self.is_whole &= text.len() <= room || text.chars().nth(room).is_none();
        cut(text, room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str, limits: Limits) -> (String, bool) {
        let (markup, is_whole) = parse(json.as_bytes(), limits).expect(json).render();
        (markup.into_string(), is_whole)
    }

    /// What a tree says, without its markup.
    fn text(json: &str, limits: Limits) -> String {
        let (markup, _) = shown(json, limits);
        let parts = markup.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        parts.collect::<String>().replace("&quot;", "\"")
    }

    #[test]
    fn numbers_stay_as_they_are_written_and_strings_say_what_they_mean() {
        let json = r#" {"n":12345678901234567890.10e+2,"s":"\u0041<b>\n","l":[true,null,{}],"n":[] } "#;
        let expected = concat!(
            "{ 4 membersn: 12345678901234567890.10e+2s: \"A&lt;b&gt;\\n\"",
            "l: [ 3 items0: true1: null2: {}]n: []}"
        );
        assert_eq!(text(json, Limits::BEGINNING), expected);
        assert!(shown(json, Limits::BEGINNING).1, "all of it is shown");
        assert_eq!(text("1.0", Limits::BEGINNING), "1.0");
    }

    #[test]
    fn a_tree_has_a_limited_number_of_values_and_says_how_many_are_missing() {
        let long = format!("[{}0]", "[1],".repeat(999));
        let (markup, is_whole) = shown(&long, Limits::BEGINNING);
        assert!(markup.contains("1,000 items") && markup.contains("… 750 more"), "{markup}");
        assert!(!is_whole && markup.len() < 100_000, "{}", markup.len());
        assert!(shown(&long, Limits::MOST).1);
    }

    #[test]
    fn a_tree_has_a_limited_number_of_levels() {
        let nested = |levels: usize| format!("{}7{}", "[".repeat(levels), "]".repeat(levels));
        assert!(shown(&nested(16), Limits::BEGINNING).1);
        let (markup, is_whole) = shown(&nested(17), Limits::BEGINNING);
        assert!(!is_whole && markup.contains("[…]") && !markup.contains('7'), "{markup}");
        let (markup, is_whole) = shown(&format!("[{},8]", nested(10_000)), Limits::MOST);
        assert!(!is_whole && markup.contains('8') && !markup.contains('7'), "what comes after it is shown");
        assert!(parse(nested(100_000).as_bytes(), Limits::MOST).is_err(), "too deep for the parser");
    }

    #[test]
    fn a_tree_has_a_limited_number_of_characters_whatever_they_are() {
        let hostile = "\\u202e".repeat(100_000);
        let json = format!("[\"{hostile}\",\"{hostile}\",12]");
        for (limits, most) in [(Limits::BEGINNING, 60_000), (Limits::MOST, 3_000_000)] {
            let (markup, is_whole) = shown(&json, limits);
            assert!(!is_whole && markup.len() < most, "{}", markup.len());
        }
        let many = format!("[{}0]", format!("\"{}\",", "x".repeat(400)).repeat(400));
        let (markup, is_whole) = shown(&many, Limits::BEGINNING);
        assert!(!is_whole && markup.len() < 150_000, "{}", markup.len());
    }

    #[test]
    fn a_text_that_is_not_json_is_told_with_the_place() {
        for (text, place) in
            [("{\"a\":\n tru}", "line 2"), ("", "line 1"), ("[1,]", "line 1"), ("1 2", "line 1")]
        {
            let error = parse(text.as_bytes(), Limits::BEGINNING).expect_err(text);
            assert!(error.contains(place), "{text}: {error}");
        }
        assert!(parse(b"\"\xff\"", Limits::BEGINNING).is_err());
    }
}
