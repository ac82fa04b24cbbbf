//! The tokens of HTML and XHTML with their places. It never looks at a byte more than a few times, whatever is not closed.

use std::ops::Range;

use quick_xml::escape::resolve_html5_entity;

/// The longest name of a character, `&CounterClockwiseContourIntegral;`, with room for numbers.
const ENTITY_BYTES_MAX: usize = 40;

/// Elements whose content is no HTML until their end tag, and is never shown.
const OPAQUE: &[&str] = &["script", "style", "xmp", "noembed", "noframes"];

/// Elements that have no end.
const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];

/// A piece of a page.
pub(super) enum Token<'a> {
    /// Text in which entities stand for characters.
    Text(Range<usize>),
    /// Text in which nothing stands for anything.
    Raw(Range<usize>),
    /// A start tag.
    Start(Tag<'a>),
    /// An end tag.
    End {
        /// In small letters.
        name: String,
    },
}

/// A start tag.
pub(super) struct Tag<'a> {
    /// In small letters.
    pub(super) name: String,
    /// Where it stands.
    pub(super) range: Range<usize>,
    /// Whether it has no end tag.
    pub(super) is_empty: bool,
    attributes: &'a str,
}

impl<'a> Tag<'a> {
    /// The value of an attribute as it is written; empty where it has none.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.attributes;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/' || c == '=');
            if rest.is_empty() {
                return None;
            }
            let length = rest
                .find(|c: char| c.is_whitespace() || c == '=' || c == '/')
                .unwrap_or(rest.len());
            let found = &rest[..length];
            rest = rest[length..].trim_start();
            let mut value = "";
            if let Some(after) = rest.strip_prefix('=') {
                let after = after.trim_start();
                let quote = after.chars().next().filter(|quote| ['"', '\''].contains(quote));
                let (begin, end) = match quote {
                    Some(quote) => (1, after[1..].find(quote).map_or(after.len(), |end| end + 1)),
                    None => (0, after.find(char::is_whitespace).unwrap_or(after.len())),
                };
                value = &after[begin..end];
                rest = &after[(end + begin).min(after.len())..];
            }
            if found.eq_ignore_ascii_case(name) {
                return Some(value);
            }
        }
    }
}

/// All tokens of a page.
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// The element whose content is passed over.
    opaque: Option<String>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, opaque: None }
    }

    /// After this, or at the end of everything.
    fn after(&self, from: usize, what: &str) -> usize {
        self.text[from..].find(what).map_or(self.text.len(), |at| from + at + what.len())
    }

    /// Passes over a declaration, with all that it declares.
    fn declaration_end(&self, from: usize) -> usize {
        let rest = &self.text.as_bytes()[from..];
        let mut brackets = 0_u32;
        let mut quote = None;
        for (at, byte) in rest.iter().enumerate() {
            match (quote, byte) {
                (Some(open), byte) if open == *byte => quote = None,
                (Some(_), _) => {}
                // Outside of brackets a quote may be a lone apostrophe of a careless page.
                (None, b'"' | b'\'') if brackets > 0 => quote = Some(*byte),
                (None, b'[') => brackets += 1,
                (None, b']') => brackets = brackets.saturating_sub(1),
                (None, b'>') if brackets == 0 => return from + at + 1,
                (None, _) => {}
            }
        }
        self.text.len()
    }

    /// The end of a tag, past its `>`; one in a quoted value is none.
    fn tag_end(&self, from: usize) -> usize {
        let mut quote = None;
        let mut is_value = false;
        for (at, byte) in self.text.as_bytes()[from..].iter().enumerate() {
            match (quote, byte) {
                (Some(open), byte) if open == *byte => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') if is_value => quote = Some(*byte),
                (None, b'>') => return from + at + 1,
                (None, b'=') => is_value = true,
                (None, byte) => is_value = is_value && byte.is_ascii_whitespace(),
            }
        }
        self.text.len()
    }

    fn tag(&mut self, start: usize) -> Token<'a> {
        let is_end = self.text.as_bytes()[start + 1] == b'/';
        let name_at = start + 1 + usize::from(is_end);
        let rest = &self.text[name_at..];
        let length =
            rest.find(|c: char| c.is_whitespace() || "/>".contains(c)).unwrap_or(rest.len());
        let name = rest[..length].to_lowercase();
        // Books may write names with their namespace.
        let name = name.rsplit(':').next().unwrap_or_default().to_owned();
        let end = self.tag_end(name_at + length);
        self.at = end;
        if is_end {
            return Token::End { name };
        }
        let attributes = self.text[name_at + length..end].trim_end_matches('>');
        let is_closed = attributes.ends_with('/');
        let is_empty = is_closed || VOID.contains(&name.as_str());
        if !is_closed && OPAQUE.contains(&name.as_str()) {
            self.opaque = Some(name.clone());
        }
        Token::Start(Tag { name, range: start..end, is_empty, attributes })
    }

    /// Passes over what a script or style is made of.
    fn pass_over(&mut self, name: &str) {
        let bytes = self.text.as_bytes();
        let mut from = self.at;
        loop {
            let found = self.text[from..].find("</").map(|at| from + at);
            let Some(found) = found else {
                self.at = self.text.len();
                return;
            };
            let after = &bytes[found + 2..];
            if after.len() >= name.len()
                && after[..name.len()].eq_ignore_ascii_case(name.as_bytes())
            {
                self.at = found;
                return;
            }
            from = found + 2;
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if let Some(name) = self.opaque.take() {
            self.pass_over(&name);
        }
        loop {
            let start = self.at;
            let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
            if !rest.starts_with('<') {
                self.at = rest.find('<').map_or(self.text.len(), |at| start + at);
                return Some(Token::Text(start..self.at));
            }
            let second = rest.as_bytes().get(1).copied().unwrap_or_default();
            if rest.starts_with("<!--") {
                self.at = self.after(start + 4, "-->");
            } else if rest.starts_with("<![CDATA[") {
                self.at = self.after(start, "]]>");
                let end =
                    if self.text[start..self.at].ends_with("]]>") { self.at - 3 } else { self.at };
                return Some(Token::Raw((start + 9).min(end)..end));
            } else if second == b'!' {
                self.at = self.declaration_end(start);
            } else if second == b'?' {
                self.at = self.after(start, ">");
            } else if second.is_ascii_alphabetic()
                || (second == b'/' && rest.as_bytes().get(2).is_some_and(u8::is_ascii_alphabetic))
            {
                return Some(self.tag(start));
            } else {
                // "a < b" is text.
                let next =
                    self.text[start + 1..].find('<').map_or(self.text.len(), |at| start + 1 + at);
                self.at = next;
                return Some(Token::Text(start..next));
            }
        }
    }
}

/// The character that an entity at the beginning of this text stands for, and its length.
pub(super) fn entity(text: &str) -> Option<(String, usize)> {
    let window = &text[1..text.floor_char_boundary(ENTITY_BYTES_MAX)];
    let length =
        window.find(|c: char| !c.is_ascii_alphanumeric() && c != '#').unwrap_or(window.len());
    let name = &window[..length];
    let is_closed = window[length..].starts_with(';');
    let whole = 1 + length + usize::from(is_closed);
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return Some((
            char::from_u32(code).filter(|c| *c != '\0').unwrap_or('\u{fffd}').to_string(),
            whole,
        ));
    }
    // Browsers take the oldest ones without their semicolon too.
    let is_old = ["amp", "lt", "gt", "quot", "nbsp", "copy", "reg"].contains(&name);
    if !is_closed && !is_old {
        return None;
    }
    resolve_html5_entity(name).map(|value| (value.to_owned(), whole))
}
