//! Text without any form: paragraphs between blank lines.

use std::ops::Range;

use super::{
    collect::Collect,
    spelled::{Source, Spelled},
};
use crate::document::{Inside, Role};

/// Reads a text.
pub(crate) fn read(source: &Source<'_>, inside: &Inside, collect: &mut Collect) {
    let mut paragraph: Option<Range<usize>> = None;
    for line in lines(source.text) {
        if !source.text[line.clone()].trim().is_empty() {
            let start = paragraph.map_or(line.start, |before| before.start);
            paragraph = Some(start..line.end);
        } else if let Some(range) = paragraph.take() {
            add(source, inside, range, collect);
        }
        if collect.is_full() {
            return;
        }
    }
    if let Some(range) = paragraph {
        add(source, inside, range, collect);
    }
}

fn add(source: &Source<'_>, inside: &Inside, range: Range<usize>, collect: &mut Collect) {
    let mut text = Spelled::default();
    text.push_copy(&source.text[range.clone()], range.start);
    collect.part(source, Role::Paragraph, inside.clone(), &text);
}

/// The lines of a text without their ends (LF, CRLF, CR and the form feed of old printers).
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= text.len() {
            return None;
        }
        let rest = &text[at..];
        let length = rest.find(['\n', '\r', '\x0c']).unwrap_or(rest.len());
        let line = at..at + length;
        let end = &rest[length..];
        at += length + if end.starts_with("\r\n") { 2 } else { usize::from(!end.is_empty()) };
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_on_every_system() {
        let text = "a\nb\r\nc\rd\n\ne";
        let found: Vec<&str> = lines(text).map(|line| &text[line]).collect();
        assert_eq!(found, ["a", "b", "c", "d", "", "e"]);
    }
}
