//! Pages that are pictures of text, read by a tool that the person has configured. The caller runs it: this says which
//! pages need it and puts what it reads in its place.

use std::path::Path;

use super::pdf;
use crate::document::{Document, Gap, Inside, Part, Place, Role, Why};

/// A tool for optical character recognition.
pub trait Ocr {
    /// What stands on a page, from 1, of this PDF.
    ///
    /// # Errors
    ///
    /// The tool's own words, for a person.
    fn page(&mut self, pdf: &Path, page: u32) -> Result<String, String>;
}

impl<F: FnMut(&Path, u32) -> Result<String, String>> Ocr for F {
    fn page(&mut self, pdf: &Path, page: u32) -> Result<String, String> {
        self(pdf, page)
    }
}

/// Has the pages read that need it. Those that cannot be read, or come out as garbage again, stay gaps; what the tool said
/// of the first that failed is the answer. A quote of such a page cannot be located, since the file does not have its text.
pub fn fill_gaps(document: &mut Document, pdf: &Path, ocr: &mut impl Ocr) -> Option<String> {
    let mut complaint = None;
    let mut read = Vec::new();
    document.gaps.retain(|gap| {
        let Gap { inside: Inside::Page(page), why: Why::NeedsOcr } = gap else { return true };
        match ocr.page(pdf, *page) {
            Ok(text) if pdf::is_text(&text) => {
                read.push((*page, text));
                false
            }
            Ok(_) => true,
            Err(words) => {
                complaint.get_or_insert(words);
                true
            }
        }
    });
    for (page, text) in read {
        let parts: Vec<Part> = pdf::paragraphs(&text)
            .map(|text| Part {
                text,
                role: Role::Paragraph,
                place: Place { inside: Inside::Page(page), bytes: None },
            })
            .collect();
        let at = document.parts.partition_point(|part| match part.place.inside {
            Inside::Page(before) => before <= page,
            Inside::Whole
            | Inside::Slide(_)
            | Inside::Paragraph(_)
            | Inside::Row { .. }
            | Inside::Entry(_)
            | Inside::Time(_) => true,
        });
        document.parts.splice(at..at, parts);
    }
    complaint
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(page: u32, text: &str) -> Part {
        let place = Place { inside: Inside::Page(page), bytes: None };
        Part { text: text.to_owned(), role: Role::Paragraph, place }
    }

    #[test]
    fn pages_are_read_and_put_in_their_place() {
        let gap = |page| Gap { inside: Inside::Page(page), why: Why::NeedsOcr };
        let mut document = Document {
            title: None,
            parts: vec![part(1, "first"), part(3, "third")],
            gaps: vec![gap(2), gap(4), gap(5), Gap { inside: Inside::Whole, why: Why::TooLong }],
        };
        let mut asked = Vec::new();
        let mut tool = |_: &Path, page: u32| {
            asked.push(page);
            match page {
                2 => Ok("what the second page says\n\nand more".to_owned()),
                4 => Ok("\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
                    .to_owned()),
                _ => Err("no such program".to_owned()),
            }
        };
        let complaint = fill_gaps(&mut document, Path::new("a.pdf"), &mut tool);
        assert_eq!(complaint.as_deref(), Some("no such program"));
        assert_eq!(asked, [2, 4, 5]);
        let texts: Vec<&str> = document.parts.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(texts, ["first", "what the second page says", "and more", "third"]);
        assert_eq!(
            document.gaps,
            [gap(4), gap(5), Gap { inside: Inside::Whole, why: Why::TooLong }]
        );
    }
}
