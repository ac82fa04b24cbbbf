//! What a schema says of a text that stands without quotes.
//!
//! Not here: what stands around it (`values`).

use serde_json::{Map, Value};

/// What a text may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Texts<'a> {
    /// One of these.
    OneOf(Vec<&'a str>),
    /// Any that this allows, which is added to a regular expression.
    Like {
        limits: String,
        may_be_empty: bool,
        /// It may be nothing else.
        is_empty: bool,
    },
}

impl<'a> Texts<'a> {
    /// Of a schema of texts. What it says beside this is an error where the tool is strict, and else left out.
    pub(super) fn of(schema: &'a Map<String, Value>, is_strict: bool) -> Result<Self, String> {
        let says = |key: &&&str| schema.contains_key(**key);
        if let Some(key) = OTHERS.iter().find(says).filter(|_| is_strict) {
            return Err(refused(key));
        }
        let length = Length::of(schema, is_strict)?;
        let pattern = schema.get("pattern");
        if let Some(values) = values(schema) {
            if pattern.is_some() && is_strict {
                return Err(refused("pattern beside enum or const"));
            }
            let texts = values.into_iter().filter_map(Value::as_str);
            return Ok(Self::OneOf(texts.filter(|text| length.fits(text)).collect()));
        }
        let mut limits = length.limits();
        match pattern.and_then(Value::as_str) {
            Some(pattern) => match anchored(pattern) {
                Some(pattern) => limits.push_str(&format!(" & /{pattern}/")),
                None if is_strict => return Err(refused(&format!("the pattern {pattern:?}"))),
                None => {}
            },
            None if pattern.is_some() && is_strict => return Err(refused("such a pattern")),
            None => {}
        }
        let may_be_empty = length.least == 0 && pattern.is_none();
        Ok(Self::Like { limits, may_be_empty, is_empty: length.most == Some(0) })
    }
}

/// Keywords that may say something of a text, and are not among those that are written.
const OTHERS: [&str; 8] = ["$dynamicRef", "$ref", "allOf", "anyOf", "format", "if", "not", "oneOf"];

fn refused(what: &str) -> String {
    format!(
        "{what} cannot be enforced in text without quotes, which is this model's form of calls; leave it out"
    )
}

/// The values that are listed one by one.
fn values(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    let listed = schema.get("enum").and_then(Value::as_array);
    match (listed, schema.get("const")) {
        (Some(listed), None) => Some(listed.iter().collect()),
        (None, Some(only)) => Some(vec![only]),
        (Some(listed), Some(only)) => Some(listed.iter().filter(|value| *value == only).collect()),
        (None, None) => None,
    }
}

/// How many characters a text has.
struct Length {
    least: u64,
    most: Option<u64>,
}

impl Length {
    fn of(schema: &Map<String, Value>, is_strict: bool) -> Result<Self, String> {
        let count = |key: &str| match schema.get(key) {
            Some(value) if is_strict && value.as_u64().is_none() => {
                Err(format!("{key} is {value}, and must be a whole number"))
            }
            value => Ok(value.and_then(Value::as_u64)),
        };
        let (least, most) = (count("minLength")?.unwrap_or(0), count("maxLength")?);
        match most {
            Some(most) if least > most => {
                Err(format!("minLength {least} is over maxLength {most}"))
            }
            Some(_) | None => Ok(Self { least, most }),
        }
    }

    fn fits(&self, text: &str) -> bool {
        let characters = text.chars().count() as u64;
        characters >= self.least && self.most.is_none_or(|most| characters <= most)
    }

    fn limits(&self) -> String {
        match *self {
            Self { least, most: Some(most) } => format!(" & /(?s:.{{{least},{most}}})/"),
            Self { least: 0, most: None } => String::new(),
            Self { least, most: None } => format!(" & /(?s:.{{{least},}})/"),
        }
    }
}

/// A pattern, which need only match somewhere, as one that matches the whole; `None` where its anchors
/// stand elsewhere than at its ends.
fn anchored(pattern: &str) -> Option<String> {
    let (from_start, rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (to_end, body) = match rest.strip_suffix('$') {
        Some(body) if !body.ends_with('\\') => (true, body),
        Some(_) | None => (false, rest),
    };
    let mut out = String::new();
    let (mut depth, mut in_class) = (0_usize, false);
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                'd' => out.push_str("[0-9]"),
                'w' => out.push_str("[A-Za-z0-9_]"),
                'b' | 'B' => return None,
                next => out.extend(['\\', next]),
            },
            '/' => out.push_str("\\/"),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                // The one that turns a class round is no anchor.
                if let Some(rest) = characters.as_str().strip_prefix('^') {
                    out.push('^');
                    characters = rest.chars();
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '^' | '$' if !in_class => return None,
            '|' if !in_class && depth == 0 && (from_start || to_end) => return None,
            '(' if !in_class => {
                depth += 1;
                out.push('(');
            }
            ')' if !in_class => {
                depth = depth.checked_sub(1)?;
                out.push(')');
            }
            _ => out.push(character),
        }
    }
    let any = |is_fixed: bool| if is_fixed { "" } else { "(?s:.*)" };
    Some(format!("{}({out}){}", any(from_start), any(to_end)))
}
