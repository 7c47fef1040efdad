//! What the documents about handlers say: their settings can be pasted.

use tempfile::TempDir;

use crate::api::harness::settings::{blocks, checked};
use crate::support::tls::Authority;

const TEXTS: [(&str, &str); 3] = [
    ("HANDLERS.md", include_str!("../../../../docs/HANDLERS.md")),
    ("ALERTS.md", include_str!("../../../../docs/ALERTS.md")),
    ("FROM-ADNANH-WEBHOOK.md", include_str!("../../../../docs/FROM-ADNANH-WEBHOOK.md")),
];

/// The handler of a block that has only some members of a route, by how the block begins.
const PARTS: [(&str, &str); 2] = [("url = ", "http"), ("command = ", "exec")];

/// A file with a block.
fn file_of(block: &str) -> String {
    match PARTS.iter().find(|(beginning, _)| block.starts_with(beginning)) {
        Some((_, handler)) => format!("[[routes]]\nname = \"a\"\nhandler = \"{handler}\"\n{block}"),
        // The handler of a program that uses the library.
        None => block.replace("handler = \"resize\"", "handler = \"simulate\""),
    }
}

#[test]
fn all_settings_are_taken_once_their_variables_are_set() {
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, Authority::new().pem()).unwrap();
    for (name, text) in TEXTS {
        let blocks = blocks(text);
        assert!(!blocks.is_empty(), "{name} has no settings");
        for block in blocks {
            let file = file_of(&block).replace("/etc/hookbox/internal-ca.pem", &ca.to_string_lossy());
            if let Err(refused) = checked(&file, None) {
                panic!("{name}: {file}{refused}");
            }
        }
    }
}
