//! XLSX: rows with what their columns are called, as a stream of cells, so that a sheet may claim what size it likes.

use std::{
    fs::File,
    io::{BufReader, Seek, SeekFrom},
};

use calamine::{DataRef, Reader, Xlsx, XlsxError};

use super::{
    Error,
    archive::Archive,
    collect::Collect,
    rows::{Cell, Columns},
    spelled::Spelled,
};
use crate::{
    document::{Inside, Role, Why},
    limits,
};

/// Reads a workbook.
pub(crate) fn read(archive: &mut Archive, file: File, collect: &mut Collect) -> Result<(), Error> {
    for name in archive.names() {
        if name.starts_with("xl/worksheets/") {
            archive.check(&name, limits::SHEET_BYTES_MAX)?;
        } else if name.ends_with(".xml") || name.ends_with(".rels") {
            archive.check(&name, limits::ENTRY_BYTES_MAX)?;
        }
    }
    let mut file = file;
    file.seek(SeekFrom::Start(0)).map_err(|error| Error::system("read the file", &error))?;
    let mut workbook = Xlsx::new(BufReader::new(file)).map_err(|error| damaged(&error))?;
    for sheet in workbook.sheet_names().into_iter().take(limits::ENTRIES_READ_MAX) {
        if collect.is_full() {
            break;
        }
        if let Err(error) = read_sheet(&mut workbook, &sheet, collect) {
            let inside = Inside::Row { sheet, row: 1, column: "A".to_owned() };
            collect.gap(inside, Why::Damaged(words(&error)));
        }
    }
    Ok(())
}

fn read_sheet(
    workbook: &mut Xlsx<BufReader<File>>,
    sheet: &str,
    collect: &mut Collect,
) -> Result<(), XlsxError> {
    let mut cells = match workbook.worksheet_cells_reader(sheet) {
        // A sheet that is a chart has no cells.
        Err(XlsxError::NotAWorksheet(_)) => return Ok(()),
        other => other?,
    };
    let mut rows = Rows { sheet, columns: Columns::default(), row: 0, cells: Vec::new() };
    while let Some(cell) = cells.next_cell()? {
        let (row, column) = cell.get_position();
        if row != rows.row {
            rows.end(collect);
            if collect.is_full() {
                return Ok(());
            }
            rows.row = row;
        }
        let text = text(cell.get_value());
        if !text.trim().is_empty() && rows.cells.len() < limits::CELLS_PER_ROW_MAX {
            let mut value = Spelled::default();
            value.push_virtual(&text[..text.floor_char_boundary(limits::CELL_TEXT_BYTES_MAX)]);
            rows.cells.push((column as usize, value));
        }
    }
    rows.end(collect);
    Ok(())
}

struct Rows<'a> {
    sheet: &'a str,
    columns: Columns,
    /// From 0.
    row: u32,
    cells: Vec<Cell>,
}

impl Rows<'_> {
    fn end(&mut self, collect: &mut Collect) {
        let cells = std::mem::take(&mut self.cells);
        let Some(first) = cells.iter().map(|(column, _)| *column).min() else { return };
        let row = self.columns.row(&cells);
        let inside = Inside::Row {
            sheet: self.sheet.to_owned(),
            row: self.row.saturating_add(1),
            column: column_name(first),
        };
        collect.plain(Role::Row, inside, row.text());
    }
}

/// A, B, … Z, AA, … as spreadsheets count columns; the first is 0.
fn column_name(column: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'A' + (rest % 26) as u8));
        rest /= 26;
    }
    letters.iter().rev().collect()
}

/// What a cell says, as a person reads it.
fn text(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            text.clone()
        }
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::Bool(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::Error(error) => error.to_string(),
        DataRef::DateTime(time) => {
            let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
            if time.is_duration() {
                let seconds = (time.as_f64() * 86_400.0).round().max(0.0) as u64;
                return format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
            }
            if (hour, minute, second) == (0, 0, 0) {
                return format!("{year}-{month:02}-{day:02}");
            }
            if time.as_f64() < 1.0 {
                return format!("{hour:02}:{minute:02}:{second:02}");
            }
            format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        }
    }
}

fn words(error: &XlsxError) -> String {
    error.to_string().chars().take(limits::DAMAGE_CHARACTERS_MAX).collect()
}

fn damaged(error: &XlsxError) -> Error {
    if matches!(error, XlsxError::Password) {
        return Error::Encrypted;
    }
    Error::Damaged(words(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_called_as_spreadsheets_do() {
        let names: Vec<String> = [0, 25, 26, 701, 702, 16_383].map(column_name).to_vec();
        assert_eq!(names, ["A", "Z", "AA", "ZZ", "AAA", "XFD"]);
    }
}
