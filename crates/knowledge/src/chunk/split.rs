//! Parts that are longer than a passage, cut at the ends of sentences and words.

use std::ops::Range;

use text_splitter::{ChunkConfig, ChunkSizer, TextSplitter};

use super::{Error, Sizes, Tokens, count};
use crate::{
    document::{Document, Part, Role},
    limits::{SPLIT_ROUNDS, SPLIT_WINDOW_BYTES},
};

/// A part of the document, or a range of one that is longer than a passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// Which part, from 0.
    pub(super) part: usize,
    /// Bytes of its text.
    pub(super) range: Range<usize>,
    /// Tokens of them.
    pub(super) tokens: u32,
}

/// The document as units that fit into passages, with few exceptions: the last word on sizes is that of who counts
/// whole passages.
pub(super) fn units(
    document: &Document,
    sizes: Sizes,
    tokens: &dyn Tokens,
) -> Result<Vec<Unit>, Error> {
    let said = |part: &Part| !part.text.trim().is_empty();
    let parts: Vec<usize> =
        (0..document.parts.len()).filter(|&part| said(&document.parts[part])).collect();
    let mut texts = Vec::new();
    let mut units: Vec<Unit> = Vec::new();
    for &part in &parts {
        // What nobody could count in one call is cut before anybody counts it.
        for range in windows(&document.parts[part].text) {
            texts.push(&document.parts[part].text[range.clone()]);
            units.push(Unit { part, range, tokens: 0 });
        }
    }
    for (unit, tokens) in units.iter_mut().zip(count(tokens, &texts)?) {
        unit.tokens = tokens;
    }
    for _round in 0..SPLIT_ROUNDS {
        let before = units.len();
        units = round(document, units, sizes, tokens)?;
        if units.len() == before {
            break;
        }
    }
    Ok(units)
}

/// Cuts each unit that is too long once, and counts the pieces of all of them together.
fn round(
    document: &Document,
    units: Vec<Unit>,
    sizes: Sizes,
    tokens: &dyn Tokens,
) -> Result<Vec<Unit>, Error> {
    let mut after = Vec::with_capacity(units.len());
    let mut uncounted = Vec::new();
    for unit in units {
        let part = &document.parts[unit.part];
        if unit.tokens <= longest(part.role, sizes) {
            after.push(unit);
            continue;
        }
        let text = &part.text[unit.range.clone()];
        let overlap = if is_prose(part.role) { sizes.overlap() } else { 0 };
        for range in cut(text, unit.tokens, sizes.target, overlap) {
            uncounted.push(after.len());
            let range = unit.range.start + range.start..unit.range.start + range.end;
            after.push(Unit { part: unit.part, range, tokens: 0 });
        }
    }
    let texts: Vec<&str> =
        uncounted.iter().map(|&at: &usize| text_of(document, &after[at])).collect();
    for (at, tokens) in uncounted.iter().zip(count(tokens, &texts)?) {
        after[*at].tokens = tokens;
    }
    Ok(after)
}

pub(super) fn text_of<'a>(document: &'a Document, unit: &Unit) -> &'a str {
    &document.parts[unit.part].text[unit.range.clone()]
}

/// Tokens of the longest part that stays whole. Sentences may part; a row or a piece of code may not where it fits.
fn longest(role: Role, sizes: Sizes) -> u32 {
    if is_prose(role) { sizes.target } else { body_max(sizes) }
}

/// Tokens of text of a passage whose context is long.
pub(super) fn body_max(sizes: Sizes) -> u32 {
    (sizes.cap - sizes.cap / 8).max(sizes.target).max(1)
}

fn is_prose(role: Role) -> bool {
    match role {
        Role::Heading(_) | Role::Paragraph | Role::Item => true,
        Role::Row | Role::Code => false,
    }
}

/// Ranges of `text`, which has `tokens`, of about `target` tokens each. They cover all of it.
pub(super) fn cut(text: &str, tokens: u32, target: u32, overlap: u32) -> Vec<Range<usize>> {
    // What one token of this very text weighs. A little less than the target, since not all of a text is alike.
    let scale = Weight.size(text) as f64 / f64::from(tokens.max(1));
    let capacity = ((f64::from(target) * scale * 0.92) as usize).max(1);
    let overlap = (f64::from(overlap) * scale * 0.92) as usize;
    let config = || ChunkConfig::new(capacity).with_trim(false).with_sizer(Weight);
    // An overlap is refused only where it is as long as the whole.
    let config = config().with_overlap(overlap.min(capacity - 1)).unwrap_or_else(|_| config());
    let splitter = TextSplitter::new(config);
    let mut ranges = Vec::new();
    for window in windows(text) {
        for (at, chunk) in splitter.chunk_indices(&text[window.clone()]) {
            ranges.push(window.start + at..window.start + at + chunk.len());
        }
    }
    ranges
}

/// Cuts `text` where it is longer than what is looked at in one go: after a line, else after a sentence, else between
/// words, where there is one of them.
fn windows(text: &str) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    let mut from = 0;
    while text.len() - from > SPLIT_WINDOW_BYTES {
        let most = text.floor_char_boundary(from + SPLIT_WINDOW_BYTES);
        let half = text.floor_char_boundary(from + SPLIT_WINDOW_BYTES / 2);
        let late = &text[half..most];
        let after =
            |ends: &[char]| late.rmatch_indices(ends).next().map(|(at, end)| half + at + end.len());
        let to = after(&['\n'])
            .or_else(|| after(&['。', '！', '？']).max(late.rfind(". ").map(|at| half + at + 2)))
            .or_else(|| after(&[' ', '，', '、']))
            .unwrap_or(most);
        windows.push(from..to);
        from = to;
    }
    if from < text.len() {
        windows.push(from..text.len());
    }
    windows
}

/// A guess at the length of texts in tokens, without a model: four Latin letters weigh as much as one Chinese
/// character. It only has to be in proportion within one text; how much that text weighs has been counted.
#[derive(Debug, Clone, Copy)]
struct Weight;

impl ChunkSizer for Weight {
    fn size(&self, chunk: &str) -> usize {
        weight(chunk)
    }
}

pub(super) fn weight(text: &str) -> usize {
    text.chars().map(|letter| if letter.len_utf8() > 2 { 4 } else { letter.len_utf8() }).sum()
}
