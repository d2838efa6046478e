//! Tables for terminals: columns as wide as their widest cell, numbers to the right, no frames.

use super::paint::Paint;

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under one heading.
pub(crate) struct Table {
    heading: Vec<(String, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; a heading that starts with `>` stands to the right.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let heading = columns
            .iter()
            .map(|column| match column.strip_prefix('>') {
                Some(name) => (name.to_owned(), Side::Right),
                None => ((*column).to_owned(), Side::Left),
            })
            .collect();
        Self { heading, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty, surplus ones are dropped. Control characters are shown as `?`:
    /// a receiver's reply must not steer the terminal.
    pub(crate) fn row<I>(&mut self, cells: I)
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let mut row: Vec<String> = cells.into_iter().map(|cell| printable(&cell.into())).collect();
        row.resize(self.heading.len(), String::new());
        self.rows.push(row);
    }

    /// The table as text, each line indented by two spaces; empty when there are no rows.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let widths = self.widths();
        let mut text = String::new();
        let heading: Vec<&str> = self.heading.iter().map(|(name, _)| name.as_str()).collect();
        text.push_str(&paint.dim(&self.line(&heading, &widths)));
        text.push('\n');
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            text.push_str(&self.line(&cells, &widths));
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heading.iter().map(|(name, _)| width(name)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
        widths
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut line = String::from("  ");
        for (place, (cell, (_, side))) in cells.iter().zip(&self.heading).enumerate() {
            let gap = " ".repeat(widths[place].saturating_sub(width(cell)));
            let spacer = if place == 0 { "" } else { "  " };
            line.push_str(spacer);
            match side {
                Side::Left => line.extend([*cell, gap.as_str()]),
                Side::Right => line.extend([gap.as_str(), *cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// `text` with every control character replaced, so that it stays on its line.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `text` cut to `columns` columns, with `…` when something was cut.
pub(crate) fn clip(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(columns.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

/// Columns taken on a terminal: one per character is right for the scripts that addresses and hosts use.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let mut table = Table::new(&["provider", ">sent", "state"]);
        table.row(["gmail", "1,234", "ready"]);
        table.row(["a-very-long-one", "5", "suspended"]);
        let text = table.render(Paint::plain());
        assert_eq!(
            text,
            "  provider          sent  state\n  \
               gmail            1,234  ready\n  \
               a-very-long-one      5  suspended\n"
        );
    }

    #[test]
    fn short_rows_are_filled_and_controls_are_shown() {
        let mut table = Table::new(&["a", "b"]);
        table.row(["x\x1b[31m"]);
        assert_eq!(table.render(Paint::plain()), "  a       b\n  x?[31m\n");
    }

    #[test]
    fn long_cells_can_be_clipped() {
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("åäöü", 4), "åäöü");
    }
}
