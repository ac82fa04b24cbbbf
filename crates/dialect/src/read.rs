//! Reading JSON so that an error names the field and what was expected there.
//!
//! Derived readers are not used on requests: their messages do not say where, a number in place of
//! a string would end a request with a riddle, and unions ("string or list of parts") say even
//! less. Strings move out of the parsed value; a large body is not copied again.

use std::{fmt, ops::RangeInclusive};

use serde_json::{Map, Value};

use crate::{
    Error,
    limits::{JSON_DEPTH_MAX, JSON_VALUES_MAX},
};

/// Where a value stands in the body. It is written out only when something is wrong there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => out.write_str("the request body"),
            Path::Key(Path::Root, key) => out.write_str(key),
            Path::Key(parent, key) => write!(out, "{parent}.{key}"),
            Path::Index(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    /// The value here is not what it should be.
    pub(crate) fn wrong(&self, expected: &str, value: &Value) -> Error {
        self.blame(
            format_args!("must be {expected}, but it is {}", describe(value)),
            "invalid_type",
        )
    }

    /// The value here has the right type and cannot be used.
    pub(crate) fn refuse(&self, why: impl fmt::Display) -> Error {
        self.blame(why, "invalid_value")
    }

    /// The value here asks for what this program does not do (yet).
    pub(crate) fn unsupported(&self, why: impl fmt::Display) -> Error {
        self.blame(why, "unsupported_value")
    }

    /// Nothing is here.
    pub(crate) fn missing(&self) -> Error {
        self.blame("is required", "missing_required_parameter")
    }

    fn blame(&self, why: impl fmt::Display, code: &str) -> Error {
        let error = Error::invalid(format!("{self} {why}")).code(code);
        match self {
            Path::Root => error,
            Path::Key(..) | Path::Index(..) => error.at(self),
        }
    }

    pub(crate) fn string(&self, value: Value) -> Result<String, Error> {
        let Value::String(text) = value else {
            return Err(self.wrong("a string", &value));
        };
        Ok(text)
    }

    pub(crate) fn list(&self, value: Value, entries_max: usize) -> Result<Vec<Value>, Error> {
        let Value::Array(list) = value else {
            return Err(self.wrong("a list", &value));
        };
        self.at_most(list.len(), entries_max)?;
        Ok(list)
    }

    /// A whole number. `2.0` counts as one: some languages write every number so.
    pub(crate) fn integer(&self, value: &Value, range: RangeInclusive<i64>) -> Result<i64, Error> {
        let Some(number) = whole(value) else {
            return Err(self.wrong("a whole number", value));
        };
        i64::try_from(number)
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.outside(number, range.start(), range.end()))
    }

    #[expect(clippy::cast_possible_truncation, reason = "samplers compute in f32")]
    pub(crate) fn number(&self, value: &Value, range: RangeInclusive<f64>) -> Result<f32, Error> {
        let Some(number) = value.as_f64() else {
            return Err(self.wrong("a number", value));
        };
        if !range.contains(&number) {
            return Err(self.outside(number, range.start(), range.end()));
        }
        Ok(number as f32)
    }

    pub(crate) fn at_most(&self, entries: usize, entries_max: usize) -> Result<(), Error> {
        if entries > entries_max {
            return Err(self.refuse(format_args!(
                "has {entries} entries, and at most {entries_max} are allowed"
            )));
        }
        Ok(())
    }

    /// A text may be so long.
    pub(crate) fn bytes_at_most(&self, bytes: usize, bytes_max: usize) -> Result<(), Error> {
        if bytes > bytes_max {
            return Err(
                self.refuse(format_args!("has {bytes} bytes, and at most {bytes_max} are allowed"))
            );
        }
        Ok(())
    }

    fn outside(
        &self,
        found: impl fmt::Display,
        low: impl fmt::Display,
        high: impl fmt::Display,
    ) -> Error {
        self.refuse(format_args!("must be from {low} to {high}, but it is {found}"))
    }
}

/// An object whose fields are taken out one by one. What nobody takes is ignored, because vendors
/// add fields. A field that is null counts as absent.
pub(crate) struct Object<'a> {
    path: &'a Path<'a>,
    fields: Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(crate) fn new(path: &'a Path<'a>, value: Value) -> Result<Self, Error> {
        let Value::Object(fields) = value else {
            return Err(path.wrong("an object", &value));
        };
        Ok(Self { path, fields })
    }

    /// The path of a field of this object.
    pub(crate) fn path<'k>(&self, key: &'k str) -> Path<'k>
    where
        'a: 'k,
    {
        Path::Key(self.path, key)
    }

    pub(crate) fn peek(&self, key: &str) -> Option<&Value> {
        self.fields.get(key)
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.fields.swap_remove(key).filter(|value| !value.is_null())
    }

    pub(crate) fn string(&mut self, key: &str) -> Result<Option<String>, Error> {
        self.take(key).map(|value| self.path(key).string(value)).transpose()
    }

    pub(crate) fn bool(&mut self, key: &str) -> Result<Option<bool>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(ref other) => Err(self.path(key).wrong("true or false", other)),
        }
    }

    pub(crate) fn list(
        &mut self,
        key: &str,
        entries_max: usize,
    ) -> Result<Option<Vec<Value>>, Error> {
        self.take(key).map(|value| self.path(key).list(value, entries_max)).transpose()
    }

    pub(crate) fn object(&mut self, key: &str) -> Result<Option<Map<String, Value>>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields)),
            Some(ref other) => Err(self.path(key).wrong("an object", other)),
        }
    }

    pub(crate) fn integer(
        &mut self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, Error> {
        self.take(key).map(|value| self.path(key).integer(&value, range)).transpose()
    }

    pub(crate) fn number(
        &mut self,
        key: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f32>, Error> {
        self.take(key).map(|value| self.path(key).number(&value, range)).transpose()
    }
}

/// Something to read: text, or token ids that a client made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    Text(String),
    Tokens(Vec<u32>),
}

/// The four forms in which OpenAI takes texts: a string, a list of strings, a list of token ids, a
/// list of lists of token ids.
pub(crate) fn texts(path: &Path<'_>, value: Value, texts_max: usize) -> Result<Vec<Text>, Error> {
    if let Value::String(text) = value {
        return Ok(vec![Text::Text(text)]);
    }
    let Value::Array(entries) = value else {
        return Err(path.wrong("a string, a list of strings, or lists of token ids", &value));
    };
    let Some(first) = entries.first() else {
        return Err(path.refuse("must not be empty"));
    };
    if first.is_number() {
        return Ok(vec![Text::Tokens(tokens(path, &entries)?)]);
    }
    path.at_most(entries.len(), texts_max)?;
    let mut texts = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let at = Path::Index(path, index);
        texts.push(if let Value::Array(ids) = entry {
            Text::Tokens(tokens(&at, &ids)?)
        } else if let Value::String(text) = entry {
            Text::Text(text)
        } else {
            return Err(at.wrong("a string or a list of token ids", &entry));
        });
    }
    Ok(texts)
}

fn tokens(path: &Path<'_>, ids: &[Value]) -> Result<Vec<u32>, Error> {
    if ids.is_empty() {
        return Err(path.refuse("must not be empty"));
    }
    let one = |(index, id): (usize, &Value)| {
        let id = Path::Index(path, index).integer(id, 0..=i32::MAX.into())?;
        Ok(u32::try_from(id).unwrap_or(0))
    };
    ids.iter().enumerate().map(one).collect()
}

/// Parses a whole body.
pub(crate) fn body(bytes: &[u8]) -> Result<Value, Error> {
    check_shape(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        Error::invalid(format!("the request body is not valid JSON: {error}")).code("invalid_json")
    })
}

/// Depth and count of values, from the brackets and commas alone, before anything is allocated. Gives the count.
/// Bytes that are not JSON may be miscounted; the parser refuses those.
pub(crate) fn check_shape(bytes: &[u8]) -> Result<usize, Error> {
    let (mut depth, mut values) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            return Err(Error::invalid(format!(
                "the request body is nested more than {JSON_DEPTH_MAX} levels deep"
            ))
            .code("invalid_json"));
        }
    }
    if values > JSON_VALUES_MAX {
        return Err(Error::invalid(format!(
            "the request body holds more than {JSON_VALUES_MAX} values; send less at once"
        ))
        .code("invalid_json"));
    }
    Ok(values)
}

/// A JSON number without a fraction, whatever way it is written.
#[expect(clippy::cast_possible_truncation, reason = "the float is whole and in range")]
fn whole(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = value.as_u64() {
        return Some(number.into());
    }
    value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e18).map(|n| n as i128)
}

/// What a value is, with the value itself where it is short.
fn describe(value: &Value) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => {
            let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            if shown.len() < text.len() {
                shown.push('…');
            }
            format!("the string {shown:?}")
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_reads_like_the_code_that_reaches_the_field() {
        let messages = Path::Key(&Path::Root, "messages");
        let third = Path::Index(&messages, 2);
        assert_eq!(Path::Key(&third, "content").to_string(), "messages[2].content");
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let path = Path::Key(&Path::Root, "n");
        assert_eq!(path.integer(&json!(2.0), 1..=4).unwrap(), 2);
        assert!(path.integer(&json!(2.5), 1..=4).unwrap_err().message.contains("whole number"));
        let message = path.integer(&json!(9), 1..=4).unwrap_err().message;
        assert_eq!(message, "n must be from 1 to 4, but it is 9");
    }

    #[test]
    fn brackets_inside_strings_do_not_nest() {
        let text = format!("[\"\\\"{}\"]", "[".repeat(JSON_DEPTH_MAX * 2));
        check_shape(text.as_bytes()).unwrap();
        assert!(check_shape("[".repeat(JSON_DEPTH_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn more_values_than_the_limit_are_refused_before_parsing() {
        let text = format!("[{}1]", "1,".repeat(JSON_VALUES_MAX));
        assert!(body(text.as_bytes()).unwrap_err().message.contains("values"));
    }
}
