//! Markdown: blocks without their marks, each character with its place.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{
    collect::Collect,
    html,
    rows::{Cell, Columns},
    spelled::{Map, Source, Spelled},
};
use crate::document::{Inside, Role};

/// Reads a text.
pub(crate) fn read(source: &Source<'_>, collect: &mut Collect) {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut reader = Blocks::default();
    for (event, range) in Parser::new_ext(source.text, options).into_offset_iter() {
        if collect.is_full() {
            return;
        }
        reader.met(source, &event, range, collect);
    }
    reader.flush(source, collect);
}

#[derive(Default)]
struct Blocks {
    text: Spelled,
    heading: Option<u8>,
    items: usize,
    is_item: bool,
    is_code: bool,
    is_metadata: bool,
    columns: Columns,
    cells: Option<Vec<Cell>>,
}

impl Blocks {
    fn met(
        &mut self,
        source: &Source<'_>,
        event: &Event<'_>,
        range: Range<usize>,
        collect: &mut Collect,
    ) {
        match event {
            Event::Start(Tag::HtmlBlock) => {
                self.flush(source, collect);
                if !self.is_metadata {
                    read_html(source, range, collect);
                }
            }
            Event::Start(tag) => self.start(source, tag, collect),
            Event::End(tag) => self.end(source, *tag, collect),
            Event::Text(text) => self.add(source, text, range),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.within(source, text, range)
            }
            // Blocks of HTML are read as a whole; within a line it is marks.
            Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => {}
            Event::SoftBreak | Event::HardBreak => self.text.push_unit("\n", range),
            Event::Rule => self.flush(source, collect),
        }
    }

    fn start(&mut self, source: &Source<'_>, tag: &Tag<'_>, collect: &mut Collect) {
        match tag {
            Tag::Heading { level, .. } => {
                self.flush(source, collect);
                self.heading = Some(number(*level));
            }
            Tag::CodeBlock(_) => {
                self.flush(source, collect);
                self.is_code = true;
            }
            Tag::MetadataBlock(_) => self.is_metadata = true,
            Tag::Item => {
                self.flush(source, collect);
                self.items += 1;
                self.is_item = true;
            }
            Tag::Table(_) => {
                self.flush(source, collect);
                self.columns = Columns::default();
            }
            Tag::TableHead | Tag::TableRow => self.cells = Some(Vec::new()),
            Tag::Paragraph if self.text.is_empty() => {}
            Tag::Paragraph | Tag::BlockQuote(_) | Tag::List(_) | Tag::FootnoteDefinition(_) => {
                self.flush(source, collect);
            }
            Tag::HtmlBlock
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::TableCell
            | Tag::Emphasis
            | Tag::Strong
            | Tag::Strikethrough
            | Tag::Superscript
            | Tag::Subscript
            | Tag::Link { .. }
            | Tag::Image { .. } => {}
        }
    }

    fn end(&mut self, source: &Source<'_>, tag: TagEnd, collect: &mut Collect) {
        match tag {
            TagEnd::Heading(_) => {
                if self.heading == Some(1) {
                    collect.title(self.text.text());
                }
                self.flush(source, collect);
                self.heading = None;
            }
            TagEnd::CodeBlock => {
                self.flush(source, collect);
                self.is_code = false;
            }
            TagEnd::MetadataBlock(_) => {
                let title = self.text.text().lines().find_map(|line| line.strip_prefix("title:"));
                collect.title(title.unwrap_or_default().trim().trim_matches(['"', '\'']));
                self.text = Spelled::default();
                self.is_metadata = false;
            }
            TagEnd::Item => {
                self.flush(source, collect);
                self.items = self.items.saturating_sub(1);
                self.is_item = false;
            }
            TagEnd::TableCell => {
                let text = std::mem::take(&mut self.text);
                if let Some(cells) = &mut self.cells {
                    cells.push((cells.len(), text));
                }
            }
            TagEnd::TableHead => {
                let cells = self.cells.take().unwrap_or_default();
                let row = Columns::default().row(&cells);
                self.columns = Columns::named(&cells);
                collect.part(source, Role::Row, Inside::Whole, &row);
            }
            TagEnd::TableRow => {
                let row = self.columns.row(&self.cells.take().unwrap_or_default());
                collect.part(source, Role::Row, Inside::Whole, &row);
            }
            TagEnd::Paragraph
            | TagEnd::BlockQuote(_)
            | TagEnd::List(_)
            | TagEnd::HtmlBlock
            | TagEnd::FootnoteDefinition => {
                self.flush(source, collect);
            }
            TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Table
            | TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::Link
            | TagEnd::Image => {}
        }
    }

    /// Text is as it stands there, unless an entity or an escape stands for it.
    fn add(&mut self, source: &Source<'_>, text: &str, range: Range<usize>) {
        if source.text.get(range.clone()) == Some(text) {
            self.text.push_copy(text, range.start);
        } else {
            self.within(source, text, range);
        }
    }

    /// Text within marks, such as the backticks of code.
    fn within(&mut self, source: &Source<'_>, text: &str, range: Range<usize>) {
        match source.text[range.clone()].find(text) {
            Some(at) if !text.is_empty() => self.text.push_copy(text, range.start + at),
            _ => self.text.push_unit(text, range),
        }
    }

    fn flush(&mut self, source: &Source<'_>, collect: &mut Collect) {
        if self.cells.is_some() || self.is_metadata {
            return;
        }
        let text = std::mem::take(&mut self.text);
        if text.text().trim().is_empty() {
            return;
        }
        let role = match self.heading {
            Some(level) => Role::Heading(level),
            None if self.is_code => Role::Code,
            None if self.is_item && self.items > 0 => Role::Item,
            None => Role::Paragraph,
        };
        self.is_item = false;
        collect.part(source, role, Inside::Whole, &text);
    }
}

/// A block of HTML in the text, with places in the whole.
fn read_html(source: &Source<'_>, range: Range<usize>, collect: &mut Collect) {
    let mut whole = Map::default();
    whole.push_copy(range.len(), range.start);
    let layers: Vec<&Map> = std::iter::once(&whole).chain(source.layers.iter().copied()).collect();
    let block = Source { text: &source.text[range], layers: &layers };
    html::read(&block, &Inside::Whole, collect);
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
