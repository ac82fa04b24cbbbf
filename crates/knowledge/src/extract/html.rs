//! HTML as a person reads it: blocks of text with the bytes that hold them, the main part of a page, no script, and
//! nothing that the page hides.
//!
//! It is no browser: a page is a sequence of tags, and only those elements are remembered that change what text inside
//! them means. So neither depth nor disorder costs anything.

mod tags;

use std::ops::Range;

use self::tags::{Tag, Token};
use super::{
    collect::Collect,
    rows::{Cell, Columns},
    spelled::{Source, Spelled},
};
use crate::{
    document::{Inside, Role},
    limits,
};

/// Elements whose text is not the page's.
const SKIPPED: &[&str] = &[
    "script", "style", "noscript", "template", "svg", "iframe", "object", "select", "button",
    "datalist", "canvas", "audio", "video",
];

/// Elements around what a page has besides what it is about.
const AROUND: &[&str] = &["nav", "footer", "aside", "header", "form", "menu"];

/// Elements that hold what the page is about.
const MAIN: &[&str] = &["main", "article"];

/// Elements that begin on a line of their own.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "menu",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
];

/// Elements whose end need not be written: the next of the same name ends them.
const OPEN_ENDED: &[&str] = &["p", "li", "td", "th", "tr", "dd", "dt", "option"];

/// Text of a cell beyond which a table is a page's layout.
const CELL_BYTES_MAX: usize = 2_000;

/// Reads a page.
pub(crate) fn read(source: &Source<'_>, inside: &Inside, collect: &mut Collect) {
    let mut page = Page::default();
    for token in tags::Tokens::new(source.text) {
        match token {
            Token::Text(range) => page.text(source.text, range),
            Token::Raw(range) => page.raw(source.text, range),
            Token::Start(tag) => page.start(&tag),
            Token::End { name, .. } => page.end(&name),
        }
    }
    page.flush();
    let heading = page.blocks.iter().find(|block| matches!(block.role, Role::Heading(_)));
    let heading = heading.map(|block| block.text.text().to_owned());
    collect.title(&page.title);
    collect.title(&heading.unwrap_or_default());
    let size = |blocks: &mut dyn Iterator<Item = &Block>| {
        blocks.map(|block| block.text.text().len()).sum::<usize>()
    };
    let all = size(&mut page.blocks.iter());
    let main = size(&mut page.blocks.iter().filter(|block| block.is_main && !block.is_around));
    let has_main = main > 0 && main >= all / limits::MAIN_SHARE_DIVISOR;
    let beside = size(&mut page.blocks.iter().filter(|block| !block.is_around));
    for block in &page.blocks {
        let is_wanted = match (has_main, beside > 0) {
            (true, _) => block.is_main && !block.is_around,
            (false, true) => !block.is_around,
            (false, false) => true,
        };
        if is_wanted {
            collect.part(source, block.role, inside.clone(), &block.text);
        }
    }
}

/// A piece of the page.
struct Block {
    role: Role,
    text: Spelled,
    is_main: bool,
    is_around: bool,
}

/// An element that changes what is inside of it.
struct Open {
    name: String,
    is_hidden: bool,
    is_main: bool,
    is_around: bool,
    is_kept: bool,
    level: Option<u8>,
}

/// A table that is being read.
#[derive(Default)]
struct Table {
    columns: Columns,
    cells: Vec<Cell>,
    is_in_cell: bool,
    is_all_names: bool,
}

#[derive(Default)]
struct Page {
    title: String,
    blocks: Vec<Block>,
    open: Vec<Open>,
    tables: Vec<Table>,
    text: Spelled,
    is_item: bool,
    is_title: bool,
    /// The outermost open element that hides what is in it.
    hidden_at: Option<usize>,
}

impl Page {
    fn is_hidden(&self) -> bool {
        self.hidden_at.is_some()
    }

    fn start(&mut self, tag: &Tag<'_>) {
        let name = tag.name.as_str();
        if OPEN_ENDED.contains(&name) && self.open.last().is_some_and(|open| open.name == name) {
            self.close(self.open.len() - 1);
        }
        if self.is_hidden() {
            // Only what has the same name is counted, so that its end is told from the end of the hidden one.
            if self.open.last().is_some_and(|open| open.name == name) && !tag.is_empty {
                self.push(Open::of(tag));
            }
            return;
        }
        self.is_title = name == "title";
        if name == "br" {
            self.text.push_unit("\n", tag.range.clone());
        } else if BLOCKS.contains(&name) {
            self.boundary(name);
        }
        let open = Open::of(tag);
        // Elements of the same name within one that means something are counted, so that its own end is known.
        let is_within_its_like = self.open.iter().any(|open| open.name == name);
        if !tag.is_empty && (open.means_something() || is_within_its_like) {
            self.push(open);
        }
    }

    fn push(&mut self, open: Open) {
        if self.open.len() < limits::DEPTH_MAX {
            if open.is_hidden {
                self.hidden_at.get_or_insert(self.open.len());
            }
            self.open.push(open);
        }
    }

    fn close(&mut self, index: usize) {
        self.open.truncate(index);
        self.hidden_at = self.hidden_at.filter(|hidden| *hidden < index);
    }

    fn end(&mut self, name: &str) {
        if BLOCKS.contains(&name) && !self.is_hidden() {
            self.end_boundary(name);
        }
        self.is_title = false;
        if let Some(index) = self.open.iter().rposition(|open| open.name == name) {
            self.close(index);
        }
    }

    /// A block begins: what came before it is complete.
    fn boundary(&mut self, name: &str) {
        match name {
            "table" => {
                // A table within a cell: the outer one is a layout.
                self.end_cell();
                self.end_row(true);
                self.flush();
                if self.tables.len() < limits::DEPTH_MAX {
                    self.tables.push(Table::default());
                }
            }
            "tr" => {
                self.end_cell();
                self.end_row(false);
            }
            "td" | "th" if !self.tables.is_empty() => {
                self.end_cell();
                if let Some(table) = self.tables.last_mut() {
                    table.is_in_cell = true;
                    table.is_all_names =
                        name == "th" && (table.cells.is_empty() || table.is_all_names);
                }
            }
            _ if self.is_in_cell() => self.text.push_virtual("\n"),
            "li" => {
                self.flush();
                self.is_item = true;
            }
            // A paragraph in an item is the item.
            "p" | "div" if self.text.is_empty() => {}
            _ => self.flush(),
        }
    }

    fn end_boundary(&mut self, name: &str) {
        match name {
            "table" => {
                self.end_cell();
                self.end_row(false);
                self.tables.pop();
                self.text = Spelled::default();
            }
            "tr" => {
                self.end_cell();
                self.end_row(false);
            }
            "td" | "th" => self.end_cell(),
            _ if self.is_in_cell() => self.text.push_virtual("\n"),
            _ => {
                self.flush();
                self.is_item = false;
            }
        }
    }

    fn is_in_cell(&self) -> bool {
        self.tables.last().is_some_and(|table| table.is_in_cell)
    }

    fn end_cell(&mut self) {
        if let Some(table) = self.tables.last_mut()
            && std::mem::take(&mut table.is_in_cell)
        {
            let column = table.cells.len();
            table.cells.push((column, std::mem::take(&mut self.text)));
        }
    }

    fn end_row(&mut self, is_layout: bool) {
        let Some(table) = self.tables.last_mut() else { return };
        let cells = std::mem::take(&mut table.cells);
        if is_layout || cells.iter().any(|(_, cell)| cell.text().len() > CELL_BYTES_MAX) {
            for (_, cell) in cells {
                self.block(Role::Paragraph, cell);
            }
            return;
        }
        if std::mem::take(&mut table.is_all_names) && cells.len() > 1 {
            let row = Columns::default().row(&cells);
            table.columns = Columns::named(&cells);
            return self.block(Role::Row, row);
        }
        let row = table.columns.row(&cells);
        self.block(Role::Row, row);
    }

    fn flush(&mut self) {
        if self.is_in_cell() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        if text.text().trim().is_empty() {
            return;
        }
        let level = self.open.iter().rev().find_map(|open| open.level);
        let role = match level {
            Some(level) => Role::Heading(level),
            None if self.open.iter().any(|open| open.is_kept) => Role::Code,
            None if self.is_item => Role::Item,
            None => Role::Paragraph,
        };
        self.is_item = false;
        self.block(role, text);
    }

    fn block(&mut self, role: Role, text: Spelled) {
        if text.text().trim().is_empty() {
            return;
        }
        let is_main = self.open.iter().any(|open| open.is_main);
        // The header and footer of an article are the article's; what stands around it within is not.
        let around = self.open.iter().rposition(|open| open.is_around);
        let main = self.open.iter().rposition(|open| open.is_main);
        let is_around = match (around, main) {
            (Some(around), Some(main)) => around > main && self.open[around].name != "header",
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.blocks.push(Block { role, text, is_main, is_around });
    }

    /// What stands between two tags.
    fn text(&mut self, text: &str, range: Range<usize>) {
        if self.is_title {
            let mut title = Spelled::default();
            spell(text, range, true, &mut title);
            self.title.push_str(title.text());
            return;
        }
        if self.is_hidden() {
            return;
        }
        let is_kept = self.open.iter().any(|open| open.is_kept);
        spell(text, range, is_kept, &mut self.text);
    }

    /// CDATA: text without entities.
    fn raw(&mut self, text: &str, range: Range<usize>) {
        if !self.is_hidden() && !self.is_title {
            self.text.push_copy(&text[range.clone()], range.start);
        }
    }
}

impl Open {
    fn of(tag: &Tag<'_>) -> Self {
        let name = tag.name.clone();
        let is_one_of = |list: &[&str]| list.contains(&name.as_str());
        let role = tag.attribute("role").unwrap_or_default();
        let style = tag.attribute("style").unwrap_or_default().to_lowercase().replace(' ', "");
        let level = name.strip_prefix('h').and_then(|level| level.parse().ok());
        Self {
            is_hidden: is_one_of(SKIPPED)
                || tag.attribute("hidden").is_some()
                || style.contains("display:none")
                || style.contains("visibility:hidden"),
            is_main: is_one_of(MAIN) || role == "main",
            is_around: is_one_of(AROUND)
                || ["navigation", "contentinfo", "banner", "search"].contains(&role),
            is_kept: name == "pre" || name == "textarea",
            level: level.filter(|level| (1..=6).contains(level)),
            name,
        }
    }

    fn means_something(&self) -> bool {
        self.is_hidden || self.is_main || self.is_around || self.is_kept || self.level.is_some()
    }
}

/// Adds text with its entities resolved, and with its white space as it is or as a browser shows it.
fn spell(text: &str, range: Range<usize>, is_kept: bool, into: &mut Spelled) {
    let mut at = range.start;
    while at < range.end {
        let rest = &text[at..range.end];
        if rest.starts_with('&')
            && let Some((value, length)) = tags::entity(rest)
        {
            // A space that does not break is a space to whoever searches.
            let value = if value == "\u{a0}" { " " } else { &value };
            into.push_unit(value, at..at + length);
            at += length;
            continue;
        }
        if !is_kept && rest.starts_with(char::is_whitespace) {
            let length = rest.len() - rest.trim_start().len();
            if !into.is_empty() && !into.text().ends_with([' ', '\n']) {
                into.push_unit(" ", at..at + length);
            }
            at += length;
            continue;
        }
        let stop = |character: char| character == '&' || (!is_kept && character.is_whitespace());
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let length = rest[first..].find(stop).map_or(rest.len(), |length| length + first);
        into.push_copy(&rest[..length], at);
        at += length;
    }
}
