//! Tests of tables.

use super::*;

fn table() -> Table {
    let mut table = Table::new([
        Column::whole("ID"),
        Column::cut("KEY", 4),
        Column::number("N"),
        Column::whole("EMPTY"),
        Column::cut("ERROR", 6),
    ])
    .dropping(&["ERROR", "N"]);
    let mut add = |id: &str, key: &str, number: u64, error: &str| {
        table.add([
            Cell::new(id),
            Cell::new(key),
            Cell::count(number, Tint::Plain),
            Cell::new(""),
            Cell::new(error),
        ]);
    };
    add("1", "short", 7, "");
    add("22", "a-longer-key", 120, "the target answered 503");
    table
}

#[test]
fn columns_fit_their_texts_and_empty_columns_are_left_out() {
    let expected = "ID  KEY             N  ERROR\n1   short           7\n22  a-longer-key  120  the target answered 503\n";
    assert_eq!(table().text(Terminal::none()), expected);
}

#[test]
fn texts_are_cut_where_the_terminal_is_too_narrow() {
    for width in 10..60 {
        let text = table().text(Terminal::of_width(width));
        for line in text.lines() {
            assert!(measure_text_width(line) <= width, "{width}: {line}");
        }
    }
    let text = table().text(Terminal::of_width(30));
    assert_eq!(text.lines().last(), Some("22  a-longer-…  120  the targ…"));
}

#[test]
fn columns_are_dropped_in_order_while_the_table_is_too_wide() {
    for (width, last) in [
        (21, "22  a-l…  120  the t…"),
        (20, "22  a-longer-k…  120"),
        (13, "22  a-l…  120"),
        (12, "22  a-longe…"),
        (8, "22  a-l…"),
        (7, "22  a-…"),
    ] {
        let text = table().text(Terminal::of_width(width));
        assert_eq!(text.lines().last(), Some(last), "{width}");
    }
}

#[test]
fn columns_that_must_not_be_lost_are_moved_below_their_rows() {
    let mut table =
        Table::new([Column::whole("ID"), Column::number("NO"), Column::whole("WHO"), Column::whole("WHY")])
            .moving(&["WHY", "WHO"]);
    table.add([Cell::new("a"), Cell::new("1"), Cell::new("anna"), Cell::new("the shop is fixed")]);
    table.add([Cell::new("b"), Cell::new("2"), Cell::new("bert"), Cell::new("")]);
    let text = |width| table.text(Terminal::of_width(width));
    assert_eq!(text(31), "ID  NO  WHO   WHY\na    1  anna  the shop is fixed\nb    2  bert\n");
    assert_eq!(text(30), "ID  NO  WHO\na    1  anna\n    WHY  the shop is fixed\nb    2  bert\n");
    assert_eq!(text(20), "ID  NO  WHO\na    1  anna\n    WHY  the shop is\n         fixed\nb    2  bert\n");
    assert!(text(11).starts_with("ID  NO\na    1\n    WHO  an\n"), "{}", text(11));
    for width in 10..40 {
        let fits = |line: &str| measure_text_width(line) <= width;
        assert!(text(width).lines().all(fits), "{width}: {}", text(width));
    }
}

#[test]
fn headings_are_repeated_when_a_column_is_shown_that_was_not() {
    let mut above = Vec::new();
    let mut page = |one: &str, two: &str| {
        let mut table = Table::new([Column::whole("A"), Column::whole("B")]);
        table.add([Cell::new(one), Cell::new(two)]);
        table.text_below(&mut above, Terminal::none())
    };
    assert_eq!(page("1", ""), "A\n1\n");
    assert_eq!(page("2", "x"), "A  B\n2  x\n");
    assert_eq!(page("3", ""), "3\n");
}

#[test]
fn a_text_cannot_break_the_table() {
    let mut table = Table::new([Column::whole("A"), Column::whole("B")]);
    table.add([Cell::new("1\n2"), Cell::new("\u{1b}[2J漢字")]);
    assert_eq!(table.text(Terminal::none()), "A     B\n1\\n2  \\u{1b}[2J漢字\n");
}
