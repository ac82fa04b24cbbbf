//! Keys into a settings file that a person wrote, without losing anything else of it.
//!
//! [`merged`] says in values what must come out. The module of each form changes the text in place, so
//! that comments, order and spacing stay, and is not believed: what it made is read again and must say
//! exactly that, or it is refused. Not here: files.

mod json;
mod toml;
mod yaml;

use serde_json::{Map, Value};

/// How a settings file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON, with comments and trailing commas where somebody has them.
    Json,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

/// Why a text is left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// It cannot be read; where and why.
    #[error("{0}")]
    Broken(String),
    /// It can be read, but not be changed without losing something.
    #[error("it cannot be changed without losing something: {0}")]
    Intricate(String),
}

/// The text `old` with `wanted` in it: the same text if it says so already.
///
/// # Errors
/// [`Problem`], when the text is broken or too intricate.
pub(super) fn merge(form: Form, old: &str, wanted: &Value) -> Result<String, Problem> {
    let before = read(form, old)?;
    let after = merged(&before, wanted);
    if after == before {
        return Ok(old.to_owned());
    }
    let text = match form {
        Form::Json => json::put(old, wanted)?,
        Form::Toml => toml::put(old, wanted)?,
        Form::Yaml => yaml::put(old, &before, wanted)?,
    };
    match read(form, &text) {
        Ok(read) if read == after => Ok(text),
        Ok(_) | Err(_) => Err(Problem::Intricate("its parts are written unusually".to_owned())),
    }
}

/// A new text that says `value`, with a line end.
pub(super) fn render(form: Form, value: &Value) -> String {
    match form {
        Form::Json => json::render(value),
        Form::Toml => toml::render(value),
        Form::Yaml => yaml::render(value),
    }
}

fn read(form: Form, text: &str) -> Result<Value, Problem> {
    match form {
        Form::Json => json::read(text),
        Form::Toml => toml::read(text),
        Form::Yaml => yaml::read(text),
    }
}

/// What `old` says once it says `wanted` too: maps key by key, lists of named things name by name, and
/// everything else as wanted.
fn merged(old: &Value, wanted: &Value) -> Value {
    match (old, wanted) {
        (Value::Object(old), Value::Object(wanted)) => {
            let mut all = old.clone();
            for (key, value) in wanted {
                let value = old.get(key).map_or_else(|| value.clone(), |old| merged(old, value));
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        (Value::Array(old), Value::Array(wanted)) if are_named(wanted) => {
            let mut all = old.clone();
            for item in wanted {
                match all.iter().position(|other| is_same(other, item)) {
                    Some(at) => all[at] = merged(&all[at], item),
                    None => all.push(item.clone()),
                }
            }
            Value::Array(all)
        }
        (_, wanted) => wanted.clone(),
    }
}

/// Whether a list is of things with names, which are told apart by them.
fn are_named(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| name(item).is_some())
}

/// Whether two things of a list are the same one.
fn is_same(one: &Value, other: &Value) -> bool {
    one.is_object() && name(one).is_some() && name(one) == name(other)
}

/// What tells a thing of a list from others: its `id`, or else its `name`.
fn name(item: &Value) -> Option<&str> {
    let map: &Map<String, Value> = item.as_object()?;
    map.get("id").or_else(|| map.get("name"))?.as_str()
}
