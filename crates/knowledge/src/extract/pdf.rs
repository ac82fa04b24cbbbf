//! PDF, page by page. A page whose letters mean nothing, or that is a picture, is a gap and never text.

use pdf_oxide::{document::PdfDocument, error::Error as PdfError, object::Object};

use super::{Error, collect::Collect};
use crate::{
    document::{Inside, Role, Why},
    limits,
};

/// Reads a PDF.
pub(crate) fn read(bytes: Vec<u8>, collect: &mut Collect) -> Result<(), Error> {
    let document = PdfDocument::from_bytes(bytes).map_err(|error| damaged(&error))?;
    // Many are encrypted with an empty password, which forbids something else than reading.
    if document.is_encrypted() && !document.authenticate(b"").unwrap_or(false) {
        return Err(Error::Encrypted);
    }
    let pages = document.page_count().map_err(|error| damaged(&error))?;
    collect.title(&title(&document).unwrap_or_default());
    for index in 0..pages {
        if index >= limits::PAGES_MAX {
            collect.close();
        }
        if collect.is_full() {
            break;
        }
        let inside = Inside::Page(u32::try_from(index + 1).unwrap_or(u32::MAX));
        if collect.wants(&inside) {
            read_page(&document, index, &inside, collect);
        }
    }
    Ok(())
}

fn read_page(document: &PdfDocument, index: usize, inside: &Inside, collect: &mut Collect) {
    let text = match document.extract_text(index) {
        Ok(text) => text,
        Err(PdfError::EncryptedPdf) => return collect.gap(inside.clone(), Why::Encrypted),
        Err(error) => return collect.gap(inside.clone(), Why::Damaged(words(&error))),
    };
    if is_text(&text) {
        for paragraph in paragraphs(&text) {
            collect.plain(Role::Paragraph, inside.clone(), &paragraph);
        }
    } else if !text.trim().is_empty() || !is_blank(document, index) {
        collect.gap(inside.clone(), Why::NeedsOcr);
    }
}

/// Whether nothing at all is drawn on a page.
fn is_blank(document: &PdfDocument, index: usize) -> bool {
    let drawn = document.get_page_content_data(index);
    drawn.is_ok_and(|drawn| drawn.iter().all(u8::is_ascii_whitespace))
}

/// Whether what a page says is words: it has enough letters, and few characters that mean nothing.
pub(crate) fn is_text(text: &str) -> bool {
    let (mut letters, mut garbage) = (0, 0);
    for character in text.chars().filter(|character| !character.is_whitespace()) {
        let is_private = matches!(character, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}');
        if character == '\u{fffd}' || is_private || character.is_control() {
            garbage += 1;
        } else {
            letters += 1;
        }
    }
    letters >= limits::PAGE_LETTERS_MIN
        && garbage * 100 <= (letters + garbage) * limits::GARBAGE_PERCENT_MAX
}

/// The paragraphs of a page: what stands between blank lines. Chinese and Japanese words go on over the end of a line.
pub(crate) fn paragraphs(text: &str) -> impl Iterator<Item = String> {
    blocks(text).map(|block| {
        let mut paragraph = String::with_capacity(block.len());
        for line in block.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let goes_on = paragraph.chars().next_back().is_some_and(is_ideograph)
                && line.chars().next().is_some_and(is_ideograph);
            if !paragraph.is_empty() && !goes_on {
                paragraph.push('\n');
            }
            paragraph.push_str(line);
        }
        paragraph
    })
}

/// Characters of scripts that have no spaces between words, and their punctuation.
fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}'
        | '\u{20000}'..='\u{3ffff}')
}

fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let is_blank = |line: &str| line.trim().is_empty();
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = 0;
        let mut start = None;
        for line in rest.split_inclusive('\n') {
            if is_blank(line) && start.is_some() {
                break;
            }
            if start.is_none() && !is_blank(line) {
                start = Some(end);
            }
            end += line.len();
        }
        let paragraph = &rest[start?..end];
        rest = &rest[end..];
        Some(paragraph.trim())
    })
}

/// The title among what the file says of itself.
fn title(document: &PdfDocument) -> Option<String> {
    let resolved = |object: &Object| document.resolve_object(object).ok();
    let information = resolved(document.trailer().as_dict()?.get("Info")?)?;
    let title = resolved(information.as_dict()?.get("Title")?)?;
    let bytes = title.as_string()?;
    let text = match bytes {
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0xef, 0xbb, 0xbf, ..] => {
            super::decode::decode(bytes, None).text().to_owned()
        }
        // PDFDocEncoding is Latin-1 where it matters.
        bytes => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    // Programs leave the name of a file or nothing there.
    let is_name = [".doc", ".docx", ".indd", ".tex", ".dvi"]
        .iter()
        .any(|end| text.trim().to_lowercase().ends_with(end));
    (!is_name && text.chars().any(char::is_alphabetic) && text != "untitled").then_some(text)
}

fn words(error: &PdfError) -> String {
    error.to_string().chars().take(limits::DAMAGE_CHARACTERS_MAX).collect()
}

fn damaged(error: &PdfError) -> Error {
    if matches!(error, PdfError::EncryptedPdf) {
        return Error::Encrypted;
    }
    Error::Damaged(words(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_text() {
        assert!(is_text("Plain words."));
        assert!(is_text("人工智能改变世界"));
        assert!(!is_text("12"));
        assert!(!is_text("\u{e001}\u{e002}\u{e003} words that are lost"));
        assert!(!is_text(&"\u{fffd}".repeat(20)));
        assert!(is_text(&format!("\u{fffd}{}", "a".repeat(20))));
    }

    #[test]
    fn paragraphs_stand_between_blank_lines() {
        let found: Vec<String> =
            paragraphs("\n a\nb\n\n \nc\n\n人工智\n 能 and\n学习。\n然后").collect();
        assert_eq!(found, ["a\nb", "c", "人工智能 and\n学习。然后"]);
        assert_eq!(paragraphs(" \n").count(), 0);
    }
}
