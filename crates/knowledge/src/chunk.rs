//! From a document to passages: pieces of text of a size that an embedder takes whole, each of which knows the exact
//! places that it came from.
//!
//! Structure decides where passages end: a heading stays with what it names, a table or a piece of code is whole
//! where it fits, and running text that is longer than a passage ends at sentences. Sizes are counted in the
//! embedder's own tokens. Counting asks another process, so it is done for many texts at once.

mod draft;
mod split;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{
    document::{Document, Part, Place, Role},
    limits::{
        OVERLAP_DIVISOR, PASSAGE_TOKENS, PASSAGE_TOKENS_MAX, TOKEN_BYTES_PER_CALL,
        TOKEN_TEXTS_PER_CALL, WINDOW_RESERVE_DIVISOR,
    },
    search::Failed,
};

/// Counts texts in tokens of the model that will embed them.
pub trait Tokens {
    /// Tokens of each of `texts`, in their order, with whatever the model adds to a text of its own accord.
    ///
    /// # Errors
    /// Whatever kept it from counting.
    fn count(&self, texts: &[&str]) -> Result<Vec<u32>, Failed>;
}

/// Counts without a model, for passages that are found by their words alone: four letters or one Chinese character are a
/// token.
#[derive(Debug, Clone, Copy)]
pub struct Estimate;

impl Tokens for Estimate {
    fn count(&self, texts: &[&str]) -> Result<Vec<u32>, Failed> {
        let tokens =
            |text: &&str| u32::try_from(split::weight(text).div_ceil(4)).unwrap_or(u32::MAX);
        Ok(texts.iter().map(tokens).collect())
    }
}

/// Why a document did not become passages.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The counter failed.
    #[error(
        "cannot count the tokens of a text: {0}; passages are sized by the embedding model, see that it runs"
    )]
    Tokens(#[source] Failed),
    /// The counter gave another number of counts than it was asked for.
    #[error(
        "asked for the tokens of {asked} texts, the embedding model answered for {answered}; this is a fault in it"
    )]
    Miscounted {
        /// Texts that were to be counted.
        asked: usize,
        /// Counts that came.
        answered: usize,
    },
}

/// How long passages are, in tokens of the embedder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// What is aimed at.
    pub target: u32,
    /// What is never exceeded, with the context that is embedded along.
    pub cap: u32,
}

impl Sizes {
    /// Sizes for an embedder that reads `window` tokens at once. A part of the window stays free, since the tokens of
    /// two texts joined are not always the sum of theirs and some models put a few words before each text.
    pub fn for_window(window: u32) -> Sizes {
        let cap = (window - window / WINDOW_RESERVE_DIVISOR).clamp(1, PASSAGE_TOKENS_MAX);
        Sizes { target: PASSAGE_TOKENS.min(cap - cap / 5), cap }
    }

    fn overlap(self) -> u32 {
        self.target / OVERLAP_DIVISOR
    }
}

/// A piece of a document, as it is embedded, found and cited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// What is quoted: the document's own words, nothing else.
    pub text: String,
    /// What is embedded before the text and never quoted, `title > heading > heading`; may be empty.
    pub context: String,
    /// The headings that it stands below, the highest first, those within its text included.
    pub headings: Vec<String>,
    /// Which parts of the document the text came from, in its order.
    pub pieces: Vec<Piece>,
    /// Tokens of what is embedded.
    pub tokens: u32,
}

/// A range of a passage's text, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Bytes of the passage's text.
    pub text: Range<u32>,
    /// Which part of the document, from 0.
    pub part: u32,
    /// The byte of the part's text with which it begins.
    pub at: u32,
    /// What the part is.
    pub role: Role,
    /// Where exactly this piece stands.
    pub place: Place,
}

impl Passage {
    /// What an embedder is given.
    pub fn embedded(&self) -> String {
        embedded(&self.context, &self.text)
    }

    /// The exact places of a range of bytes of the text.
    pub fn places(&self, span: Range<usize>) -> Vec<Place> {
        places(&self.pieces, span)
    }
}

/// What an embedder is given of a passage with this context.
pub fn embedded(context: &str, text: &str) -> String {
    if context.is_empty() { text.to_owned() } else { format!("{context}\n\n{text}") }
}

/// The exact places of a range of bytes of the text that has these pieces. What lies between two pieces (the empty
/// line between paragraphs) has none.
pub fn places(pieces: &[Piece], span: Range<usize>) -> Vec<Place> {
    let inside = |piece: &&Piece| {
        (piece.text.start as usize) < span.end && span.start < piece.text.end as usize
    };
    let narrowed = |piece: &Piece| {
        let (start, end) = (piece.text.start as usize, piece.text.end as usize);
        let from = span.start.max(start) - start;
        let to = span.end.min(end) - start;
        narrow(&piece.place, end - start, from..to)
    };
    pieces.iter().filter(inside).map(narrowed).collect()
}

/// The place of a range of a text of `length` bytes that stands at `place`. Where the file holds as many bytes as the
/// text has, it holds the text itself, and the range is found in it; elsewhere the whole place is the answer.
fn narrow(place: &Place, length: usize, range: Range<usize>) -> Place {
    let mut place = place.clone();
    if let Some(bytes) = &mut place.bytes
        && bytes.end.checked_sub(bytes.start) == Some(length as u64)
    {
        *bytes = bytes.start + range.start as u64..bytes.start + range.end as u64;
    }
    place
}

/// The passages of `document`, in its order. Each part that has any text is in at least one; none is longer than
/// `sizes.cap` unless a single character is.
///
/// # Errors
/// When the counter fails.
pub fn passages(
    document: &Document,
    sizes: Sizes,
    tokens: &dyn Tokens,
) -> Result<Vec<Passage>, Error> {
    let units = split::units(document, sizes, tokens)?;
    draft::passages(document, &units, sizes, tokens)
}

/// The document that `passages` (its own, in their order) were made of, without what had no text and without gaps:
/// enough to cut it anew for another embedder when the file itself is out of reach.
pub fn document<'a>(
    title: Option<String>,
    passages: impl IntoIterator<Item = (&'a str, &'a [Piece])>,
) -> Document {
    let mut parts: Vec<(u32, Part)> = Vec::new();
    for (text, pieces) in passages {
        for piece in pieces {
            let words = &text[piece.text.start as usize..piece.text.end as usize];
            match parts.last_mut() {
                Some((number, part)) if *number == piece.part => {
                    // Passages of one part may overlap: what is there already is passed over.
                    let known = part.text.len().saturating_sub(piece.at as usize).min(words.len());
                    part.text.push_str(&words[known..]);
                    if let (Some(bytes), Some(more)) = (&mut part.place.bytes, &piece.place.bytes) {
                        bytes.end = bytes.end.max(more.end);
                    }
                }
                Some(_) | None => {
                    let part = Part {
                        text: words.to_owned(),
                        role: piece.role,
                        place: piece.place.clone(),
                    };
                    parts.push((piece.part, part));
                }
            }
        }
    }
    Document { title, parts: parts.into_iter().map(|(_, part)| part).collect(), gaps: Vec::new() }
}

/// Counts any number of texts, as many at once as one call may hold.
fn count(tokens: &dyn Tokens, texts: &[&str]) -> Result<Vec<u32>, Error> {
    let mut counts = Vec::with_capacity(texts.len());
    let mut rest = texts;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(TOKEN_TEXTS_PER_CALL).take_while(|text| {
            bytes += text.len();
            bytes <= TOKEN_BYTES_PER_CALL
        });
        let (asked, later) = rest.split_at(fits.count().max(1));
        let answered = tokens.count(asked).map_err(Error::Tokens)?;
        if answered.len() != asked.len() {
            return Err(Error::Miscounted { asked: asked.len(), answered: answered.len() });
        }
        counts.extend(answered);
        rest = later;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests;
