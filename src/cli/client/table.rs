//! Tables that fit the terminal. Where it is too narrow, texts are cut, down to the least widths of their columns. If that
//! is not enough, columns are dropped, the least important first, until it is. Tables that must not lose anything move
//! columns below their rows instead. Other columns end where the terminal ends.

use console::{measure_text_width, truncate_str};

use super::facts::Facts;
use super::safe::safe;
use super::terminal::{Terminal, Tint};

/// The columns between two cells.
pub(super) const GAP: &str = "  ";

/// The spaces before what is below a row.
const INDENT: usize = 4;

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
    /// The headings of the columns that may be below their rows, the first of them first.
    moved: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

/// Where the texts of the columns are.
struct Layout {
    /// The width of each column; 0 for those that are left out, and for those below the rows.
    widths: Vec<usize>,
    /// Which columns are below the rows.
    below: Vec<usize>,
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

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn tint(&self) -> Tint {
        self.tint
    }

    /// A number; nothing for 0, so that the others stand out.
    pub(super) fn count(number: u64, tint: Tint) -> Self {
        if number == 0 { Self::tinted("·", Tint::Dim) } else { Self::tinted(number.to_string(), tint) }
    }
}

impl Table {
    pub(super) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), dropped: &[], moved: &[], rows: Vec::new() }
    }

    /// Drops columns where the terminal is too narrow, in the order of these headings. Other columns stay.
    pub(super) fn dropping(self, headings: &'static [&'static str]) -> Self {
        debug_assert!(self.has_columns(headings), "not a column: {headings:?}");
        Self { dropped: headings, ..self }
    }

    /// Moves columns below their rows where the terminal is too narrow, in the order of these headings. There, each text
    /// is behind the heading of its column, in as many lines as it needs.
    pub(super) fn moving(self, headings: &'static [&'static str]) -> Self {
        debug_assert!(self.has_columns(headings), "not a column: {headings:?}");
        Self { moved: headings, ..self }
    }

    fn has_columns(&self, headings: &[&str]) -> bool {
        headings.iter().all(|heading| self.columns.iter().any(|column| column.heading == *heading))
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
        let layout = self.layout(terminal.width);
        let shown = self.columns.iter().zip(&layout.widths).filter(|(_, width)| **width > 0);
        let shown = shown.map(|(column, _)| column.heading).collect::<Vec<_>>();
        let rows = self.rows.iter().map(|row| self.row(row, &layout, terminal)).collect::<String>();
        // Columns that are missing at the end move no other.
        if above.starts_with(&shown) {
            return rows;
        }
        *above = shown;
        let headings = self.columns.iter().map(|column| Cell::tinted(column.heading, Tint::Heading));
        self.line(&headings.collect::<Vec<_>>(), &layout.widths, terminal) + &rows
    }

    /// The line of a row, and what is below it.
    fn row(&self, row: &[Cell], layout: &Layout, terminal: Terminal) -> String {
        let mut below = Facts::default();
        for at in &layout.below {
            if let (Some(column), Some(cell)) = (self.columns.get(*at), row.get(*at))
                && !cell.text.is_empty()
            {
                below.add(column.heading, cell.clone());
            }
        }
        self.line(row, &layout.widths, terminal) + &below.text(INDENT, terminal)
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

    /// Where the texts are on a terminal of this width.
    fn layout(&self, terminal: Option<usize>) -> Layout {
        let of_cells = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| measure_text_width(&cell.text)).max().unwrap_or_default()
        };
        let columns = self.columns.iter().enumerate();
        let widths = columns.map(|(at, column)| match of_cells(at) {
            0 if !self.rows.is_empty() => 0,
            width => width.max(measure_text_width(column.heading)),
        });
        let (mut widths, mut below) = (widths.collect::<Vec<_>>(), Vec::new());
        let Some(terminal) = terminal else { return Layout { widths, below } };
        let needed = |widths: &[usize]| {
            let shown = widths.iter().filter(|width| **width > 0);
            shown.map(|width| width + GAP.len()).sum::<usize>().saturating_sub(GAP.len())
        };
        for heading in self.moved {
            if needed(&widths) <= terminal {
                break;
            }
            let columns = self.columns.iter().zip(&mut widths).enumerate();
            for (at, (_, width)) in columns.filter(|(_, (column, _))| column.heading == *heading) {
                if std::mem::take(width) > 0 {
                    below.push(at);
                }
            }
        }
        below.sort_unstable();
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
        Layout { widths, below }
    }
}

#[cfg(test)]
mod tests;
