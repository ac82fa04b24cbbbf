//! DOCX: paragraphs in the order of the file, with headings by their styles, items, and rows of tables; then the notes.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::{
    Error,
    archive::Archive,
    collect::Collect,
    rows::{Cell, Columns},
    spelled::Spelled,
    xml::{self, Met},
};
use crate::{
    document::{Inside, Role, Why},
    limits,
};

/// The parts of a document that are read, in this order.
const ENTRIES: [&str; 4] =
    ["word/document.xml", "word/footnotes.xml", "word/endnotes.xml", "word/comments.xml"];

/// Reads a document.
pub(crate) fn read(archive: &mut Archive, collect: &mut Collect) -> Result<(), Error> {
    if let Some(properties) = xml::entry(archive, "docProps/core.xml")? {
        collect.title(&xml::text_of(&properties, "title").unwrap_or_default());
    }
    let levels = levels(xml::entry(archive, "word/styles.xml")?.as_deref().unwrap_or_default());
    let mut reader = Words { levels, ..Words::default() };
    for name in ENTRIES {
        let Some(text) = xml::entry(archive, name)? else { continue };
        let read = xml::walk(&text, |met| reader.met(met, collect));
        match read {
            // What was read until then stays.
            Err(Error::Damaged(why)) if reader.number > 0 => {
                collect.gap(Inside::Whole, Why::Damaged(why))
            }
            other => other?,
        }
        reader.end_all();
    }
    Ok(())
}

/// The levels of the styles that are headings, by their identity. Their names are English in every language of Word.
fn levels(styles: &str) -> HashMap<String, u8> {
    let mut levels = HashMap::new();
    let mut style = None;
    // A damaged list of styles costs the headings and not the text.
    let _ = xml::walk(styles, |met| {
        let Met::Start(element) = met else { return };
        match element.local_name().as_ref() {
            "style" => style = xml::attribute(element, "styleId"),
            "name" => {
                let name = xml::attribute(element, "val").unwrap_or_default().to_lowercase();
                let level = if name == "title" {
                    Some(1)
                } else {
                    name.strip_prefix("heading ").and_then(|level| level.parse().ok())
                };
                if let (Some(style), Some(level @ 1..=9)) = (&style, level) {
                    levels.insert(style.clone(), level);
                }
            }
            "outlineLvl" => {
                if let (Some(style), Some(level)) = (&style, outline(element)) {
                    levels.entry(style.clone()).or_insert(level);
                }
            }
            _ => {}
        }
    });
    levels
}

/// 0 is the highest there, and 9 says that it is running text.
fn outline(element: &BytesStart<'_>) -> Option<u8> {
    let level: u8 = xml::attribute(element, "val")?.parse().ok()?;
    (level < 9).then_some(level + 1)
}

/// A paragraph that is being read.
struct Paragraph {
    number: u32,
    text: String,
    level: Option<u8>,
    is_item: bool,
}

/// A table that is being read.
#[derive(Default)]
struct Table {
    columns: Columns,
    cells: Vec<Cell>,
    text: Option<String>,
    first: u32,
}

#[derive(Default)]
struct Words {
    levels: HashMap<String, u8>,
    number: u32,
    paragraphs: Vec<Paragraph>,
    tables: Vec<Table>,
    is_text: bool,
    /// The element that is passed over with all in it, and how many of its name are open.
    passed: Option<(&'static str, u32)>,
}

/// What stands twice in a file (for old programs) or was moved elsewhere.
const PASSED: &[&str] = &["Fallback", "moveFrom"];

impl Words {
    fn met(&mut self, met: Met<'_>, collect: &mut Collect) {
        match met {
            Met::Start(element) => {
                let name = element.local_name();
                let name: &str = name.as_ref();
                if let Some((passed, open)) = &mut self.passed {
                    *open += u32::from(*passed == name);
                } else if let Some(passed) = PASSED.iter().find(|passed| **passed == name) {
                    self.passed = Some((passed, 1));
                } else {
                    self.start(name, element);
                }
            }
            Met::End(name) => match &mut self.passed {
                Some((passed, open)) => {
                    *open -= u32::from(*passed == name);
                    if *open == 0 {
                        self.passed = None;
                    }
                }
                None => self.end(name, collect),
            },
            Met::Text(text) if self.is_text && self.passed.is_none() => self.add(text),
            Met::Text(_) => {}
        }
    }

    fn add(&mut self, text: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.text.push_str(text);
        }
    }

    fn start(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "p" => {
                self.number += 1;
                let number = self.number;
                self.paragraphs.push(Paragraph {
                    number,
                    text: String::new(),
                    level: None,
                    is_item: false,
                });
            }
            "t" => self.is_text = true,
            "tab" => self.add("\t"),
            "br" | "cr" => self.add("\n"),
            "noBreakHyphen" => self.add("-"),
            "pStyle" => {
                let level = xml::attribute(element, "val")
                    .and_then(|style| self.levels.get(&style).copied());
                if let Some(paragraph) = self.paragraphs.last_mut() {
                    paragraph.level = paragraph.level.or(level);
                }
            }
            "outlineLvl" => {
                if let (Some(paragraph), Some(level)) =
                    (self.paragraphs.last_mut(), outline(element))
                {
                    paragraph.level = Some(level);
                }
            }
            "numPr" => {
                if let Some(paragraph) = self.paragraphs.last_mut() {
                    paragraph.is_item = true;
                }
            }
            "tbl" => self.tables.push(Table::default()),
            "tr" => {
                if let Some(table) = self.tables.last_mut() {
                    table.first = self.number + 1;
                }
            }
            "tc" => {
                if let Some(table) = self.tables.last_mut() {
                    table.text = Some(String::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str, collect: &mut Collect) {
        match name {
            "t" => self.is_text = false,
            "p" => {
                if let Some(paragraph) = self.paragraphs.pop() {
                    self.end_paragraph(&paragraph, collect);
                }
            }
            "tc" => {
                if let Some(table) = self.tables.last_mut()
                    && let Some(text) = table.text.take()
                    && table.cells.len() < limits::CELLS_PER_ROW_MAX
                {
                    let mut cell = Spelled::default();
                    cell.push_virtual(&text);
                    table.cells.push((table.cells.len(), cell));
                }
            }
            "tr" => {
                if let Some(table) = self.tables.last_mut() {
                    let row = table.columns.row(&std::mem::take(&mut table.cells));
                    collect.plain(Role::Row, Inside::Paragraph(table.first), row.text());
                }
            }
            "tbl" => {
                self.tables.pop();
            }
            _ => {}
        }
    }

    fn end_paragraph(&mut self, paragraph: &Paragraph, collect: &mut Collect) {
        let cell = self.tables.last_mut().and_then(|table| table.text.as_mut());
        if let Some(cell) = cell {
            if !cell.is_empty() {
                cell.push('\n');
            }
            return cell.push_str(&paragraph.text);
        }
        let role = match (paragraph.level, paragraph.is_item) {
            (Some(level), _) => Role::Heading(level),
            (None, true) => Role::Item,
            (None, false) => Role::Paragraph,
        };
        if role == Role::Heading(1) && !collect.has_title() {
            collect.title(&paragraph.text);
        }
        collect.plain(role, Inside::Paragraph(paragraph.number), &paragraph.text);
    }

    /// The next entry begins anew, whatever was left open in this one.
    fn end_all(&mut self) {
        self.paragraphs.clear();
        self.tables.clear();
        self.is_text = false;
        self.passed = None;
    }
}
