//! Values between separators, each with its place: RFC 4180, and what spreadsheets make of it.

use std::ops::Range;

use super::{
    collect::Collect,
    rows::{Cell, Columns},
    spelled::{Source, Spelled},
};
use crate::{
    document::{Inside, Role},
    limits,
};

/// What may separate values, the likeliest first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Reads a table.
pub(crate) fn read(source: &Source<'_>, extension: &str, collect: &mut Collect) {
    let separator = separator(source.text, extension);
    let mut columns = Columns::default();
    let mut at = 0;
    while at < source.text.len() && !collect.is_full() {
        let (cells, end) = record(source.text, at, separator);
        at = end;
        let row = columns.row(&cells);
        collect.part(source, Role::Row, Inside::Whole, &row);
    }
}

/// The separator that divides the first line into most values.
fn separator(text: &str, extension: &str) -> u8 {
    if ["tsv", "tab"].iter().any(|tab| extension.eq_ignore_ascii_case(tab)) {
        return b'\t';
    }
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let line = &line[..line.floor_char_boundary(limits::HEAD_BYTES)];
    let count = |separator: u8| record(line, 0, separator).0.len();
    SEPARATORS.into_iter().rev().max_by_key(|separator| count(*separator)).unwrap_or(b',')
}

/// The values of one record and where the next begins. Separators are ASCII, so bytes can be compared.
fn record(text: &str, start: usize, separator: u8) -> (Vec<Cell>, usize) {
    let bytes = text.as_bytes();
    let mut cells = Vec::new();
    let mut at = start;
    loop {
        let (value, end) = value(text, at, separator);
        if cells.len() < limits::CELLS_PER_ROW_MAX {
            cells.push((cells.len(), value));
        }
        match bytes.get(end) {
            Some(byte) if *byte == separator => at = end + 1,
            Some(b'\r') if bytes.get(end + 1) == Some(&b'\n') => return (cells, end + 2),
            Some(_) => return (cells, end + 1),
            None => return (cells, end),
        }
    }
}

fn value(text: &str, start: usize, separator: u8) -> (Spelled, usize) {
    let bytes = text.as_bytes();
    let ends = |byte: u8| byte == separator || byte == b'\n' || byte == b'\r';
    let mut value = Spelled::default();
    let mut add = |range: Range<usize>| value.push_copy(&text[range.clone()], range.start);
    let mut at = start;
    if bytes.get(start) == Some(&b'"') {
        at += 1;
        let mut from = at;
        while let Some(byte) = bytes.get(at) {
            if *byte != b'"' {
                at += 1;
            } else if bytes.get(at + 1) == Some(&b'"') {
                // Two quotes are one: the first is taken and the second passed over.
                add(from..at + 1);
                at += 2;
                from = at;
            } else {
                break;
            }
        }
        add(from..at);
        // What follows the closing quote, which should be nothing, belongs to the value.
        at = (at + 1).min(bytes.len());
    }
    let length = bytes[at..].iter().position(|byte| ends(*byte)).unwrap_or(bytes.len() - at);
    add(at..at + length);
    (value, at + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str, separator: u8) -> Vec<Vec<String>> {
        let mut records = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let (cells, end) = record(text, at, separator);
            assert!(end > at, "it moves on");
            at = end;
            records.push(cells.iter().map(|(_, value)| value.text().to_owned()).collect());
        }
        records
    }

    #[test]
    fn quotes_line_ends_and_separators() {
        let text = "a,\"b, \"\"c\"\"\nd\",e\r\n1,,\n\"open, to the end";
        assert_eq!(
            values(text, b','),
            [vec!["a", "b, \"c\"\nd", "e"], vec!["1", "", ""], vec!["open, to the end"]]
        );
        assert_eq!(separator("姓名;城市;住址,区\n", "csv"), b';');
        assert_eq!(separator("a,b;c\n", "csv"), b',');
        assert_eq!(separator("a\tb,c\td\n", "csv"), b'\t');
        assert_eq!(separator("a,b", "TSV"), b'\t');
    }
}
