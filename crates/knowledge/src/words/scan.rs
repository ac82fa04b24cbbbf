//! Cutting a text into terms.
//!
//! A text is runs of three kinds. A run of characters of a script without spaces gives each character and each pair
//! of neighbours. A run of letters and digits, held together by what identifiers are held together by (`_ - . / \ : @
//! + # &`, an apostrophe, a comma between groups of digits), gives its parts and, where it has several, itself. All
//! else divides.

use qdrant_rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::char::is_combining_mark;

use super::{Kind, TERM_BYTES_MAX, fold, stop};

/// Gives every term of a text to `emit`, in order, as often as it occurs.
pub(super) fn scan(text: &str, emit: &mut dyn FnMut(&str, Kind)) {
    let text = fold::compatible(text);
    let mut words =
        Words { stemmer: Stemmer::create(Algorithm::English), term: String::new(), emit };
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = match class(first) {
            Class::Paired => paired_length(rest),
            Class::Letter | Class::Digit => compound_length(rest),
            Class::Other => first.len_utf8(),
        };
        let (run, after) = rest.split_at(length);
        match class(first) {
            Class::Paired => words.paired(run),
            Class::Letter | Class::Digit => {
                if let Some(date) = chinese_date(run, after) {
                    words.whole(&date);
                }
                words.compound(run);
            }
            Class::Other => {}
        }
        rest = after;
    }
}

/// What a character is to this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Of a script that writes no spaces between words.
    Paired,
    Letter,
    Digit,
    Other,
}

fn class(character: char) -> Class {
    if character.is_ascii() {
        return match character {
            'a'..='z' | 'A'..='Z' => Class::Letter,
            '0'..='9' => Class::Digit,
            _ => Class::Other,
        };
    }
    if is_paired(character) {
        Class::Paired
    } else if character.is_numeric() {
        Class::Digit
    } else if character.is_alphabetic() || is_combining_mark(character) {
        Class::Letter
    } else {
        Class::Other
    }
}

/// Han, kana, bopomofo and hangul, and the scripts of South-East Asia that write no spaces.
fn is_paired(character: char) -> bool {
    matches!(character,
        '\u{0e00}'..='\u{0eff}' // Thai, Lao
        | '\u{1000}'..='\u{109f}' // Myanmar
        | '\u{1100}'..='\u{11ff}' // Hangul's letters
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{3005}'..='\u{3007}' // 々〆〇
        | '\u{3041}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' // kana, but not the dot between words
        | '\u{3105}'..='\u{312f}' // bopomofo
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' // Han
        | '\u{ac00}'..='\u{d7ff}' // Hangul's syllables
        | '\u{20000}'..='\u{323af}') // Han, added later
}

fn paired_length(rest: &str) -> usize {
    rest.find(|character| class(character) != Class::Paired).unwrap_or(rest.len())
}

/// How long the letters, digits and what joins them go on at the beginning of `rest`.
fn compound_length(rest: &str) -> usize {
    let mut length = 0;
    let mut before = ' ';
    let mut characters = rest.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match class(character) {
            Class::Letter | Class::Digit => length = at + character.len_utf8(),
            Class::Paired => break,
            Class::Other => {
                let joins =
                    characters.peek().is_some_and(|&(_, after)| joins(before, character, after));
                // C++ and C# end in what otherwise joins.
                let ends = matches!(character, '+' | '#') && before.is_alphabetic() && at <= 2;
                if ends && !joins {
                    let marks = rest[at..].find(|c| c != character).unwrap_or(rest.len() - at);
                    return at + marks.min(2);
                }
                if !joins {
                    break;
                }
            }
        }
        before = character;
    }
    length
}

fn joins(before: char, character: char, after: char) -> bool {
    let word = |c: char| matches!(class(c), Class::Letter | Class::Digit);
    match character {
        '_' | '-' | '.' | '/' | '\\' | ':' | '@' | '+' | '#' | '&' | '\u{2010}' | '\u{2011}' => {
            word(before) && word(after)
        }
        '\'' | '\u{2019}' => class(before) == Class::Letter && class(after) == Class::Letter,
        ',' => class(before) == Class::Digit && class(after) == Class::Digit,
        _ => false,
    }
}

/// `2024年3月15日`, which a search for 2024-03-15 must find and the other way round.
fn chinese_date(year: &str, after: &str) -> Option<String> {
    let (month, after) = after.strip_prefix('年')?.trim_start().split_once('月')?;
    let (day, _) = after.trim_start().split_once(['日', '号', '號'])?;
    compact_date(year, month.trim(), day.trim())
}

/// A day in eight digits, if the three are numbers that can be one.
fn compact_date(year: &str, month: &str, day: &str) -> Option<String> {
    let short = |part: &str| {
        (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if year.len() != 4
        || !year.bytes().all(|byte| byte.is_ascii_digit())
        || !short(month)
        || !short(day)
    {
        return None;
    }
    let (month, day): (u32, u32) = (month.parse().ok()?, day.parse().ok()?);
    ((1..=12).contains(&month) && (1..=31).contains(&day))
        .then(|| format!("{year}{month:02}{day:02}"))
}

struct Words<'a> {
    stemmer: Stemmer,
    /// The term in the making, kept for its memory.
    term: String,
    emit: &'a mut dyn FnMut(&str, Kind),
}

impl Words<'_> {
    fn paired(&mut self, run: &str) {
        let mut before: Option<(usize, char)> = None;
        for (at, character) in run.char_indices() {
            let end = at + character.len_utf8();
            if let Some((from, _)) = before {
                (self.emit)(&run[from..end], Kind::Paired);
            }
            (self.emit)(&run[at..end], Kind::Paired);
            before = Some((at, character));
        }
    }

    /// Letters and digits with what joins them: a word, a number, or an identifier of several parts.
    fn compound(&mut self, run: &str) {
        if run.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return self.part(run);
        }
        if let Some(number) = number(run) {
            return self.whole(&number);
        }
        // A comma joins the digits of one number only.
        if run.contains(',') {
            return run.split(',').for_each(|part| self.compound(part));
        }
        let run = run.replace(['\u{2010}', '\u{2011}'], "-").replace('\u{2019}', "'");
        if let Some(possessor) = run.strip_suffix("'s").or_else(|| run.strip_suffix("'S")) {
            return self.compound(possessor);
        }
        let pieces: Vec<&str> = run.split(['/', '\\', ':', '@', '&']).collect();
        if pieces.len() > 1 {
            self.whole(&run);
            self.date(&pieces);
        }
        for piece in pieces {
            self.piece(piece);
        }
    }

    /// What stands between the slashes of a path or around the `@` of an address.
    fn piece(&mut self, piece: &str) {
        let parts: Vec<&str> =
            piece.split(['-', '.', '_', '+', '#', '\'']).filter(|part| !part.is_empty()).collect();
        if parts.len() == 1 && parts[0] == piece {
            return self.part(piece);
        }
        self.whole(piece);
        // Versions, addresses and decimal numbers mean something as wholes only.
        if parts.iter().all(|part| is_number(part)) && piece.contains('.') && parts.len() != 3 {
            return;
        }
        if self.date(&parts) {
            return parts.iter().for_each(|part| self.part(part));
        }
        if is_version(&parts, piece) {
            if let Some(bare) = piece.strip_prefix(['v', 'V']) {
                self.whole(bare);
            }
            return;
        }
        for part in parts {
            self.part(part);
        }
    }

    /// Letters and digits without anything between them: `header`, `4711`, `parseHttpHeader`, `inv20240315`. What is
    /// too long for a term is data, whose parts mean nothing either.
    fn part(&mut self, part: &str) {
        if part.len() > TERM_BYTES_MAX {
            return;
        }
        if is_number(part) {
            return self.whole(part);
        }
        let pieces = humps(singular(part));
        if pieces.len() == 1 {
            return self.word(pieces[0]);
        }
        // Without its ending, as it is found when somebody writes it in lower case.
        self.word(part);
        for piece in pieces {
            if is_number(piece) {
                self.whole(piece);
            } else {
                self.word(piece);
            }
        }
    }

    /// A word without its ending, unless it says nothing.
    fn word(&mut self, word: &str) {
        self.term.clear();
        fold::push_folded(word, &mut self.term);
        // A mark that stands alone folds to nothing.
        if self.term.is_empty() || stop::is_stop(&self.term) || self.term.len() > TERM_BYTES_MAX {
            return;
        }
        if self.term.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            let stem = self.stemmer.stem(&self.term);
            (self.emit)(&stem, Kind::Spaced);
        } else {
            (self.emit)(&self.term, Kind::Spaced);
        }
    }

    /// Something that is looked for exactly as it is written, but for case.
    fn whole(&mut self, term: &str) {
        self.term.clear();
        fold::push_folded(term, &mut self.term);
        if !self.term.is_empty() && self.term.len() <= TERM_BYTES_MAX {
            (self.emit)(&self.term, Kind::Spaced);
        }
    }

    /// A day in numbers, year first or last, also as its eight digits.
    fn date(&mut self, parts: &[&str]) -> bool {
        let &[first, second, third] = parts else { return false };
        let date =
            compact_date(first, second, third).or_else(|| compact_date(third, second, first));
        if let Some(date) = &date {
            self.whole(date);
        }
        date.is_some()
    }
}

/// A number in one form, if it is one with groups: `1,280` and `1,280.50` as `1280` and `1280.50`.
fn number(run: &str) -> Option<String> {
    let (whole, fraction) = run.split_once('.').unwrap_or((run, ""));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let has_groups = whole.contains(',') && (1..=3).contains(&first.len());
    let fits =
        has_groups && is_number(first) && groups.all(|group| group.len() == 3 && is_number(group));
    if !fits || !(fraction.is_empty() || is_number(fraction)) || run.ends_with('.') {
        return None;
    }
    Some(run.replace(',', ""))
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|character| class(character) == Class::Digit)
}

/// `1.2.3`, `v1.2.3`: numbers with dots, of which the parts alone mean nothing.
fn is_version(parts: &[&str], piece: &str) -> bool {
    let separators = piece.chars().filter(|character| !character.is_alphanumeric());
    parts.len() > 1
        && separators.clone().count() == parts.len() - 1
        && separators.into_iter().all(|character| character == '.')
        && parts[1..].iter().all(|part| is_number(part))
        && is_number(parts[0].strip_prefix(['v', 'V']).unwrap_or(parts[0]))
}

/// `GPU` of `GPUs`, which a stemmer leaves as it is.
fn singular(part: &str) -> &str {
    match part.strip_suffix('s') {
        Some(one) if one.len() > 1 && one.bytes().all(|byte| byte.is_ascii_uppercase()) => one,
        _ => part,
    }
}

/// The words of an identifier that are told apart by case, and letters from longer numbers. Short numbers belong to
/// their letters: `p53` and `H5N1` are names.
fn humps(part: &str) -> Vec<&str> {
    const PIECE_BYTES_MIN: usize = 3;
    let characters: Vec<(usize, char)> = part.char_indices().collect();
    let mut pieces = Vec::new();
    let mut from = 0;
    for index in 1..characters.len() {
        let (at, character) = characters[index];
        let before = characters[index - 1].1;
        let after = characters.get(index + 1).map(|&(_, after)| after);
        let begins_word = before.is_uppercase() && after.is_some_and(char::is_lowercase);
        let is_hump = character.is_uppercase() && (before.is_lowercase() || begins_word);
        let is_digits_edge =
            character.is_numeric() != before.is_numeric() && has_long_number(part, at);
        // One letter before a hump is part of a name, as in `mRNA` and `iPhone`.
        if (is_hump && at - from > 1) || is_digits_edge {
            pieces.push(&part[from..at]);
            from = at;
        }
    }
    pieces.push(&part[from..]);
    // Two pieces of which one is no word are a name: `siRNA`, `TNFalpha`.
    let is_name = |piece: &&str| piece.len() < PIECE_BYTES_MIN;
    if pieces.len() == 2
        && !pieces.iter().any(|piece| is_number(piece))
        && pieces.iter().any(is_name)
    {
        return vec![part];
    }
    pieces
}

/// Whether the digits that begin or end at `at` are long enough to be looked for by themselves.
fn has_long_number(part: &str, at: usize) -> bool {
    const DIGITS_MIN: usize = 4;
    let before = part[..at].chars().rev().take_while(|character| character.is_numeric()).count();
    let after = part[at..].chars().take_while(|character| character.is_numeric()).count();
    before.max(after) >= DIGITS_MIN
}
