//! Finds a quote at a place of a file that is read again: a citation proved.
//!
//! White space in a quote stands for any white space in the file, since lines are broken differently everywhere;
//! every other character must be the same.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::{
    document::{Inside, Place},
    limits,
};

/// A quote as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// Its exact text in the file.
    pub text: String,
    /// Where it stands: the bytes are the quote's own, where the format has bytes.
    pub place: Place,
}

/// A quote that is looked for, and what was found at its place so far.
pub(crate) struct Sought {
    place: Place,
    quote: String,
    text: String,
    /// For each character of the text its bytes in the file, if it has some, and what it is inside of.
    atoms: Vec<Atom>,
    insides: Vec<Inside>,
}

struct Atom {
    text: usize,
    bytes: Option<Range<u64>>,
    inside: usize,
}

impl Sought {
    /// # Errors
    ///
    /// A quote without anything but white space, or one that is too long, is [`Error::Quote`].
    pub(crate) fn new(place: Place, quote: String) -> Result<Self, Error> {
        if quote.trim().is_empty() || quote.len() > limits::QUOTE_BYTES_MAX {
            return Err(Error::Quote { bytes: quote.len(), bytes_max: limits::QUOTE_BYTES_MAX });
        }
        Ok(Self { place, quote, text: String::new(), atoms: Vec::new(), insides: Vec::new() })
    }

    pub(crate) fn is_inside(&self, inside: &Inside) -> bool {
        match (&self.place.inside, inside) {
            // Sentences of subtitles may be joined to longer times.
            (Inside::Time(sought), Inside::Time(time)) => {
                sought.start < time.end.max(time.start + 1)
                    && time.start < sought.end.max(sought.start + 1)
            }
            (sought, inside) => sought == inside,
        }
    }

    /// Takes in a part that may hold the quote.
    pub(crate) fn look(
        &mut self,
        inside: &Inside,
        text: &str,
        bytes: impl Fn(Range<usize>) -> Option<Range<u64>>,
    ) {
        if !self.is_inside(inside) || self.text.len() + text.len() > limits::LOCATE_TEXT_BYTES_MAX {
            return;
        }
        if let (Some(sought), Some(whole)) = (&self.place.bytes, bytes(0..text.len()))
            && (whole.end <= sought.start || sought.end <= whole.start)
        {
            return;
        }
        let index = self.insides.len();
        self.insides.push(inside.clone());
        if !self.text.is_empty() {
            self.atoms.push(Atom { text: self.text.len(), bytes: None, inside: index });
            self.text.push('\n');
        }
        for (at, character) in text.char_indices() {
            let bytes = bytes(at..at + character.len_utf8());
            self.atoms.push(Atom { text: self.text.len() + at, bytes, inside: index });
        }
        self.text.push_str(text);
    }

    /// What was found.
    pub(crate) fn finish(self) -> Result<Located, Error> {
        let mut from = 0;
        while let Some(found) = find(&self.text, &self.quote, from) {
            let first = self.atoms.partition_point(|atom| atom.text < found.start);
            let after = self.atoms.partition_point(|atom| atom.text < found.end);
            let atoms = &self.atoms[first..after];
            let mut bytes: Option<Range<u64>> = None;
            for atom in atoms.iter().filter_map(|atom| atom.bytes.as_ref()) {
                bytes = Some(match bytes {
                    Some(before) => before.start.min(atom.start)..before.end.max(atom.end),
                    None => atom.clone(),
                });
            }
            let is_within = match (&self.place.bytes, &bytes) {
                (Some(sought), Some(found)) => {
                    sought.start <= found.start && found.end <= sought.end
                }
                (Some(_), None) => false,
                (None, _) => true,
            };
            if is_within {
                let inside =
                    atoms.first().map_or(Inside::Whole, |atom| self.insides[atom.inside].clone());
                return Ok(Located {
                    text: self.text[found].to_owned(),
                    place: Place { inside, bytes },
                });
            }
            from = found.start + self.text[found.start..].chars().next().map_or(1, char::len_utf8);
        }
        Err(Error::NotThere)
    }
}

/// The first place of the quote from here on.
fn find(text: &str, quote: &str, from: usize) -> Option<Range<usize>> {
    let words: Vec<&str> = quote.split_whitespace().collect();
    let first = words.first()?;
    let mut from = from;
    loop {
        let start = from + text.get(from..)?.find(first)?;
        let mut end = start + first.len();
        let follows = words[1..].iter().all(|word| {
            let rest = &text[end..];
            let trimmed = rest.trim_start();
            let is_next = trimmed.len() < rest.len() && trimmed.starts_with(word);
            end = text.len() - trimmed.len() + word.len();
            is_next
        });
        if follows {
            return Some(start..end);
        }
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_any_white_space_and_nothing_else_is() {
        assert_eq!(find("a  b\nc", "a b c", 0), Some(0..6));
        assert_eq!(find("ab c", "a b", 0), None);
        assert_eq!(find("x a x a b", "a  b", 0), Some(6..9));
        assert_eq!(find("中文 文本", "文 文本", 0), Some(3..13));
        assert_eq!(find("aaa", "b", 0), None);
        assert_eq!(find("a", "a b", 0), None);
    }

    fn look(place: &Place, quote: &str) -> Result<Located, Error> {
        let mut sought = Sought::new(place.clone(), quote.to_owned()).unwrap();
        for (text, at) in [("one two", 0), ("two three", 20)] {
            sought.look(&Inside::Whole, text, |range| {
                Some(at + range.start as u64..at + range.end as u64)
            });
        }
        sought.finish()
    }

    #[test]
    fn the_place_decides_which_of_equal_quotes_it_is() {
        let place = |bytes| Place { inside: Inside::Whole, bytes };
        let at = |bytes, quote| look(&place(bytes), quote).map(|found| found.place.bytes.unwrap());
        assert_eq!(at(Some(0..7), "two"), Ok(4..7));
        assert_eq!(at(Some(20..29), "two"), Ok(20..23));
        assert_eq!(at(None, "two"), Ok(4..7));
        assert_eq!(at(Some(0..29), "two two three"), Ok(4..29));
        assert_eq!(at(Some(0..7), "three"), Err(Error::NotThere));
        assert_eq!(at(Some(0..6), "two"), Err(Error::NotThere));
        let page = Place { inside: Inside::Page(1), bytes: None };
        assert_eq!(look(&page, "two"), Err(Error::NotThere));
        assert!(Sought::new(page, " \n".to_owned()).is_err());
    }
}
