//! JSON as a model writes it, a few characters at a time: where a value ends, and where in a call its
//! arguments begin.

use std::fmt::Write as _;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::limits::{CALL_DEPTH_MAX, CALL_HEAD_BYTES_MAX};
use crate::text::markup::Tools;

/// How far into a value its characters have led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// It goes on.
    Inside,
    /// That was its last character.
    Ended,
    /// This is no JSON, or too deep.
    Broken,
}

/// Follows brackets and texts of an object or a list. What stands between them is not looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Nesting {
    open: Vec<char>,
    in_text: bool,
    escaped: bool,
}

impl Nesting {
    /// Behind the bracket that opens an object.
    pub(super) fn in_object() -> Self {
        Self { open: vec!['}'], ..Self::default() }
    }

    /// Whether it is in the outermost object or list, and in no text.
    pub(super) fn is_outermost(&self) -> bool {
        self.open.len() == 1 && !self.in_text
    }

    pub(super) fn push(&mut self, character: char) -> Depth {
        if self.in_text {
            match character {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                '"' => self.in_text = false,
                _ => {}
            }
            return Depth::Inside;
        }
        match character {
            '"' => self.in_text = true,
            '{' => self.open.push('}'),
            '[' => self.open.push(']'),
            '}' | ']' if self.open.pop() != Some(character) => return Depth::Broken,
            '}' | ']' if self.open.is_empty() => return Depth::Ended,
            _ => {}
        }
        if self.open.len() > CALL_DEPTH_MAX { Depth::Broken } else { Depth::Inside }
    }

    /// Adds the last pushed character to what is passed on. A line break inside a text is not allowed
    /// in JSON, though models write it; what they mean is clear.
    pub(super) fn write(&self, character: char, out: &mut String) {
        match character {
            '\n' if self.in_text => out.push_str("\\n"),
            '\r' if self.in_text => out.push_str("\\r"),
            '\t' if self.in_text => out.push_str("\\t"),
            _ if self.in_text && character < ' ' => {
                // Writing into a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
}

/// Whether this is one whole value.
pub(super) fn is_whole(json: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(json).is_ok()
}

/// What the beginning of an object that should be a call says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Too little.
    More,
    /// The name, and the place where the arguments begin, which are an object.
    Arguments { name: String, at: usize },
    /// The members stand in another order, or are of another kind: it is read when it is whole.
    Other,
    /// It is no object, or calls none of the tools that it had to call.
    NoCall,
}

/// Reads the members of an object up to its arguments. With `tools` it is a call only if it looks like
/// one of these.
pub(super) fn head(object: &str, tools: Option<&Tools>) -> Head {
    let looked_at = &object[..object.floor_char_boundary(CALL_HEAD_BYTES_MAX)];
    let short = if looked_at.len() < object.len() { other(tools) } else { Head::More };
    members(looked_at, tools).unwrap_or(short)
}

/// `None` when the object is too short.
fn members(object: &str, tools: Option<&Tools>) -> Option<Head> {
    let mut name = None;
    let mut rest = object.strip_prefix('{')?;
    loop {
        rest = rest.trim_start();
        let (key, after) = match text(rest)? {
            Text::Is(key, after) => (key, after),
            Text::Not => return Some(Head::NoCall),
        };
        if tools.is_some() && !is_of_call(&key) {
            return Some(Head::NoCall);
        }
        rest = after.trim_start();
        if rest.is_empty() {
            return None;
        }
        let Some(value) = rest.strip_prefix(':').map(str::trim_start) else {
            return Some(Head::NoCall);
        };
        if value.is_empty() {
            return None;
        }
        if is_arguments(&key) {
            return Some(match name {
                Some(name) if value.starts_with('{') => {
                    Head::Arguments { name, at: object.len() - value.len() }
                }
                Some(_) | None => Head::Other,
            });
        }
        let Text::Is(said, after) = text(value)? else { return Some(Head::Other) };
        if key == "name" {
            if tools.is_some_and(|tools| !tools.has(&said)) {
                return Some(Head::NoCall);
            }
            name = Some(said).filter(|name| is_name(name));
        }
        rest = after.trim_start();
        if rest.is_empty() {
            return None;
        }
        let Some(after) = rest.strip_prefix(',') else { return Some(Head::Other) };
        rest = after;
    }
}

/// What is no usual call can be one of an unusual form, if a marker says that it is one.
fn other(tools: Option<&Tools>) -> Head {
    if tools.is_some() { Head::NoCall } else { Head::Other }
}

fn is_of_call(key: &str) -> bool {
    ["name", "type", "id", "function"].contains(&key) || is_arguments(key)
}

fn is_arguments(key: &str) -> bool {
    key == "arguments" || key == "parameters"
}

enum Text<'a> {
    /// A text in quotes, and what follows it.
    Is(String, &'a str),
    Not,
}

/// `None` when it does not end.
fn text(json: &str) -> Option<Text<'_>> {
    let inner = match json.chars().next() {
        None => return None,
        Some('"') => &json[1..],
        Some(_) => return Some(Text::Not),
    };
    let mut escaped = false;
    let end = inner.find(|character| match character {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        _ => character == '"',
    })?;
    let end = end + 2;
    Some(match serde_json::from_str(&json[..end]) {
        Ok(said) => Text::Is(said, &json[end..]),
        Err(_) => Text::Not,
    })
}

/// The call that a whole object is. Some models put it into another one, as OpenAI's API does.
pub(super) fn read_call(object: &str) -> Option<(String, String)> {
    let mut call: Value = serde_json::from_str(&mended(object)).ok()?;
    if let Some(function) = call.get_mut("function").filter(|function| function.is_object()) {
        call = function.take();
    }
    let name = call.get("name")?.as_str().filter(|name| is_name(name))?.to_owned();
    let key = if call.get("arguments").is_some() { "arguments" } else { "parameters" };
    let arguments = match call.get_mut(key).map(Value::take) {
        Some(Value::String(text)) if is_whole(&text) => text,
        Some(value @ Value::Object(_)) => value.to_string(),
        None | Some(Value::Null) => "{}".to_owned(),
        Some(_) => return None,
    };
    Some((name, arguments))
}

fn mended(json: &str) -> String {
    let mut nesting = Nesting::default();
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        nesting.push(character);
        nesting.write(character, &mut out);
    }
    out
}

/// Whether a function may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_of_name)
}

/// Letters and digits as OpenAI's API has them, and what servers of tools put between parts of a name.
pub(super) fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-.:/".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::markup::{Family, Markup};

    #[track_caller]
    fn check(object: &str, expected: &Head) {
        assert_eq!(head(object, None), *expected, "{object}");
    }

    #[test]
    fn arguments_begin_once_the_name_is_known() {
        let begins = |at| Head::Arguments { name: "f".to_owned(), at };
        check(r#"{"name": "f", "arguments": {"#, &begins(27));
        check(r#"{"type":"function","name":"f","parameters":{"a"#, &begins(43));
        for short in
            ["{", r#"{"na"#, r#"{"name""#, r#"{"name":"#, r#"{"name":"f\""#, r#"{"name":"f","#]
        {
            check(short, &Head::More);
        }
        check(r#"{"arguments":{"#, &Head::Other);
        check(r#"{"name":"f","arguments":"{"#, &Head::Other);
        check(r#"{"name":"f","id":1"#, &Head::Other);
        check(r#"{"name":"f"}"#, &Head::Other);
        check("{oops", &Head::NoCall);
        check("{\"a\" is", &Head::NoCall);
        check(r#"{"name":"two words","arguments":{"#, &Head::Other);
    }

    #[test]
    fn without_a_marker_only_what_calls_an_offered_tool_is_a_call() {
        let tool = serde_json::json!({"function": {"name": "f"}});
        let tools = Markup::new(Family::default(), "", &[tool]).tools;
        let head = |object| head(object, Some(&tools));
        assert_eq!(head(r#"{"title"#), Head::More);
        assert_eq!(head(r#"{"title""#), Head::NoCall);
        assert_eq!(head(r#"{"name":"g""#), Head::NoCall);
        assert_eq!(head("{oops"), Head::NoCall);
        assert_eq!(head(r#"{"parameters":{"#), Head::Other);
        let found = Head::Arguments { name: "f".to_owned(), at: 25 };
        assert_eq!(head(r#"{"name":"f","parameters":{"#), found);
    }

    #[test]
    fn a_value_ends_with_its_last_bracket() {
        let ends = |json: &str| {
            let mut nesting = Nesting::default();
            json.chars().map(|c| nesting.push(c)).position(|depth| depth != Depth::Inside)
        };
        assert_eq!(ends(r#"{"a":"}\"}","b":[{}]} x"#), Some(20));
        assert_eq!(ends("[{]"), Some(2));
        assert_eq!(ends("{"), None);
        assert_eq!(ends(&"[".repeat(CALL_DEPTH_MAX + 1)), Some(CALL_DEPTH_MAX));
    }

    #[test]
    fn whole_calls_in_every_form_are_read() {
        let call = |arguments: &str| Some(("f".to_owned(), arguments.to_owned()));
        assert_eq!(read_call(r#"{"arguments":{"a":1},"name":"f"}"#), call(r#"{"a":1}"#));
        assert_eq!(read_call(r#"{"name":"f","arguments":"{\"a\":1}"}"#), call(r#"{"a":1}"#));
        assert_eq!(read_call(r#"{"function":{"name":"f","parameters":{}}}"#), call("{}"));
        assert_eq!(read_call(r#"{"name":"f"}"#), call("{}"));
        assert_eq!(
            read_call("{\"arguments\":{\"a\":\"x\ny\"},\"name\":\"f\"}"),
            call(r#"{"a":"x\ny"}"#)
        );
        for broken in [
            "{}",
            r#"{"name":""}"#,
            r#"{"name":"f","arguments":"oops"}"#,
            r#"{"name":"f","arguments":3}"#,
        ] {
            assert_eq!(read_call(broken), None, "{broken}");
        }
    }
}
