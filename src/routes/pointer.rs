//! JSON pointers (RFC 6901).

use super::body::Node;
use crate::domain::pointer::members;

/// A parsed JSON pointer.
#[derive(Clone, Debug)]
pub(super) struct Pointer(Box<[Box<str>]>);

impl Pointer {
    /// Parses a pointer. The error continues the sentence "it must be ...". The empty pointer is refused.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || "a JSON pointer, such as /order_id or /data/0/id, with ~0 for ~ and ~1 for /".to_owned();
        members(text).filter(|members| !members.is_empty()).map(Self).ok_or_else(wrong)
    }

    /// The value that the pointer names; none if `root` has no such value.
    pub(super) fn find<'n, 'a>(&self, root: &'n Node<'a>) -> Option<&'n Node<'a>> {
        self.0.iter().try_fold(root, |node, member| node.child(member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 6901, section 5.
    #[test]
    fn the_examples_of_the_rfc_are_found() {
        let json =
            r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        let root = Node::parse(json).expect("valid");
        for (pointer, number) in [
            ("/", 0),
            ("/a~1b", 1),
            ("/c%d", 2),
            ("/e^f", 3),
            ("/g|h", 4),
            ("/i\\j", 5),
            ("/k\"l", 6),
            ("/ ", 7),
            ("/m~0n", 8),
        ] {
            let found = Pointer::parse(pointer).expect(pointer).find(&root).cloned();
            assert!(matches!(found, Some(Node::Int(found)) if *found.inner() == number), "{pointer}");
        }
        assert!(matches!(
            Pointer::parse("/foo/0").expect("valid").find(&root),
            Some(Node::String(text)) if text.inner() == "bar"
        ));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let root = Node::parse(r#"{"list":[1],"text":"x"}"#).expect("valid");
        for pointer in ["/no", "/list/1", "/list/00", "/list/-", "/list/+0", "/text/0", "/list/0/0"] {
            assert!(Pointer::parse(pointer).expect(pointer).find(&root).is_none(), "{pointer}");
        }
    }

    #[test]
    fn a_text_that_is_no_pointer_is_refused() {
        for text in ["", "order_id", "/a~", "/a~2", "#/a", "$.a"] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
    }
}
