//! Vocabularies that are made up but work: every text has tokens, and every token has a text that
//! gives it back.
//!
//! Words are built from syllables of one consonant and one vowel. That makes merging unambiguous:
//! no merge joins a vowel with the consonant behind it, except as the seam of two whole syllables.

use std::collections::BTreeMap;

/// llama.cpp's numbers for what a token is.
pub(crate) const NORMAL: i32 = 1;
pub(crate) const CONTROL: i32 = 3;

pub(crate) const END_OF_TEXT: &str = "<|endoftext|>";
pub(crate) const TURN_START: &str = "<|im_start|>";
pub(crate) const TURN_END: &str = "<|im_end|>";

const CONSONANTS: &str = "bcdfghjklmnpqrstvwxyz";
const VOWELS: &str = "aeiou";
const SYLLABLES: usize = 21 * 5;
/// A space, as byte-level vocabularies write it.
const SPACE: char = '\u{120}';
/// The mark in front of a word's first piece, as llama.cpp writes WordPiece vocabularies.
const WORD_START: char = '\u{2581}';

/// Tokens by id, what each is, and for merging vocabularies the merges by rank.
pub(crate) struct Vocabulary {
    pub(crate) tokens: Vec<String>,
    pub(crate) types: Vec<i32>,
    pub(crate) merges: Vec<String>,
    /// Ids of tokens with a part to play, by the metadata key's name.
    pub(crate) special: BTreeMap<&'static str, u32>,
}

/// A byte-level vocabulary of `size` tokens: the 256 bytes, merged words, three control tokens.
///
/// # Panics
/// When `size` has no room for the bytes and the control tokens.
pub(crate) fn byte_level(size: u32) -> Vocabulary {
    const CONTROLS: [&str; 3] = [END_OF_TEXT, TURN_START, TURN_END];
    let size = size as usize;
    let merged = size.checked_sub(256 + CONTROLS.len()).expect("at least 259 tokens");
    let mut tokens: Vec<String> = byte_characters().iter().map(char::to_string).collect();
    let mut merges = Vec::with_capacity(merged);
    for (left, right) in merged_words().take(merged) {
        merges.push(format!("{left} {right}"));
        tokens.push(left + &right);
    }
    assert_eq!(merges.len(), merged, "syllables give enough words");
    let mut types = vec![NORMAL; tokens.len()];
    tokens.extend(CONTROLS.map(str::to_owned));
    types.extend([CONTROL; CONTROLS.len()]);
    let end_of_text = id(size - 3);
    let special = BTreeMap::from([
        ("bos_token_id", end_of_text),
        ("padding_token_id", end_of_text),
        ("eos_token_id", id(size - 1)),
    ]);
    Vocabulary { tokens, types, merges, special }
}

/// A WordPiece vocabulary of `size` tokens: the special ones at their usual ids, every printable
/// ASCII character as a piece, and words.
///
/// # Panics
/// When `size` has no room for the special tokens and the characters.
pub(crate) fn word_piece(size: u32) -> Vocabulary {
    const SPECIAL: [(usize, &str); 5] =
        [(0, "[PAD]"), (100, "[UNK]"), (101, "[CLS]"), (102, "[SEP]"), (103, "[MASK]")];
    let size = size as usize;
    let mut tokens: Vec<String> = (0..104).map(|id| format!("{WORD_START}[unused{id}]")).collect();
    let mut types = vec![NORMAL; size];
    for (id, token) in SPECIAL {
        token.clone_into(&mut tokens[id]);
        types[id] = CONTROL;
    }
    // Upper case never arrives: the text is lowered first.
    let characters = ('!'..='~').filter(|character| !character.is_ascii_uppercase());
    for character in characters {
        tokens.push(format!("{WORD_START}{character}"));
        tokens.push(character.to_string());
    }
    assert!(size >= tokens.len(), "at least {} tokens", tokens.len());
    let words = merged_words().map(|(left, right)| left + &right);
    for word in words.filter(|word| !word.starts_with(SPACE)) {
        if tokens.len() == size {
            break;
        }
        tokens.push(format!("{WORD_START}{word}"));
        if tokens.len() < size {
            tokens.push(word);
        }
    }
    let special = BTreeMap::from([
        ("bos_token_id", 101),
        ("eos_token_id", 102),
        ("mask_token_id", 103),
        ("padding_token_id", 0),
        ("seperator_token_id", 102),
        ("unknown_token_id", 100),
    ]);
    Vocabulary { tokens, types, merges: Vec::new(), special }
}

fn id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The character that stands for each byte in a byte-level vocabulary, in the order of GPT-2's
/// ids: printable bytes stand for themselves, the others follow from U+0100 on.
fn byte_characters() -> [char; 256] {
    let printable = |byte: &u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut characters = ['\0'; 256];
    let themselves = (0..=255_u8).filter(printable).map(char::from);
    let shifted = ('\u{100}'..).take((0..=255_u8).filter(|byte| !printable(byte)).count());
    for (place, character) in characters.iter_mut().zip(themselves.chain(shifted)) {
        *place = character;
    }
    characters
}

/// Words in the order of their merges, each as the two parts that are merged.
///
/// Syllables come first, then words of two, then words of four, then the same with a space in
/// front. A word of four is two words of two; its middle seam is a word of two as well, and must
/// rank behind the first half, or merging would start at the seam. The order of syllables decides
/// that: the second syllable of such a word is later than the first.
fn merged_words() -> impl Iterator<Item = (String, String)> {
    let syllable = |index: usize| {
        let consonant = &CONSONANTS[index / 5..=index / 5];
        let vowel = &VOWELS[index % 5..=index % 5];
        (consonant.to_owned(), vowel.to_owned())
    };
    let one = move |index: usize| {
        let (consonant, vowel) = syllable(index);
        consonant + &vowel
    };
    let two = move |index: usize| (one(index / SYLLABLES), one(index % SYLLABLES));
    let pairs = SYLLABLES * SYLLABLES;
    let join = |(left, right): (String, String)| left + &right;
    let spaced = |word: String| (SPACE.to_string(), word);

    let short = (0..SYLLABLES).map(syllable).chain((0..pairs).map(two));
    let short_spaced = (0..SYLLABLES).map(one).chain((0..pairs).map(two).map(join)).map(spaced);
    // Step through the halves with numbers that share no factor with their counts, so that the
    // words of a small vocabulary already differ in all syllables.
    let long = (0..).flat_map(move |round: usize| {
        let ascending = (0..pairs).filter(|index| index / SYLLABLES < index % SYLLABLES);
        ascending.map(move |first| {
            let second = (first * 7919 + round * 104_729 + 13) % pairs;
            (join(two(first)), join(two(second)))
        })
    });
    let long = long.scan(std::collections::BTreeSet::new(), |seen, (left, right)| {
        Some(seen.insert(format!("{left}{right}")).then_some((left, right)))
    });
    // The space joins the first half before the halves join each other, for its merge is earlier.
    let long = long.flatten().take(LONG_WORDS).flat_map(|(left, right)| {
        let spaced_left = format!("{SPACE}{left}");
        [(left, right.clone()), (spaced_left, right)]
    });
    short.chain(short_spaced).chain(long)
}

/// Enough for the largest vocabulary, 262,208 tokens.
const LONG_WORDS: usize = 130_000;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    /// Byte-pair encoding by the book: merge the pair of lowest rank until none is left.
    fn encode(word: &str, ranks: &HashMap<(String, String), usize>) -> Vec<String> {
        let mut parts: Vec<String> = word.chars().map(String::from).collect();
        loop {
            let best = parts
                .windows(2)
                .enumerate()
                .filter_map(|(at, pair)| {
                    let rank = ranks.get(&(pair[0].clone(), pair[1].clone()))?;
                    Some((*rank, at))
                })
                .min();
            let Some((_, at)) = best else { return parts };
            let right = parts.remove(at + 1);
            parts[at].push_str(&right);
        }
    }

    #[test]
    fn every_token_of_a_full_vocabulary_is_distinct_and_reachable() {
        let vocabulary = byte_level(151_936);
        assert_eq!(vocabulary.tokens.len(), 151_936);
        assert_eq!(vocabulary.types.len(), 151_936);
        let distinct: BTreeSet<&String> = vocabulary.tokens.iter().collect();
        assert_eq!(distinct.len(), vocabulary.tokens.len());
        let ranks: HashMap<(String, String), usize> = vocabulary
            .merges
            .iter()
            .enumerate()
            .map(|(rank, merge)| {
                let (left, right) = merge.split_once(' ').unwrap();
                ((left.to_owned(), right.to_owned()), rank)
            })
            .collect();
        // Every word, and not a sample: one that cannot be reached is a hole in the vocabulary.
        for token in &vocabulary.tokens[256..151_933] {
            assert_eq!(encode(token, &ranks), std::slice::from_ref(token));
        }
    }

    #[test]
    fn the_bytes_are_the_first_256_tokens_and_gpt_2_wrote_them_so() {
        let characters = byte_characters();
        assert_eq!(characters.iter().collect::<BTreeSet<_>>().len(), 256);
        assert_eq!(characters[0], '!');
        assert_eq!(characters[93], '~');
        assert_eq!(characters[188], '\u{100}');
        assert!(characters.contains(&SPACE), "the space is the byte 0x20");
    }

    #[test]
    fn the_largest_and_the_smallest_vocabulary_can_be_made() {
        for size in [262_208, 259, 512, 1024, 32_256] {
            let vocabulary = byte_level(size);
            assert_eq!(vocabulary.tokens.len(), size as usize);
            assert_eq!(vocabulary.tokens.last().unwrap(), TURN_END);
            assert_eq!(vocabulary.special["eos_token_id"], size - 1);
        }
    }

    #[test]
    fn word_pieces_are_distinct_and_the_special_ones_are_at_their_ids() {
        for size in [1024, 30_522, 250_002] {
            let vocabulary = word_piece(size);
            assert_eq!(vocabulary.tokens.len(), size as usize);
            assert_eq!(vocabulary.types.len(), size as usize);
            let distinct: BTreeSet<&String> = vocabulary.tokens.iter().collect();
            assert_eq!(distinct.len(), size as usize);
            assert_eq!(vocabulary.tokens[101], "[CLS]");
            assert_eq!(vocabulary.types[101], CONTROL);
        }
    }
}
