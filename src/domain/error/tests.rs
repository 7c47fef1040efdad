//! Texts of panics and errors, and several faults of one request.

use std::panic::{catch_unwind, panic_any};

use super::*;

#[test]
fn the_message_of_a_panic_is_found_whatever_its_type() {
    let message = |panics: fn()| {
        let panic = catch_unwind(panics).expect_err("panics");
        message_of_panic(panic.as_ref()).to_owned()
    };
    assert_eq!(message(|| panic!("a text")), "a text");
    assert_eq!(message(|| panic!("the number {}", std::hint::black_box(7))), "the number 7");
    assert_eq!(message(|| panic_any(7)), "without a message");
}

#[test]
fn a_long_text_is_cut_between_two_characters() {
    assert_eq!(cut("short", 5), "short");
    let long = "é".repeat(100);
    assert_eq!(cut(&long, 100), format!("{}…", "é".repeat(50)));
    assert_eq!(cut(&format!("x{long}"), 100).len(), 99 + "…".len());
}

#[test]
fn several_faults_of_a_request_are_told_together() {
    assert_eq!(all_of(Ok(1), Ok(2), Ok(3)).ok(), Some((1, 2, 3)));
    let missing = |field| Err::<(), _>(Error::invalid(field, "is missing"));
    let error = all_of(missing("a"), Ok(2), missing("c")).expect_err("refused");
    assert_eq!(error.reason(), Reason::InvalidField);
    assert_eq!(error.field(), Some("a"));
    assert_eq!(error.detail(), "`a` is missing; `c` is missing");
    let fields = error.violations().iter().map(|violation| violation.field.as_str());
    assert_eq!(fields.collect::<Vec<_>>(), ["a", "c"]);
}
