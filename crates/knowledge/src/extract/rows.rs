//! Rows of a table as text that says what each cell is: `column: value | column: value`.

use super::spelled::Spelled;
use crate::limits;

/// Between two cells.
const BETWEEN: &str = " | ";

/// The names of columns, from the first row if that is what it is.
#[derive(Default)]
pub(crate) struct Columns {
    names: Vec<(usize, String)>,
    is_known: bool,
}

/// A cell: its column, from 0, and what it says.
pub(crate) type Cell = (usize, Spelled);

impl Columns {
    /// Names that the format itself says are ones.
    pub(crate) fn named(cells: &[Cell]) -> Self {
        Self { names: names(cells), is_known: true }
    }

    /// A row as text. The first with two cells or more decides whether there are names: all of its cells are words.
    pub(crate) fn row(&mut self, cells: &[Cell]) -> Spelled {
        let is_first = !self.is_known && cells.len() > 1;
        let mut row = Spelled::default();
        for (column, value) in cells.iter().take(limits::CELLS_PER_ROW_MAX) {
            let value = value.trimmed();
            if value.is_empty() {
                continue;
            }
            if !row.is_empty() {
                row.push_virtual(BETWEEN);
            }
            let name = self.names.binary_search_by_key(column, |(column, _)| *column);
            if let Ok(index) = name {
                row.push_virtual(&self.names[index].1);
                row.push_virtual(": ");
            }
            row.append(&value);
        }
        if is_first {
            self.is_known = true;
            if cells.iter().all(|(_, value)| is_word(value.text())) {
                self.names = names(cells);
            }
        }
        row
    }
}

fn names(cells: &[Cell]) -> Vec<(usize, String)> {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let named = cells.iter().take(limits::CELLS_PER_ROW_MAX).map(|(column, value)| {
        // A name is repeated in every row, so it is short.
        (*column, one_line(value.text()).chars().take(100).collect::<String>())
    });
    let mut names: Vec<_> = named.filter(|(_, name)| !name.is_empty()).collect();
    names.sort_by_key(|(column, _)| *column);
    names
}

/// Whether a cell may be the name of a column: an amount, a date or a number is none, a year may be.
fn is_word(text: &str) -> bool {
    let text = text.trim();
    let is_year =
        text.len() == 4 && text.parse::<u32>().is_ok_and(|year| (1900..2100).contains(&year));
    text.is_empty() || is_year || text.chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[&str]) -> Vec<Cell> {
        let cell = |(column, text): (usize, &&str)| {
            let mut value = Spelled::default();
            value.push_virtual(text);
            (column, value)
        };
        values.iter().enumerate().map(cell).collect()
    }

    #[test]
    fn the_first_row_of_words_names_the_columns() {
        let mut columns = Columns::default();
        assert_eq!(columns.row(&cells(&["Sales of 2024"])).text(), "Sales of 2024");
        assert_eq!(columns.row(&cells(&["city", "2023", ""])).text(), "city | 2023");
        assert_eq!(
            columns.row(&cells(&["Paris", " 12 ", "x"])).text(),
            "city: Paris | 2023: 12 | x"
        );
        assert_eq!(columns.row(&cells(&["", "7"])).text(), "2023: 7");
        let mut numbers = Columns::default();
        assert_eq!(numbers.row(&cells(&["12.5", "a"])).text(), "12.5 | a");
        assert_eq!(numbers.row(&cells(&["b", "c"])).text(), "b | c");
    }
}
