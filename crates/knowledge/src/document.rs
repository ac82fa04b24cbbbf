//! What a file says, and where in it: the words that extraction, chunks, the store and citations share.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a file says, in the order in which a person reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What it calls itself, if it does.
    pub title: Option<String>,
    /// Its parts in reading order.
    pub parts: Vec<Part>,
    /// What could not be read of it, and why.
    pub gaps: Vec<Gap>,
}

/// A piece of a document that belongs together: never less than a sentence, rarely more than a paragraph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it says.
    pub text: String,
    /// What it is there.
    pub role: Role,
    /// Where it stands.
    pub place: Place,
}

/// What a part is in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A heading; 1 is the highest. It names what follows, up to the next of its level or above.
    Heading(u8),
    /// Running text.
    Paragraph,
    /// One of a list.
    Item,
    /// A row of a table, its cells with what their columns are called.
    Row,
    /// Code, or anything else whose line breaks mean something.
    Code,
}

/// Where a part stands in its file, exactly enough for a person or a program to look it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The part of the file that its own program shows.
    pub inside: Inside,
    /// The bytes that hold the text: of the file itself, or of the archive's entry with [`Inside::Entry`]. Formats
    /// in which text is not stored as a person reads it (PDF, spreadsheets) have none.
    pub bytes: Option<Range<u64>>,
}

/// What a file is divided into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inside {
    /// Nothing: the place is its bytes.
    Whole,
    /// A page, from 1.
    Page(u32),
    /// A slide, from 1.
    Slide(u32),
    /// A paragraph of a text document, from 1, counted through the whole file.
    Paragraph(u32),
    /// A row of a sheet, from 1, as the program counts them; its cells begin at a column such as `B`.
    Row {
        /// The sheet's name.
        sheet: String,
        /// The row, from 1.
        row: u32,
        /// The first column with anything in it.
        column: String,
    },
    /// A file within the file, such as a chapter of a book.
    Entry(String),
    /// From and to, in milliseconds from the beginning (subtitles).
    Time(Range<u64>),
}

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Where, unless it is the whole file.
    pub inside: Inside,
    /// Why.
    pub why: Why,
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is a picture of text, or its letters mean nothing: a tool for optical character recognition may help.
    NeedsOcr,
    /// It asks for a password.
    Encrypted,
    /// It is longer than what is read of one file.
    TooLong,
    /// It is damaged; the words are for a person.
    Damaged(String),
}
