//! PPTX: the slides in the order in which they are shown, with their notes.

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

/// Reads a presentation.
pub(crate) fn read(archive: &mut Archive, collect: &mut Collect) -> Result<(), Error> {
    if let Some(properties) = xml::entry(archive, "docProps/core.xml")? {
        let title = xml::text_of(&properties, "title").unwrap_or_default();
        // What programs write when nobody has chosen one.
        if !title.starts_with("PowerPoint ") {
            collect.title(&title);
        }
    }
    let slides = slides(archive)?;
    for (number, slide) in (1..).zip(slides.iter().take(limits::ENTRIES_READ_MAX)) {
        if collect.is_full() {
            break;
        }
        let inside = Inside::Slide(number);
        if !collect.wants(&inside) {
            continue;
        }
        read_slide(archive, slide, &inside, collect)?;
        let notes = xml::relations(archive, slide)?;
        for (_, _, notes) in notes.into_iter().filter(|(_, kind, _)| kind.ends_with("/notesSlide"))
        {
            read_slide(archive, &notes, &inside, collect)?;
        }
    }
    Ok(())
}

/// The entries of the slides in their order.
fn slides(archive: &mut Archive) -> Result<Vec<String>, Error> {
    let name = "ppt/presentation.xml";
    let relations = xml::relations(archive, name)?;
    let text = xml::entry(archive, name)?.unwrap_or_default();
    let mut slides = Vec::new();
    xml::walk(&text, |met| {
        if let Met::Start(element) = met
            && element.local_name().as_ref() == "sldId"
        {
            // It has an `id` of its own and, in a namespace, one of the relation.
            let mut attributes = element.attributes();
            let identities = attributes.with_checks(false).flatten();
            let entry = identities
                .filter(|attribute| attribute.key.local_name().as_ref() == "id")
                .find_map(|attribute| {
                    relations.iter().find(|(identity, _, _)| *identity == *attribute.value)
                });
            slides.extend(entry.map(|(_, _, entry)| entry.clone()));
        }
    })?;
    Ok(slides)
}

fn read_slide(
    archive: &mut Archive,
    name: &str,
    inside: &Inside,
    collect: &mut Collect,
) -> Result<(), Error> {
    let Some(text) = xml::entry(archive, name)? else {
        collect.gap(inside.clone(), Why::Damaged(format!("{name} is missing")));
        return Ok(());
    };
    let mut slide = Slide {
        inside,
        shape: Shape::Other,
        text: String::new(),
        is_text: false,
        row: None,
        columns: Columns::default(),
    };
    match xml::walk(&text, |met| slide.met(met, collect)) {
        Err(Error::Damaged(why)) => {
            collect.gap(inside.clone(), Why::Damaged(why));
            Ok(())
        }
        other => other,
    }
}

/// What a shape is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Title,
    /// Number, date and footer, which every slide has.
    Frame,
    Other,
}

struct Slide<'a> {
    inside: &'a Inside,
    shape: Shape,
    text: String,
    is_text: bool,
    /// The cells of a table's row so far, while in one.
    row: Option<Vec<Cell>>,
    columns: Columns,
}

impl Slide<'_> {
    fn met(&mut self, met: Met<'_>, collect: &mut Collect) {
        match met {
            Met::Start(element) => match element.local_name().as_ref() {
                "sp" => self.shape = Shape::Other,
                "ph" => {
                    self.shape = match xml::attribute(element, "type").as_deref() {
                        Some("title" | "ctrTitle") => Shape::Title,
                        Some("sldNum" | "dt" | "ftr" | "hdr" | "sldImg") => Shape::Frame,
                        Some(_) | None => Shape::Other,
                    };
                }
                "t" => self.is_text = true,
                "br" => self.text.push('\n'),
                "tbl" => self.columns = Columns::default(),
                "tr" => self.row = Some(Vec::new()),
                _ => {}
            },
            Met::End(name) => self.end(name, collect),
            Met::Text(words) if self.is_text => self.text.push_str(words),
            Met::Text(_) => {}
        }
    }

    fn end(&mut self, name: &str, collect: &mut Collect) {
        match name {
            "t" => self.is_text = false,
            "tc" => {
                let text = std::mem::take(&mut self.text);
                if let Some(row) = &mut self.row
                    && row.len() < limits::CELLS_PER_ROW_MAX
                {
                    let mut cell = Spelled::default();
                    cell.push_virtual(&text);
                    row.push((row.len(), cell));
                }
            }
            "tr" => {
                if let Some(cells) = self.row.take() {
                    let row = self.columns.row(&cells);
                    collect.plain(Role::Row, self.inside.clone(), row.text());
                }
            }
            "p" if self.row.is_some() => self.text.push('\n'),
            // The lines of a title are one heading.
            "p" if self.shape == Shape::Title => self.text.push(' '),
            "p" => {
                let text = std::mem::take(&mut self.text);
                if self.shape == Shape::Other {
                    collect.plain(Role::Paragraph, self.inside.clone(), &text);
                }
            }
            "sp" => {
                let text = std::mem::take(&mut self.text);
                if self.shape == Shape::Title {
                    collect.title(&text);
                    collect.plain(Role::Heading(1), self.inside.clone(), &text);
                }
                self.shape = Shape::Other;
            }
            _ => {}
        }
    }
}
