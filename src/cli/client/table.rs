//! Tables that fit the terminal. Where it is too narrow, texts are cut, down to the least widths of their columns. If that
//! is not enough, columns are dropped, the least important first, until it is. Columns that are never dropped end where
//! the terminal ends.

use console::{measure_text_width, truncate_str};

use super::safe::safe;
use super::terminal::{Terminal, Tint};

/// The columns between two cells.
const GAP: &str = "  ";

/// What stands for the end of a text that was cut.
const CUT: &str = "…";

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    heading: &'static str,
    /// The least width to which it is cut; none if it is not cut.
    least: Option<usize>,
    is_number: bool,
}

/// A cell. Its text is safe to show.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tint: Tint,
}

/// Rows of cells, one below the other.
#[derive(Clone, Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    /// The headings of the columns that may be dropped, the least important first.
    dropped: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Column {
    /// A column whose texts are never cut.
    pub(super) const fn whole(heading: &'static str) -> Self {
        Self { heading, least: None, is_number: false }
    }

    /// A column whose texts are cut where the terminal is too narrow.
    pub(super) const fn cut(heading: &'static str, least: usize) -> Self {
        Self { heading, least: Some(least), is_number: false }
    }

    /// A column of numbers.
    pub(super) const fn number(heading: &'static str) -> Self {
        Self { heading, least: None, is_number: true }
    }

    /// The width to which it may be cut if its texts have this width.
    fn least_of(&self, width: usize) -> usize {
        self.least.map_or(width, |least| least.min(width))
    }
}

impl Cell {
    /// A text that others may have chosen.
    pub(super) fn new(text: impl AsRef<str>) -> Self {
        Self::tinted(text, Tint::Plain)
    }

    /// A text with a meaning.
    pub(super) fn tinted(text: impl AsRef<str>, tint: Tint) -> Self {
        Self { text: safe(text.as_ref()), tint }
    }

    /// A number; nothing for 0, so that the others stand out.
    pub(super) fn count(number: u64, tint: Tint) -> Self {
        if number == 0 { Self::tinted("·", Tint::Dim) } else { Self::tinted(number.to_string(), tint) }
    }
}

impl Table {
    pub(super) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), dropped: &[], rows: Vec::new() }
    }

    /// Drops columns where the terminal is too narrow, in the order of these headings. Other columns stay.
    pub(super) fn dropping(self, headings: &'static [&'static str]) -> Self {
        let is_column = |heading: &&str| self.columns.iter().any(|column| column.heading == *heading);
        debug_assert!(headings.iter().all(is_column), "not a column: {headings:?}");
        Self { dropped: headings, ..self }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn add(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines of the table, each with a line feed. Columns without any text are left out.
    pub(super) fn text(&self, terminal: Terminal) -> String {
        self.text_below(&mut Vec::new(), terminal)
    }

    /// The same below the rows of an earlier page, with the headings `above`. Has its own headings if those do not fit.
    pub(super) fn text_below(&self, above: &mut Vec<&'static str>, terminal: Terminal) -> String {
        let widths = self.widths(terminal.width);
        let shown = self.columns.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let shown = shown.map(|(column, _)| column.heading).collect::<Vec<_>>();
        let rows = self.rows.iter().map(|row| self.line(row, &widths, terminal)).collect::<String>();
        // Columns that are missing at the end move no other.
        if above.starts_with(&shown) {
            return rows;
        }
        *above = shown;
        let headings = self.columns.iter().map(|column| Cell::tinted(column.heading, Tint::Heading));
        self.line(&headings.collect::<Vec<_>>(), &widths, terminal) + &rows
    }

    /// The same without the headings.
    pub(super) fn rows(&self, terminal: Terminal) -> String {
        let widths = self.widths(terminal.width);
        self.rows.iter().map(|row| self.line(row, &widths, terminal)).collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize], terminal: Terminal) -> String {
        let mut line = String::new();
        let (mut left, mut padding) = (terminal.width.unwrap_or(usize::MAX), String::new());
        for ((cell, column), width) in row.iter().zip(&self.columns).zip(widths) {
            if *width == 0 || left == 0 {
                continue;
            }
            let width = (*width).min(left);
            let text = truncate_str(&cell.text, width, CUT);
            let free = " ".repeat(width.saturating_sub(measure_text_width(&text)));
            let (before, after) = if column.is_number { (free.as_str(), "") } else { ("", free.as_str()) };
            padding.push_str(before);
            if !text.is_empty() {
                line.push_str(&padding);
                line.push_str(&terminal.tinted(&text, cell.tint));
                padding.clear();
            }
            // Spaces at the end of a line are left out.
            padding.push_str(after);
            padding.push_str(GAP);
            left = left.saturating_sub(width + GAP.len());
        }
        line.push('\n');
        line
    }

    /// The width of each column; 0 for those that are left out.
    fn widths(&self, terminal: Option<usize>) -> Vec<usize> {
        let of_cells = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| measure_text_width(&cell.text)).max().unwrap_or_default()
        };
        let columns = self.columns.iter().enumerate();
        let widths = columns.map(|(at, column)| match of_cells(at) {
            0 if !self.rows.is_empty() => 0,
            width => width.max(measure_text_width(column.heading)),
        });
        let mut widths = widths.collect::<Vec<_>>();
        let Some(terminal) = terminal else { return widths };
        let needed = |widths: &[usize]| {
            let shown = widths.iter().filter(|width| **width > 0);
            shown.map(|width| width + GAP.len()).sum::<usize>().saturating_sub(GAP.len())
        };
        for heading in self.dropped {
            let least = self.columns.iter().zip(&widths).map(|(column, width)| column.least_of(*width));
            if needed(&least.collect::<Vec<_>>()) <= terminal {
                break;
            }
            let named = self.columns.iter().zip(&mut widths).filter(|(column, _)| column.heading == *heading);
            named.for_each(|(_, width)| *width = 0);
        }
        while needed(&widths) > terminal {
            // The widest column that can be cut gives way.
            let can_be_cut = |(width, column): &(&mut usize, &Column)| **width > column.least_of(**width);
            let cut = widths.iter_mut().zip(&self.columns).filter(can_be_cut);
            match cut.max_by_key(|(width, _)| **width) {
                Some((width, _)) => *width -= 1,
                None => break,
            }
        }
        widths
    }
}

#[cfg(test)]
mod tests {
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
    fn columns_are_as_wide_as_their_texts_and_empty_ones_are_left_out() {
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
        assert_eq!(table.rows(Terminal::none()), "1\\n2  \\u{1b}[2J漢字\n");
    }
}
