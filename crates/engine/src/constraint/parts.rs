//! Parts of a schema that are compiled by themselves: what they refer to comes along, and what says nothing of
//! values stays behind, so that many parts of one schema do not come to many times its size.
//!
//! Not here: what of a schema is refused (`check`), and which parts are compiled (`calls`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::check::{DATA, NAMED, schemas, shortened};

/// Keywords for people, who do not read a grammar.
const WORDS: [&str; 10] = [
    "$comment",
    "default",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

/// Where a schema keeps what is referred to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// The keyword and the name of a definition.
type Place = (&'static str, String);

/// A schema without what says nothing of values.
pub(super) fn plain(schema: &Map<String, Value>) -> Map<String, Value> {
    let says = schema.iter().filter(|(key, _)| !WORDS.contains(&&***key));
    let fields = says.map(|(key, value)| {
        let value = if DATA.contains(&&**key) {
            value.clone()
        } else if let (Value::Object(schemas), true) = (value, NAMED.contains(&&**key)) {
            schemas.iter().map(|(name, schema)| (name.clone(), plain_value(schema))).collect()
        } else {
            plain_value(value)
        };
        (key.clone(), value)
    });
    fields.collect()
}

fn plain_value(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(plain(fields)),
        Value::Array(entries) => entries.iter().map(plain_value).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// A part of a schema as a schema of its own, with the definitions that it leads to.
///
/// # Errors
/// It refers to what is no definition of the whole.
pub(super) fn alone(
    part: &Map<String, Value>,
    whole: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut alone = part.clone();
    let (mut found, mut open) = (BTreeSet::new(), Vec::new());
    places(part, &mut open)?;
    // From here on these are the whole's.
    DEFINITIONS.iter().for_each(|key| drop(alone.remove(*key)));
    while let Some(place) = open.pop() {
        let (key, name) = &place;
        if found.contains(&place) {
            continue;
        }
        let definition = whole.get(*key).and_then(|definitions| definitions.get(name));
        let definition = definition
            .ok_or_else(|| format!("$ref is \"#/{key}/{name}\", and nothing is there"))?;
        if let Value::Object(fields) = definition {
            places(fields, &mut open)?;
        }
        let definitions = alone.entry(*key).or_insert_with(|| Map::new().into());
        if let Value::Object(definitions) = definitions {
            definitions.insert(name.clone(), definition.clone());
        }
        found.insert(place);
    }
    Ok(alone)
}

/// The definitions that a schema refers to.
fn places(fields: &Map<String, Value>, found: &mut Vec<Place>) -> Result<(), String> {
    if let Some(Value::String(target)) = fields.get("$ref") {
        found.push(place(target)?);
    }
    schemas(fields).try_for_each(|(_, schema)| places_in(schema, found))
}

fn places_in(value: &Value, found: &mut Vec<Place>) -> Result<(), String> {
    match value {
        Value::Object(fields) => places(fields, found),
        Value::Array(entries) => entries.iter().try_for_each(|entry| places_in(entry, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn place(target: &str) -> Result<Place, String> {
    let path = target.strip_prefix("#/").and_then(|path| path.split_once('/'));
    let place = path.and_then(|(key, rest)| {
        let key = DEFINITIONS.into_iter().find(|one| *one == key)?;
        Some((key, rest.split('/').next()?.to_owned()))
    });
    place.ok_or_else(|| {
        format!(
            "$ref is {:?}, and in this model's form of calls only what stands in $defs or definitions can be \
             referred to; move it there",
            shortened(target)
        )
    })
}
