//! From text to a Modelfile, and the quotes around values, which are proved by reading them.

use serde_json::Value;

use super::{Error, Modelfile, parameter};
use crate::{
    limits::MANIFEST_BYTES_MAX,
    manifest::{Message, Settings},
};

const QUOTE: &str = "\"";
const QUOTES: &str = "\"\"\"";

/// The text that bytes are: a byte order mark says how they are written, else they are UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<String, Error> {
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(Error::Large { bytes: bytes.len() });
    }
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        // Half a unit at the end is no character.
        let units = bytes.chunks(2).map(|two| match two {
            [a, b] => unit([*a, *b]),
            _ => 0xFFFD,
        });
        char::decode_utf16(units).map(|one| one.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    Ok(match bytes {
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    })
}

/// What a text says.
pub(super) fn modelfile(text: &str) -> Result<Modelfile, Error> {
    let mut reader = Reader { text, at: 0, line: 1 };
    let mut read = Modelfile::default();
    while let Some((line, command)) = reader.command()? {
        add(&mut read, &mut reader, line, &command)?;
    }
    if read.from.is_empty() { Err(Error::NoFrom) } else { Ok(read) }
}

fn add(read: &mut Modelfile, reader: &mut Reader, line: usize, command: &str) -> Result<(), Error> {
    let settings = &mut read.settings;
    let missing = |what| Error::Missing { line, command: command.to_owned(), what };
    match command {
        "PARAMETER" => {
            let name = reader.word(|c| c.is_ascii_alphanumeric() || c == '_');
            let name = name.ok_or_else(|| missing("a name and a value"))?;
            let value = reader.value(line)?;
            match parameter(&name, &value).map_err(|error| Error::Parameter { line, error })? {
                Some(value) => add_parameter(settings, name, value),
                None => read.ignored.push(name),
            }
        }
        "MESSAGE" => {
            let role = reader.word(|c| c.is_ascii_alphabetic());
            let role = role.ok_or_else(|| missing("system, user or assistant, and a text"))?;
            if !["system", "user", "assistant"].contains(&role.as_str()) {
                return Err(Error::Role { line, word: role });
            }
            let content = reader.value(line)?;
            settings.messages.push(Message { role, content });
        }
        _ => {
            let value = reader.value(line)?;
            match command {
                "FROM" if value.is_empty() => return Err(missing("a name or a path")),
                "FROM" => read.from.push(value),
                "ADAPTER" => read.adapters.push(value),
                "DRAFT" => read.drafts.push(value),
                "LICENSE" => settings.licenses.push(value),
                "TEMPLATE" => settings.template = Some(value),
                "SYSTEM" => settings.system = Some(value),
                "RENDERER" => settings.renderer = Some(value),
                "PARSER" => settings.parser = Some(value),
                "REQUIRES" => settings.requires = Some(version(line, value)?),
                _ => return Err(Error::Command { line, word: command.to_owned() }),
            }
        }
    }
    Ok(())
}

/// A parameter again replaces itself; a list becomes longer.
fn add_parameter(settings: &mut Settings, name: String, value: Value) {
    match (settings.parameters.get_mut(&name), value) {
        (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
        (_, value) => {
            settings.parameters.insert(name, value);
        }
    }
}

/// One to three numbers with points between, a `v` before them or not, and what may follow of a version.
fn version(line: usize, value: String) -> Result<String, Error> {
    let plain = value.strip_prefix('v').unwrap_or(&value);
    let numbers = plain.split(['-', '+']).next().unwrap_or_default();
    let is_number = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_behind = |c: char| c.is_ascii_alphanumeric() || "-+.".contains(c);
    let is_version = numbers.split('.').count() <= 3
        && numbers.split('.').all(is_number)
        && plain.chars().all(is_behind);
    if is_version { Ok(plain.to_owned()) } else { Err(Error::Version { line, value }) }
}

struct Reader<'a> {
    text: &'a str,
    /// Bytes that are read.
    at: usize,
    /// Where that is, from 1.
    line: usize,
}

impl Reader<'_> {
    /// The next command in capitals and its line, with the blank behind it read.
    fn command(&mut self) -> Result<Option<(usize, String)>, Error> {
        loop {
            self.skip(|c| c.is_ascii_whitespace());
            match self.peek() {
                None => return Ok(None),
                Some('#') => self.skip(|c| !is_newline(c)),
                Some(_) => break,
            }
        }
        let line = self.line;
        let word: String = self.rest().chars().take_while(|c| !c.is_ascii_whitespace()).collect();
        self.at += word.len();
        let command = word.to_ascii_uppercase();
        let is_command = [
            "FROM",
            "PARAMETER",
            "TEMPLATE",
            "SYSTEM",
            "ADAPTER",
            "DRAFT",
            "RENDERER",
            "PARSER",
            "LICENSE",
            "MESSAGE",
            "REQUIRES",
        ]
        .contains(&command.as_str());
        if !is_command {
            let word = word.chars().take(80).collect();
            return Err(Error::Command { line, word });
        }
        if self.peek().is_none_or(is_newline) {
            return Err(Error::Missing { line, command, what: "a value" });
        }
        self.next();
        Ok(Some((line, command)))
    }

    /// A word in the same line, with the blank behind it read; `None` when there is none, or nothing behind it.
    fn word(&mut self, is_part: impl Fn(char) -> bool) -> Option<String> {
        self.skip(is_blank);
        let word: String = self.rest().chars().take_while(|c| is_part(*c)).collect();
        self.at += word.len();
        if word.is_empty() || !self.peek().is_some_and(is_blank) {
            return None;
        }
        self.next();
        Some(word)
    }

    /// A value: to the end of the line, or to the end of the line in which its quotes are closed.
    fn value(&mut self, line: usize) -> Result<String, Error> {
        let mut held = String::new();
        loop {
            match self.next() {
                Some(c) if !is_newline(c) => {
                    // What has no glyph is no part of a text; Ollama drops it.
                    if c == '\t' || !c.is_control() {
                        held.push(c);
                    }
                }
                end => {
                    if let Some(value) = unquoted(held.trim()) {
                        return Ok(value.to_owned());
                    }
                    held.push(end.ok_or(Error::Quotes { line })?);
                }
            }
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        // Of `\r\n` the second one counts.
        if next == '\n' || next == '\r' && self.peek() != Some('\n') {
            self.line += 1;
        }
        Some(next)
    }

    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&is_skipped) {
            self.next();
        }
    }
}

/// The text between quotes; all of it when there are none, and `None` while they are open.
fn unquoted(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix(QUOTES) {
        return rest.strip_suffix(QUOTES);
    }
    match text.strip_prefix(QUOTE) {
        Some(rest) => rest.strip_suffix(QUOTE),
        None => Some(text),
    }
}

/// A value in as few quotes as bring it back.
pub(super) fn quoted(value: &str) -> String {
    let candidates =
        [value.to_owned(), format!("{QUOTE}{value}{QUOTE}"), format!("{QUOTES}{value}{QUOTES}")];
    let is_back = |written: &&String| {
        let mut reader = Reader { text: written, at: 0, line: 1 };
        let read = reader.value(1);
        // An empty value behind a blank is hard to see.
        !written.is_empty() && read.as_deref() == Ok(value) && reader.rest().is_empty()
    };
    let back = candidates.iter().find(is_back).cloned();
    back.unwrap_or_else(|| format!("{QUOTES}{value}{QUOTES}"))
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn is_newline(c: char) -> bool {
    c == '\n' || c == '\r'
}
