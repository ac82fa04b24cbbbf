//! Letters as a search takes them: one form for all widths, cases and accents.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// The text in NFKC, with its case kept, since case shows where the words of an identifier begin.
pub(super) fn compatible(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    text.nfkc().collect()
}

/// Appends a word in lower case and without the accents of Latin and Greek letters. In other scripts a mark makes
/// another letter (й, が), and stays.
pub(super) fn push_folded(word: &str, into: &mut String) {
    for letter in word.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii() {
            into.push(letter);
            continue;
        }
        match letter {
            'ß' => into.push_str("ss"),
            'æ' => into.push_str("ae"),
            'œ' => into.push_str("oe"),
            'ø' => into.push('o'),
            'ł' => into.push('l'),
            'đ' | 'ð' => into.push('d'),
            'þ' => into.push_str("th"),
            'ı' => into.push('i'),
            'ς' => into.push('σ'),
            _ => push_without_accents(letter, into),
        }
    }
}

fn push_without_accents(letter: char, into: &mut String) {
    let mut base = None;
    decompose_canonical(letter, |part| {
        if base.is_none() {
            base = Some(part);
        }
    });
    match base {
        Some(base) if base != letter && loses_accents(base) => into.push(base),
        // A mark on its own is left where a letter and its mark have no common form.
        _ if is_combining_mark(letter) && ('\u{300}'..='\u{36f}').contains(&letter) => {}
        _ => into.push(letter),
    }
}

/// Latin and Greek, where people leave accents out when they search.
fn loses_accents(base: char) -> bool {
    base.is_ascii_alphabetic() || matches!(base, '\u{370}'..='\u{3ff}' | '\u{180}'..='\u{24f}')
}
