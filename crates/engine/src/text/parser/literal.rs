//! Values as some models write them in calls: Python's (LFM2), and Gemma's, whose texts stand between
//! marks of their own. Read when they are whole, and given as JSON.

use serde_json::{Map, Number, Value};

use super::json::is_of_name;
use crate::limits::CALL_DEPTH_MAX;

/// What Gemma puts around a text.
pub(super) const QUOTE: &str = "<|\"|>";

/// A function's name and its arguments as JSON.
pub(super) type Call = (String, String);

/// `[name(key=value, …), …]`, with or without the brackets.
pub(super) fn python_calls(text: &str) -> Option<Vec<Call>> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let mut reader = Reader { rest: inner, depth: 0 };
    let mut calls = Vec::new();
    while !reader.at_end() {
        let name = reader.word()?;
        reader.mark("(")?;
        calls.push((name, Value::Object(reader.members("=", ")")?).to_string()));
        if !reader.at_end() {
            reader.mark(",")?;
        }
    }
    Some(calls)
}

/// `call:name{key:value, …}`.
pub(super) fn gemma_call(text: &str) -> Option<Call> {
    let mut reader = Reader { rest: text.trim().strip_prefix("call:")?, depth: 0 };
    let name = reader.word()?;
    reader.mark("{")?;
    let arguments = reader.members(":", "}")?;
    reader.at_end().then(|| (name, Value::Object(arguments).to_string()))
}

/// A value that stands alone and is no text: JSON, or Python's words for true, false and nothing.
pub(super) fn alone(text: &str) -> Option<Value> {
    let text = text.trim();
    word_value(text).or_else(|| serde_json::from_str(text).ok()).or_else(|| {
        // Lists and objects as Python prints them.
        let mut reader = Reader { rest: text, depth: 0 };
        let value = text.starts_with(['[', '{']).then(|| reader.value())??;
        reader.at_end().then_some(value)
    })
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn at_end(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.is_empty()
    }

    fn mark(&mut self, mark: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(mark)?;
        Some(())
    }

    fn until(&mut self, is_over: impl FnMut(char) -> bool) -> &'a str {
        let end = self.rest.find(is_over).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        text
    }

    fn word(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let word = self.until(|character| !is_of_name(character));
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// Keys and values up to the mark that closes them.
    fn members(&mut self, between: &str, close: &str) -> Option<Map<String, Value>> {
        let mut members = Map::new();
        while self.mark(close).is_none() {
            let key = self.key(between)?;
            self.mark(between)?;
            members.insert(key, self.value()?);
            if self.mark(",").is_none() {
                self.mark(close)?;
                break;
            }
        }
        Some(members)
    }

    fn key(&mut self, between: &str) -> Option<String> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with(['"', '\'']) || self.rest.starts_with(QUOTE) {
            let Value::String(key) = self.value()? else { return None };
            return Some(key);
        }
        let end = self.rest.find(between)?;
        let key = self.rest[..end].trim();
        let is_key = !key.is_empty() && !key.contains([',', '{', '}', '(', ')', '[', ']']);
        self.rest = &self.rest[end..];
        is_key.then(|| key.to_owned())
    }

    fn value(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > CALL_DEPTH_MAX {
            return None;
        }
        self.rest = self.rest.trim_start();
        let value = if self.mark("[").is_some() {
            self.list("]")?
        } else if self.mark("(").is_some() {
            self.list(")")?
        } else if self.mark("{").is_some() {
            Value::Object(self.members(":", "}")?)
        } else if let Some(inner) = self.rest.strip_prefix(QUOTE) {
            let (text, rest) = inner.split_once(QUOTE)?;
            self.rest = rest;
            Value::from(text)
        } else if self.rest.starts_with(['"', '\'']) {
            Value::from(self.text()?)
        } else {
            let word = self.until(|character| ",]})".contains(character)).trim();
            word_value(word).or_else(|| number(word))?
        };
        self.depth -= 1;
        Some(value)
    }

    fn list(&mut self, close: &str) -> Option<Value> {
        let mut values = Vec::new();
        while self.mark(close).is_none() {
            values.push(self.value()?);
            if self.mark(",").is_none() {
                self.mark(close)?;
                break;
            }
        }
        Some(Value::Array(values))
    }

    /// A text in Python's quotes.
    fn text(&mut self) -> Option<String> {
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|q| self.rest.starts_with(q))?;
        // Two quotes and no third are a text without anything in it.
        self.rest = &self.rest[quote.len()..];
        let mut text = String::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                self.rest = rest;
                return Some(text);
            }
            let character = self.next()?;
            if character == '\\' { self.escape(&mut text)? } else { text.push(character) }
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        Some(character)
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let character = self.next()?;
        match character {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            '\\' | '"' | '\'' | '/' => text.push(character),
            '\n' => {}
            'x' => text.push(self.code(2)?),
            'u' => text.push(self.unit()?),
            'U' => text.push(self.code(8)?),
            // Python keeps a backslash that means nothing.
            _ => text.extend(['\\', character]),
        }
        Some(())
    }

    /// A character by its number, or by the two halves of a pair as JSON writes it.
    fn unit(&mut self) -> Option<char> {
        let number = |text: &str| u16::from_str_radix(text.get(..4)?, 16).ok();
        let first = number(self.rest)?;
        let second = self.rest[4..].strip_prefix("\\u").and_then(number);
        let units = [Some(first), second].into_iter().flatten();
        let character = char::decode_utf16(units).next()?.ok()?;
        let digits = if character.len_utf16() == 2 { "d83e\\udd80".len() } else { "00e9".len() };
        self.rest = &self.rest[digits..];
        Some(character)
    }

    /// A character by its number.
    fn code(&mut self, digits: usize) -> Option<char> {
        let (number, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        char::from_u32(u32::from_str_radix(number, 16).ok()?)
    }
}

fn word_value(word: &str) -> Option<Value> {
    match word {
        "true" | "True" => Some(Value::Bool(true)),
        "false" | "False" => Some(Value::Bool(false)),
        "null" | "None" | "none" => Some(Value::Null),
        _ => None,
    }
}

fn number(word: &str) -> Option<Value> {
    let number = || word.parse().ok().and_then(Number::from_f64).map(Value::Number);
    serde_json::from_str(word).ok().filter(Value::is_number).or_else(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: &str) -> Call {
        (name.to_owned(), arguments.to_owned())
    }

    #[test]
    fn python_calls_are_read() {
        assert_eq!(
            python_calls(r#"[f(a=1, b='it\'s', c=[1.5, True, None], d={"k": (2,)}), g()]"#)
                .unwrap(),
            [call("f", r#"{"a":1,"b":"it's","c":[1.5,true,null],"d":{"k":[2]}}"#), call("g", "{}")]
        );
        assert_eq!(
            python_calls("f(a=\"\"\"x\n\"y\"z\"\"\", b='', c=-.5)").unwrap(),
            [call("f", r#"{"a":"x\n\"y\"z","b":"","c":-0.5}"#)]
        );
        assert_eq!(
            python_calls(r"[f(a='\u00e9\x41\d')]").unwrap(),
            [call("f", r#"{"a":"éA\\d"}"#)]
        );
        let json = r#"[f(a="\ud83e\udd80\u0041\b\f\/")]"#;
        assert_eq!(python_calls(json).unwrap(), [call("f", r#"{"a":"🦀A\b\f/"}"#)]);
        assert_eq!(python_calls(r#"[f(a="\ud83e")]"#), None, "half of a pair");
        for broken in ["[f(1)]", "[f(a=1]", "[f(a=x)]", "f", "[f(a='x)]", "[f() g()]", "[1, 2]"] {
            assert_eq!(python_calls(broken), None, "{broken}");
        }
        assert_eq!(python_calls(&format!("[f(a={})]", "[".repeat(100_000))), None);
    }

    #[test]
    fn gemma_calls_are_read() {
        let text = "call:f{a:<|\"|>x, {y}<|\"|>,b:{k:[1,true,<|\"|><|\"|>]},<|\"|>c<|\"|>:null}";
        assert_eq!(
            gemma_call(text).unwrap(),
            call("f", r#"{"a":"x, {y}","b":{"k":[1,true,""]},"c":null}"#)
        );
        assert_eq!(gemma_call("call:now{}").unwrap(), call("now", "{}"));
        for broken in ["call:f", "call:f{a}", "call:f{a:1", "call:f{} x", "f{}"] {
            assert_eq!(gemma_call(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_value_alone_is_json_or_pythons() {
        assert_eq!(alone("[1, 'a', None]"), Some(serde_json::json!([1, "a", null])));
        assert_eq!(alone(" True\n"), Some(Value::Bool(true)));
        assert_eq!(alone("1e5"), Some(serde_json::json!(1e5)));
        assert_eq!(alone("007"), None);
        assert_eq!(alone("Paris"), None);
    }
}
