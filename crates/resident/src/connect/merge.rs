//! Keys into a settings file that a person wrote, and out of it, without losing anything else of it.
//!
//! [`merged`] and [`forget`] say in values what must come out. The module of each form changes the text in place, so
//! that comments, order and spacing stay, and is not believed: what it made is read again and must say
//! exactly that, or it is refused. Not here: files.

mod json;
mod toml;
mod yaml;

use serde_json::{Map, Value};

/// What comments begin with in any of the forms.
const COMMENT_SIGNS: [&str; 3] = ["#", "//", "/*"];

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

/// Keys, each within the one before; in a list of named things, a name.
pub(super) type Place = &'static [&'static str];

/// What an earlier run may have written and a client must not find any more.
#[derive(Debug)]
pub(super) struct Leftover {
    /// Where it would be.
    pub(super) place: Place,
    /// What it would say; anything else there is a person's own.
    pub(super) value: String,
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
    proved(form, text, &after)
}

/// The text `old` without what is left over: the same text if that is not in it.
///
/// # Errors
/// [`Problem`], when the text is broken or too intricate, or a comment would go too.
pub(super) fn take(form: Form, old: &str, leftover: &Leftover) -> Result<String, Problem> {
    let mut after = read(form, old)?;
    let place = leftover.place;
    if at(&after, place).and_then(Value::as_str) != Some(leftover.value.as_str()) {
        return Ok(old.to_owned());
    }
    forget(&mut after, place);
    let text = match form {
        Form::Json => json::take(old, place)?,
        Form::Toml => toml::take(old, place)?,
        Form::Yaml => yaml::take(old, place)?,
    };
    // What goes has none of these signs in it.
    if COMMENT_SIGNS.iter().any(|sign| text.matches(sign).count() != old.matches(sign).count()) {
        let what = format!("the comment at '{}', which has to go", place.join("."));
        return Err(Problem::Intricate(what));
    }
    proved(form, text, &after)
}

/// The text, if it says that and nothing else.
fn proved(form: Form, text: String, after: &Value) -> Result<String, Problem> {
    match read(form, &text) {
        Ok(read) if read == *after => Ok(text),
        Ok(_) | Err(_) => Err(Problem::Intricate("its parts are written unusually".to_owned())),
    }
}

/// Whether a text says anything at `place`; not, when it cannot be read.
pub(super) fn says(form: Form, text: &str, place: Place) -> bool {
    read(form, text).is_ok_and(|value| at(&value, place).is_some())
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

/// What a value holds at `place`.
fn at<'a>(value: &'a Value, place: &[&str]) -> Option<&'a Value> {
    place.iter().try_fold(value, |value, step| match value {
        Value::Object(map) => map.get(*step),
        Value::Array(items) => items.iter().find(|item| name(item) == Some(step)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// Takes the key at `place` out of a value.
fn forget(value: &mut Value, place: &[&str]) {
    match (value, place) {
        (Value::Object(map), [key]) => {
            map.remove(*key);
        }
        (Value::Object(map), [key, rest @ ..]) => {
            if let Some(inner) = map.get_mut(*key) {
                forget(inner, rest);
            }
        }
        (Value::Array(items), [step, rest @ ..]) => {
            if let Some(item) = items.iter_mut().find(|item| name(item) == Some(step)) {
                forget(item, rest);
            }
        }
        (_, _) => {}
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
