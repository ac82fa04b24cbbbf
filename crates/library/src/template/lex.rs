//! Go templates as pieces: texts, and actions as words. The trim marks `{{-` and `-}}` are done with here.

use super::{Untranslatable, no};

/// A text, or the words of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Word>),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// A keyword, a function, or a value such as `true`.
    Name(String),
    /// `.`, or the name behind a point: `.A.B` are two words.
    Dot,
    /// `.A`
    Field(String),
    /// `$` or `$a`, without the sign.
    Variable(String),
    Text(String),
    Number(i64),
    /// `(`, `)`, `|`, `,`, `=` or `:=`.
    Sign(&'static str),
    /// What separates arguments: `.A .B` are two, `.A.B` is one.
    Blank,
}

const SIGNS: [&str; 6] = [":=", "(", ")", "|", ",", "="];
const OPEN: &str = "{{";
const CLOSE: &str = "}}";

pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, Untranslatable> {
    let mut pieces = Vec::new();
    let (mut rest, mut trims_begin) = (text, false);
    loop {
        let (before, action) = match rest.split_once(OPEN) {
            Some((before, action)) => (before, Some(action)),
            None => (rest, None),
        };
        let trims_end = action.is_some_and(|action| {
            action.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_blank))
        });
        let before = if trims_begin { before.trim_start_matches(is_blank) } else { before };
        let before = if trims_end { before.trim_end_matches(is_blank) } else { before };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let Some(action) = action else { return Ok(pieces) };
        let action = if trims_end { &action[1..] } else { action };
        let (words, behind, trims) = self::action(action)?;
        if !words.is_empty() {
            pieces.push(Piece::Action(words));
        }
        (rest, trims_begin) = (behind, trims);
    }
}

/// The words of an action, what is behind it, and whether that loses its blanks.
fn action(text: &str) -> Result<(Vec<Word>, &str, bool), Untranslatable> {
    let begin = text.trim_start_matches(is_blank);
    if let Some(comment) = begin.strip_prefix("/*") {
        let Some((_, behind)) = comment.split_once("*/") else { return no("a comment has no end") };
        return end(behind.trim_start_matches(is_blank), behind).map_or_else(
            || no("something follows a comment"),
            |(behind, trims)| Ok((Vec::new(), behind, trims)),
        );
    }
    let (mut words, mut rest) = (Vec::new(), begin);
    loop {
        let next = rest.trim_start_matches(is_blank);
        if let Some((behind, trims)) = end(next, rest) {
            return Ok((words, behind, trims));
        }
        if next.len() < rest.len() && !words.is_empty() {
            words.push(Word::Blank);
        }
        let (word, behind) = word(next)?;
        words.push(word);
        rest = behind;
    }
}

/// What is behind the end of an action, if `next` is one; `rest` has the blanks before it.
fn end<'a>(next: &'a str, rest: &str) -> Option<(&'a str, bool)> {
    if let Some(behind) = next.strip_prefix(CLOSE) {
        return Some((behind, false));
    }
    let behind = next.strip_prefix('-')?.strip_prefix(CLOSE)?;
    (next.len() < rest.len()).then_some((behind, true))
}

fn word(text: &str) -> Result<(Word, &str), Untranslatable> {
    let mut letters = text.chars();
    match letters.next() {
        None => no("an action has no end"),
        Some('"') => quoted(text),
        Some('`') => match text[1..].split_once('`') {
            Some((raw, behind)) => Ok((Word::Text(raw.to_owned()), behind)),
            None => no("a text has no end"),
        },
        Some('$') => {
            let (name, behind) = name(&text[1..]);
            Ok((Word::Variable(name.to_owned()), behind))
        }
        Some('.') => {
            let (name, behind) = name(&text[1..]);
            let word = if name.is_empty() { Word::Dot } else { Word::Field(name.to_owned()) };
            Ok((word, behind))
        }
        Some(c) if c.is_ascii_digit() || c == '-' => {
            let length = 1 + text[1..].chars().take_while(char::is_ascii_digit).count();
            match text[..length].parse() {
                Ok(number) => Ok((Word::Number(number), &text[length..])),
                Err(_) => no(format!("'{}' is no whole number", &text[..length])),
            }
        }
        Some(c) if c.is_alphabetic() || c == '_' => {
            let (name, behind) = name(text);
            Ok((Word::Name(name.to_owned()), behind))
        }
        Some(c) => match SIGNS.into_iter().find(|sign| text.starts_with(sign)) {
            Some(sign) => Ok((Word::Sign(sign), &text[sign.len()..])),
            None => no(format!("'{c}' means nothing in it")),
        },
    }
}

fn name(text: &str) -> (&str, &str) {
    let is_outside = |c: char| !(c.is_alphanumeric() || c == '_');
    text.split_at(text.find(is_outside).unwrap_or(text.len()))
}

/// A text in quotes, with Go's escapes.
fn quoted(text: &str) -> Result<(Word, &str), Untranslatable> {
    let mut held = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, c)) = letters.next() {
        match c {
            '"' => return Ok((Word::Text(held), &text[at + 1..])),
            '\\' => held.push(match letters.next() {
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, 'r')) => '\r',
                Some((_, same @ ('"' | '\\' | '\''))) => same,
                _ => return no("a text has an escape that is not known"),
            }),
            '\n' => break,
            c => held.push(c),
        }
    }
    no("a text has no end")
}

/// What Go counts as a blank.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}
