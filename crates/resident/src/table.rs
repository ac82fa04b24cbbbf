//! Tables for people: columns aligned, numbers to the right, no lines drawn.

use crate::terminal::{Paint, Tone};

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under one line of headings.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing are empty.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert!(cells.len() <= self.columns.len(), "a row has more cells than columns");
        self.rows.push(cells);
    }

    /// The lines of the table, headings first.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let widths: Vec<usize> = (0..self.columns.len()).map(|at| self.width(at)).collect();
        let headings: Vec<String> =
            self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let mut lines = vec![paint.tone(Tone::Faint, self.aligned(&headings, &widths))];
        lines.extend(self.rows.iter().map(|row| self.aligned(row, &widths)));
        lines
    }

    /// The table in Markdown, headings first. What would end a cell is escaped.
    pub(crate) fn markdown(&self) -> Vec<String> {
        let line = |cells: &[String]| {
            let cells = (0..self.columns.len()).map(|at| cells.get(at).map_or("", String::as_str));
            let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |", cells.join(" | "))
        };
        let headings: Vec<String> =
            self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let rules = self.columns.iter().map(|(_, align)| match align {
            Align::Left => "---",
            Align::Right => "--:",
        });
        let mut lines = vec![line(&headings)];
        lines.push(format!("| {} |", rules.collect::<Vec<_>>().join(" | ")));
        lines.extend(self.rows.iter().map(|row| line(row)));
        lines
    }

    fn width(&self, at: usize) -> usize {
        let heading = self.columns[at].0.chars().count();
        let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(heading)
    }

    fn aligned(&self, cells: &[String], widths: &[usize]) -> String {
        let padded =
            self.columns.iter().zip(widths).enumerate().map(|(at, ((_, align), width))| {
                let cell = cells.get(at).map_or("", String::as_str);
                match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                }
            });
        padded.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_keeps_its_cells_apart() {
        let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right)]);
        table.row(vec!["a|b".into(), "1".into()]);
        table.row(vec!["c".into()]);
        assert_eq!(
            table.markdown(),
            ["| NAME | SIZE |", "| --- | --: |", "| a\\|b | 1 |", "| c |  |"]
        );
    }

    #[test]
    fn columns_stand_under_each_other() {
        let mut table =
            Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right), ("NOTE", Align::Left)]);
        table.row(vec!["a".into(), "5.8 GiB".into()]);
        table.row(vec!["longer-name".into(), "12 B".into(), "x".into()]);
        let lines = table.lines(Paint::plain());
        assert_eq!(
            lines,
            ["NAME             SIZE   NOTE", "a             5.8 GiB", "longer-name      12 B   x",]
        );
    }
}
