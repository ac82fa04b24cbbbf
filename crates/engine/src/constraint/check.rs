//! What of a constraint is refused before llguidance sees it: whatever is too large, too deep, or refers
//! to what is elsewhere.
//!
//! Not here: what llguidance itself bounds, such as large counts, which it compiles in no time.

use serde_json::{Map, Value};

use super::expansion;
use crate::limits::{
    ALTERNATIVES_MAX, LARK_BYTES_MAX, LARK_DEPTH_MAX, MULTIPLE_MAX, PATTERN_BYTES_MAX,
    PATTERN_DEPTH_MAX, PATTERN_PAIRS_MAX, SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, SCHEMA_VALUES_MAX,
};

/// Keywords whose values are data and no schemas.
pub(super) const DATA: [&str; 4] = ["const", "enum", "default", "examples"];

/// Keywords whose values have schemas by names of the schema's own choice.
pub(super) const NAMED: [&str; 5] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// What of a grammar in Lark would come past the checks of a schema and a regular expression.
const OTHER_LANGUAGES: [&str; 2] = ["%json", "%regex"];

/// A schema that can be compiled in little time and memory.
pub(super) fn schema(schema: &Value) -> Result<&Map<String, Value>, String> {
    let Value::Object(fields) = schema else { return Err("it must be an object".to_owned()) };
    let mut values = 0;
    size(schema, 0, &mut values)?;
    let bytes = schema.to_string().len();
    if bytes > SCHEMA_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, and at most {SCHEMA_BYTES_MAX} are allowed"));
    }
    let mut multiples = Vec::new();
    let mut pairs = 0;
    keywords(schema, &mut multiples, &mut pairs)?;
    multiple(&multiples)?;
    expansion::check(schema, 0)?;
    Ok(fields)
}

/// What of a schema may be one itself, or a list of some, each with its keyword.
pub(super) fn schemas(fields: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    fields.iter().filter(|(key, _)| !DATA.contains(&&***key)).flat_map(|(key, value)| {
        let named = value.as_object().filter(|_| NAMED.contains(&&**key));
        let (one, several) = match named {
            Some(schemas) => (None, Some(schemas.values())),
            None => (Some(value), None),
        };
        let schemas = one.into_iter().chain(several.into_iter().flatten());
        schemas.map(move |schema| (&**key, schema))
    })
}

/// Depth and number of values.
fn size(value: &Value, depth: usize, values: &mut usize) -> Result<(), String> {
    *values += 1;
    if depth > SCHEMA_DEPTH_MAX {
        return Err(format!("it is nested more than {SCHEMA_DEPTH_MAX} levels deep; use $defs"));
    }
    if *values > SCHEMA_VALUES_MAX {
        return Err(format!("it holds more than {SCHEMA_VALUES_MAX} values"));
    }
    match value {
        Value::Object(fields) => fields.values().try_for_each(|v| size(v, depth + 1, values)),
        Value::Array(entries) => entries.iter().try_for_each(|v| size(v, depth + 1, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Keywords with values that are out of bounds, wherever a schema may stand.
fn keywords(schema: &Value, multiples: &mut Vec<f64>, pairs: &mut usize) -> Result<(), String> {
    match schema {
        Value::Array(entries) => {
            entries.iter().try_for_each(|entry| keywords(entry, multiples, pairs))
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                keyword(key, value)?;
                match (&**key, value) {
                    ("multipleOf", Value::Number(number)) => {
                        multiples.push(number.as_f64().unwrap_or(0.0).abs());
                    }
                    ("patternProperties", Value::Object(patterns)) => {
                        *pairs += patterns.len() * patterns.len();
                    }
                    _ => {}
                }
            }
            if *pairs > PATTERN_PAIRS_MAX {
                return Err(format!(
                    "patternProperties has too many patterns, each of which is compared with each other: \
                     at most {PATTERN_PAIRS_MAX} pairs are allowed in all"
                ));
            }
            schemas(fields).try_for_each(|(_, schema)| keywords(schema, multiples, pairs))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn keyword(key: &str, value: &Value) -> Result<(), String> {
    match (key, value) {
        ("$ref", Value::String(target)) if target != "#" && !target.starts_with("#/") => {
            Err(format!(
                "$ref is {:?}, and only places in the same schema (\"#/…\") can be referred to",
                shortened(target)
            ))
        }
        // Each would be compiled with all that is said of its kind.
        ("type", Value::Array(kinds)) if has_twice(kinds) => {
            Err("type names a kind twice, or one that there is not; name each once".to_owned())
        }
        ("pattern", Value::String(pattern)) => regex("pattern", pattern),
        ("patternProperties", Value::Object(patterns)) => {
            at_most(key, patterns.len())?;
            patterns.keys().try_for_each(|pattern| regex("a key of patternProperties", pattern))
        }
        ("properties", Value::Object(fields)) => at_most(key, fields.len()),
        ("anyOf" | "oneOf" | "allOf", Value::Array(schemas)) => at_most(key, schemas.len()),
        _ => Ok(()),
    }
}

fn has_twice(values: &[Value]) -> bool {
    /// Null, boolean, number, integer, string, array, object.
    const KINDS: usize = 7;
    values.len() > KINDS
        || (1..)
            .zip(values)
            .any(|(next, value)| values.iter().skip(next).any(|other| other == value))
}

fn at_most(key: &str, entries: usize) -> Result<(), String> {
    if entries > ALTERNATIVES_MAX {
        return Err(format!(
            "{key} has {entries} entries, and at most {ALTERNATIVES_MAX} are allowed"
        ));
    }
    Ok(())
}

/// A regular expression that can be parsed without danger.
fn regex(name: &str, pattern: &str) -> Result<(), String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!(
            "{name} has {} bytes, and at most {PATTERN_BYTES_MAX} are allowed",
            pattern.len()
        ));
    }
    if depth(pattern) > PATTERN_DEPTH_MAX {
        return Err(format!(
            "{name} {:?} has groups more than {PATTERN_DEPTH_MAX} levels deep",
            shortened(pattern)
        ));
    }
    Ok(())
}

/// What all multiples together come to. Only those that hold for one number are ever multiplied, but
/// which those are is seen too late.
fn multiple(multiples: &[f64]) -> Result<(), String> {
    const DECIMALS_MAX: i32 = 9;
    let is_whole = |decimals: &i32| {
        multiples.iter().all(|multiple| (multiple * 10_f64.powi(*decimals)).fract() == 0.0)
    };
    let too_large = || {
        format!(
            "multipleOf comes to more than {MULTIPLE_MAX} units of its last decimal, or does where \
             several come together; use rounder numbers"
        )
    };
    let decimals = (0..=DECIMALS_MAX).find(is_whole).ok_or_else(too_large)?;
    let mut common = 1_u64;
    for multiple in multiples {
        let scaled = multiple * 10_f64.powi(decimals);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        if scaled > MULTIPLE_MAX as f64 {
            return Err(too_large());
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole and small")]
        #[expect(clippy::cast_sign_loss, reason = "of a size without a sign")]
        let scaled = (scaled as u64).max(1);
        common = common / greatest_common_divisor(common, scaled) * scaled;
        if common > MULTIPLE_MAX {
            return Err(too_large());
        }
    }
    Ok(())
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A grammar that can be parsed without danger.
pub(super) fn lark(grammar: &str) -> Result<(), String> {
    if grammar.len() > LARK_BYTES_MAX {
        return Err(format!(
            "it has {} bytes, and at most {LARK_BYTES_MAX} are allowed",
            grammar.len()
        ));
    }
    if grammar.contains("::=") {
        return Err(
            "it looks like GBNF, which is not understood; write it in Lark, or send a JSON \
                    schema"
                .to_owned(),
        );
    }
    if let Some(found) = OTHER_LANGUAGES.iter().find(|word| grammar.contains(**word)) {
        return Err(format!("it holds {found}, which is not taken; send a JSON schema instead"));
    }
    if depth(grammar) > LARK_DEPTH_MAX {
        return Err(format!("its brackets are nested more than {LARK_DEPTH_MAX} levels deep"));
    }
    Ok(())
}

/// How deep brackets are nested. Those in literals and classes count too, so that too much is refused
/// rather than too little; closing ones there may hide others, so they count nothing where they would.
fn depth(text: &str) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// Enough of a text to know it by.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
