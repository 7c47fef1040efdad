//! What `docs/SOURCES.md` says: its lines can be pasted, every preset has a section, and its example is verified.

use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::domain::webhook::Source;
use hookbox::internals::sources::{Presets, Request, read, verify};
use jiff::Timestamp;

use super::sign;
use crate::api::harness::settings::{blocks, checked};

const TEXT: &str = include_str!("../../../../docs/SOURCES.md");

/// What a block needs besides that has only some members of a source, by how the block begins.
const OTHERS: [(&str, &str); 3] = [
    ("secrets = ", "preset = \"stripe\""),
    ("verify = ", "key = \"body\""),
    (
        "handshakes = ",
        "key = \"body\"\nverify = { hmac = \"sha256\", header = \"X\" }\nsecrets = [\"env:A\"]\nverify_token = \"env:B\"",
    ),
];

/// A file with a block.
fn file_of(block: &str) -> String {
    // The tests have no such files.
    let block = block.replace("\"file:/run/secrets/", "\"env:");
    if block.contains("[sources.") {
        return block;
    }
    let others = OTHERS.iter().find(|(beginning, _)| block.starts_with(beginning));
    let (_, others) = others.unwrap_or_else(|| panic!("add what this lacks to be a source: {block}"));
    format!("[sources.a]\n{others}\n{block}")
}

#[test]
fn all_lines_are_taken_once_their_variables_are_set() {
    let blocks = blocks(TEXT);
    assert!(blocks.len() > Presets::built_in().iter().count(), "{}", blocks.len());
    for block in blocks {
        let file = file_of(&block);
        if let Err(refused) = checked(&file, None) {
            panic!("{file}{refused}");
        }
    }
}

#[test]
fn every_preset_has_a_section_with_lines_to_paste() {
    let (_, after) = TEXT.split_once("\n## The presets\n").unwrap();
    let sections = after.split("\n## ").next().unwrap().split("\n### ").skip(1);
    let mut described = Vec::new();
    for section in sections {
        for part in ["\n- **Where:** ", "\n- **On errors:** "] {
            assert!(section.contains(part), "{part:?} is missing in {section}");
        }
        let blocks = blocks(section);
        assert_eq!(blocks.len(), 1, "{section}");
        let file = toml::from_str::<toml::Table>(&blocks[0]).unwrap();
        let sources = file["sources"].as_table().unwrap();
        assert_eq!(sources.len(), 1, "{section}");
        described.extend(sources.values().map(|source| source["preset"].as_str().unwrap().to_owned()));
    }
    described.sort();
    let presets = Presets::built_in().iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(described, presets);
}

#[test]
fn the_example_of_a_sender_is_verified_and_read_as_the_text_says() {
    let (_, section) = TEXT.split_once("\n## Describe a sender of your own\n").unwrap();
    let sent = section.split("\n```\n").nth(1).unwrap();
    let (head, body) = sent.split_once("\n\n").unwrap();
    let (first, headers) = head.split_once('\n').unwrap();
    assert_eq!(first, "POST /v1/sources/erp/webhooks");
    let headers = headers.lines().map(|line| line.split_once(": ").unwrap()).collect::<Vec<_>>();
    let (_, time) = headers.iter().find(|(name, _)| *name == "X-Erp-Time").unwrap();
    // The HMAC of the time, a dot, and the body. The text shows only the beginning of one.
    let signature = format!("sha256={}", sign("s3cret", format!("{time}.{body}").as_bytes()));
    let headers = headers.iter().map(|(name, value)| match *name {
        "X-Erp-Signature" => (*name, signature.as_bytes()),
        _ => (*name, value.as_bytes()),
    });
    let headers = headers.collect::<Vec<_>>();
    let request = Request {
        id: "r1",
        method: "POST",
        url: None,
        query: "",
        headers: &headers,
        body: body.as_bytes(),
        received_at: Timestamp::from_second(time.parse().unwrap()).unwrap(),
    };

    let settings = blocks(section)[0].replace("env:ERP_SECRET", "s3cret");
    let sources = checked(&settings, None).unwrap().sources.map();
    let rules = &sources[&Source::new("erp").unwrap()].rules;
    assert_eq!(verify(&request, rules), Verdict::Verified);
    let items = read(&request, rules).unwrap();
    let bodies = items.iter().map(|item| std::str::from_utf8(item.body).unwrap()).collect::<Vec<_>>();
    assert_eq!(bodies, [r#"{"id":"A-1","total":12}"#, r#"{"id":"A-2","total":7}"#]);
    let event_types = items.iter().map(|item| item.event_type.as_ref().unwrap().as_str());
    assert!(event_types.eq(["order.paid", "order.paid"]));
    let keys = items.iter().map(|item| format!("`{}`", item.key)).collect::<Vec<_>>().join(" and ");
    let said = format!("makes two webhooks, with the keys {keys}, and the event type `order.paid`.");
    assert!(section.contains(&said), "the text does not say that the request {said}");
    let changed = Request { body: b"{}", ..request };
    assert!(matches!(verify(&changed, rules), Verdict::Unverified(_)));
}
