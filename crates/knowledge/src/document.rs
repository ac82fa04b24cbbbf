//! What a file says, and where in it: the words that extraction, chunks, the store and citations share.

use std::{fmt, ops::Range};

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

/// As a person says it: `page 3`, `row 12 of sheet Costs`, `bytes 10 to 24`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inside)?;
        match (&self.inside, &self.bytes) {
            (Inside::Whole, Some(bytes)) => write!(f, "bytes {} to {}", bytes.start, bytes.end),
            (Inside::Entry(_), Some(bytes)) => {
                write!(f, ", bytes {} to {}", bytes.start, bytes.end)
            }
            _ => Ok(()),
        }
    }
}

/// As a person says it; the whole file is nothing to say.
impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inside::Whole => Ok(()),
            Inside::Page(page) => write!(f, "page {page}"),
            Inside::Slide(slide) => write!(f, "slide {slide}"),
            Inside::Paragraph(paragraph) => write!(f, "paragraph {paragraph}"),
            Inside::Row { sheet, row, column: _ } => write!(f, "row {row} of sheet {sheet}"),
            Inside::Entry(entry) => write!(f, "{entry}"),
            Inside::Time(range) => write!(f, "{} to {}", Clock(range.start), Clock(range.end)),
        }
    }
}

/// As a person says it: `page 3 needs OCR`.
impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inside != Inside::Whole {
            write!(f, "{} ", self.inside)?;
        }
        match &self.why {
            Why::NeedsOcr => write!(f, "needs OCR"),
            Why::Encrypted => write!(f, "asks for a password"),
            Why::TooLong => write!(f, "is longer than what is read of one file"),
            Why::Damaged(words) => write!(f, "is damaged: {words}"),
        }
    }
}

/// A moment of a film, in milliseconds.
struct Clock(u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(inside: Inside, bytes: Option<Range<u64>>, expected: &str) {
        assert_eq!(Place { inside, bytes }.to_string(), expected);
    }

    #[test]
    fn places_are_said_as_people_say_them() {
        check(Inside::Whole, Some(10..24), "bytes 10 to 24");
        check(Inside::Whole, None, "");
        check(Inside::Page(3), None, "page 3");
        let row = Inside::Row { sheet: "Costs".to_owned(), row: 12, column: "B".to_owned() };
        check(row, None, "row 12 of sheet Costs");
        check(Inside::Entry("c1.xhtml".to_owned()), Some(1..2), "c1.xhtml, bytes 1 to 2");
        let gap = |inside, why| Gap { inside, why }.to_string();
        assert_eq!(gap(Inside::Page(3), Why::NeedsOcr), "page 3 needs OCR");
        assert_eq!(gap(Inside::Whole, Why::TooLong), "is longer than what is read of one file");
        check(Inside::Time(61_000..3_661_500), None, "0:01:01 to 1:01:01");
    }
}
